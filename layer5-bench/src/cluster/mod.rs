//! A stand-in for a Kubernetes API server: real `kubectl` over real HTTP, a handful of kinds, no cluster.
//! In: kubectl's calls. Out: answers as an API server gives them, and a record of every call. Called from:
//! `tests/deploy_script.rs`.
//! [`api`] speaks HTTP and knows the paths, `objects` keeps and patches objects, `workloads` makes pods of Deployments
//! and Jobs at once instead of in time, `exec` runs commands in pods by answering for them, `patch` is the three kinds
//! of patch.
//! Invariants: what a [`Trouble`] does not name goes well; nothing here knows the script that is tested.

pub mod api;
mod exec;
mod objects;
mod patch;
mod workloads;

pub use api::{Call, Cluster};

/// What goes wrong in this cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// The new image ends as soon as it starts.
    Crashes,
    /// The new image can't be pulled.
    NoImage,
    /// The new image never becomes ready.
    NeverReady,
    /// No node has room for one more pod.
    NoRoom,
    /// The backup job fails.
    NoBackup,
    /// A report that goes into the candidate does not come out.
    NoSmoke,
    /// The candidate finds other things than the live version.
    Differs,
    /// The new image is well as a candidate and ends when it is active.
    CrashesActive,
    /// The new image is ready and does worse than the one before.
    Worse,
    /// Who calls may do nothing.
    Forbidden,
}
