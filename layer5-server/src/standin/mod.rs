//! Layer5's neighbours as the demo and the tests need them: a fleet with planted truth, Layer7, Layer8, and this
//! machine's own processes. They speak the contracts over real sockets and share no code with the service.
//! In: a seed, and Layer5's address. Out: traffic, and the truth that the service must not see.
//! Called from: `cli/demo` and the tests.
//! The pure half is [`surface`], [`clock`], [`truth`], [`agent`], [`world`], [`changes`] and [`score`]: everything in
//! it follows from a seed. The half with sockets is [`sender`], [`fleet`], [`layer7`], [`layer8`] and [`host`].
//! Invariants: nothing here is linked into `layer5 serve`'s way; the truth leaves this folder only to the table.

pub mod agent;
pub mod changes;
pub mod clock;
pub mod fleet;
pub mod host;
pub mod layer7;
pub mod layer8;
pub mod misbehaviour;
mod noise;
pub mod report;
pub mod score;
pub mod sender;
pub mod surface;
pub mod truth;
pub mod world;
