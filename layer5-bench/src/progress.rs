//! Progress on standard error, and how a tool fails.
//! In: words. Out: a line; an exit code. Called from: the tools. Standard output carries results alone.

use std::{
    fmt,
    io::{self, Write},
};

/// Says what is being done now.
pub(crate) fn say(what: impl fmt::Display) {
    // A closed standard error is no reason to stop measuring.
    let _closed = writeln!(io::stderr(), "... {what}");
}

/// Why a tool ends with something else than 0.
#[derive(Debug)]
pub struct Failure {
    /// 1: the promise is broken or nothing could be measured; 77: this machine can't show it, nothing was tried.
    pub code: u8,
    /// For people.
    pub message: String,
}

/// The exit code of a tool that left its work out because this machine or user can't do it.
pub const LEFT_OUT: u8 = 77;

impl Failure {
    /// The tool failed, or what it looked at did.
    #[must_use]
    pub fn new(message: impl fmt::Display) -> Self {
        let message = message.to_string();
        Self { code: 1, message }
    }

    /// This machine can't show it.
    #[must_use]
    pub fn left_out(message: impl fmt::Display) -> Self {
        let message = message.to_string();
        let code = LEFT_OUT;
        Self { code, message }
    }
}
