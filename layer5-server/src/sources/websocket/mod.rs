//! Layer4's WebSocket as a source: one report per message, as it happens.
//! In: messages of `ws://layer4:9090/kpi/stream`. Out: reports at the border. Called from: [`super::Sources`].
//! Next on the way: [`crate::intake`].
//! The stream has no acknowledgement and no way back: what was sent while nobody listened is not sent again, so nothing
//! is read that there is no room for, and the other side notices by its socket.
//! Why not a library: docs/decisions/0005-dependencies.md.

mod frames;
mod handshake;
mod session;

pub use frames::FrameError;
pub use handshake::HandshakeError;
pub(super) use session::Session;
pub use session::WebSocketError;
