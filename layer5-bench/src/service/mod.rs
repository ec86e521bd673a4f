//! A real `layer5 serve` as the tools see it: a process, a socket, a data folder.
//! In: a binary and a folder. Out: answers, what the kernel says of the process, and an audit of what was promised.
//! Called from: [`crate::load`], [`crate::crash`], [`crate::powercut`], [`crate::overload`], [`crate::recover`].
//! Invariants: nothing here reaches into the service; all that is known of it came over its sockets, from its log or
//! from the kernel. A process that was started is ended.

pub mod cgroup;
pub mod disk;
pub mod effects;
pub mod http;
pub mod latency;
pub mod pressure;
pub mod promise;
pub mod redis;
pub mod subject;
pub mod usage;
pub mod workload;
