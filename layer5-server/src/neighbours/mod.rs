//! The neighbours as seen from here: one client each, with a timeout, a limit and a circuit on every call.
//! In: advice and questions. Out: what the neighbour answered, in the few classes that matter to the caller.
//! Called from: [`crate::outbox`]. Invariants: no call lasts longer than its timeout, no answer is read beyond
//! [`ANSWER_BYTES_MAX`], and no call goes out while the circuit is open.

pub mod circuit;
mod door;
mod layer7;
mod layer8;

pub use door::{ANSWER_BYTES_MAX, CallError, CallKind, DoorConfig, DoorError, DoorSnapshot};
pub(crate) use door::{http_date, why};
pub use layer7::{Delivery, Layer7Client};
pub use layer8::{Layer8Client, ResourceAdvice};
