//! The `layer5` command; everything it does lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    layer5_server::cli::run()
}
