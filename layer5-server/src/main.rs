//! The `layer5` command.
fn main() {}
