//! Has the C library give freed memory back to the system.
//! In: nothing. Out: this program begun anew with a setting in its environment. Called from: [`super::serve`].
//!
//! glibc keeps up to twice the largest block that was ever freed, for each of its arenas: with a million series 120 MB that
//! nobody uses. With a threshold of its own it keeps half a megabyte (docs/benchmarks.md). It reads its settings before
//! `main` and from the environment alone; the call that changes them later is `unsafe`, which the ring alone may be.
//! Invariants: the process keeps its number; it is begun anew at most once; whoever sets the allocator's variables is obeyed.
//! Reference: mallopt(3), and "Memory Allocation Tunables" in the manual of the GNU C Library.

use std::{env, os::unix::process::CommandExt, process::Command};

const VARIABLE: &str = "GLIBC_TUNABLES";
/// Freed blocks of this size go back at once, and what is free at an arena's end from this size on, bytes.
const SETTING: &str = "glibc.malloc.mmap_threshold=1048576:glibc.malloc.trim_threshold=524288";

/// Begins this program anew with [`SETTING`], if its allocator reads it. Returns when there is nothing to do, or when the
/// program can't be run a second time: then it takes more memory.
pub(super) fn give_memory_back() {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) || is_set() {
        return;
    }
    let (Ok(program), mut args) = (env::current_exe(), env::args_os()) else {
        return;
    };
    let mut again = Command::new(program);
    if let Some(name) = args.next() {
        again.arg0(name);
    }
    let _cannot = again.args(args).env(VARIABLE, SETTING).exec();
}

/// Whether the environment says how memory is to be allocated.
fn is_set() -> bool {
    env::vars_os().any(|(name, _)| {
        let name = name.to_string_lossy();
        name == VARIABLE || name.starts_with("MALLOC_")
    })
}
