//! What a WebSocket server sends, as messages: frames are put together, control frames handed out in between.
//! In: bytes as they come from the socket. Out: [`Event`]s. Called from: [`super::session`].
//! Reference: RFC 6455, sections 5 and 7. Text is not checked here: a report that is no UTF-8 is refused at the border by
//! itself, and the ones behind it flow on.
//! Invariants: a message, and what is read ahead of it, never take more than `message_bytes_max` and one read; a length is
//! believed only as far as its bytes have come.

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A whole message, text or binary.
    Message(Vec<u8>),
    /// To be answered with a pong of the same bytes.
    Ping(Vec<u8>),
    /// The answer to our ping.
    Pong,
    /// The other side closes, perhaps with a code.
    Close(Option<u16>),
}

/// Why the bytes are no frames of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Reserved bits without an extension that was agreed on.
    #[error("a frame with reserved bits, and no extension was agreed on")]
    Reserved,
    /// An opcode that there is not.
    #[error("a frame with the unknown opcode {0}")]
    Opcode(u8),
    /// A server must not mask.
    #[error("a masked frame, which a server must not send")]
    Masked,
    /// A control frame of more than one piece or 125 bytes.
    #[error("a control frame in pieces or of more than 125 bytes")]
    Control,
    /// A piece without a beginning, or a beginning in the midst of another message.
    #[error("a piece of a message that was not begun, or a message within another")]
    Order,
    /// A message that is too long.
    #[error("a message of more than {limit} bytes (sources.websocket.message_bytes_max)")]
    TooLong {
        /// How long it may be.
        limit: usize,
    },
}

impl FrameError {
    /// The code that the other side is told when the connection is closed for it.
    pub(super) fn close_code(&self) -> u16 {
        match self {
            Self::TooLong { .. } => 1009,
            _ => 1002,
        }
    }
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
/// Longest payload of a control frame.
const CONTROL_MAX: u64 = 125;

/// Bytes on their way to messages.
#[derive(Debug)]
pub(super) struct Frames {
    message_bytes_max: usize,
    /// What came and is not read yet, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// The pieces of the message so far; `None` between two messages.
    message: Option<Vec<u8>>,
}

impl Frames {
    /// Messages of at most `message_bytes_max` bytes.
    pub(super) fn new(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            buffer: Vec::new(),
            start: 0,
            message: None,
        }
    }

    /// Takes what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event; `None` until more bytes have come.
    ///
    /// # Errors
    /// [`FrameError`]; there is no going on after it.
    pub(super) fn next(&mut self) -> Result<Option<Event>, FrameError> {
        loop {
            let Some(frame) = head(&self.buffer[self.start..], self.message_bytes_max)? else {
                return Ok(None);
            };
            let from = self.start + frame.head_len;
            let Some(payload) = self.buffer.get(from..from + frame.payload_len) else {
                return Ok(None);
            };
            self.start = from + frame.payload_len;
            let event = match frame.opcode {
                CLOSE => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    Event::Close(code)
                }
                PING => Event::Ping(payload.to_vec()),
                PONG => Event::Pong,
                opcode => {
                    if (opcode == CONTINUATION) != self.message.is_some() {
                        return Err(FrameError::Order);
                    }
                    let message = self.message.get_or_insert_default();
                    if message.len() + payload.len() > self.message_bytes_max {
                        let limit = self.message_bytes_max;
                        return Err(FrameError::TooLong { limit });
                    }
                    message.extend_from_slice(payload);
                    if !frame.is_last {
                        continue;
                    }
                    Event::Message(self.message.take().unwrap_or_default())
                }
            };
            return Ok(Some(event));
        }
    }
}

struct Head {
    is_last: bool,
    opcode: u8,
    head_len: usize,
    payload_len: usize,
}

/// The head of the frame that `bytes` begin with; `None` while it is not whole.
fn head(bytes: &[u8], message_bytes_max: usize) -> Result<Option<Head>, FrameError> {
    let &[first, second, ..] = bytes else {
        return Ok(None);
    };
    let (is_last, opcode) = (first & FIN != 0, first & 0x0f);
    if first & 0x70 != 0 {
        return Err(FrameError::Reserved);
    }
    if !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
        return Err(FrameError::Opcode(opcode));
    }
    if second & MASKED != 0 {
        return Err(FrameError::Masked);
    }
    let (head_len, payload_len) = match second {
        126 => match bytes[2..].first_chunk() {
            Some(len) => (4, u64::from(u16::from_be_bytes(*len))),
            None => return Ok(None),
        },
        127 => match bytes[2..].first_chunk() {
            Some(len) => (10, u64::from_be_bytes(*len)),
            None => return Ok(None),
        },
        len => (2, u64::from(len)),
    };
    if opcode >= CLOSE && (!is_last || payload_len > CONTROL_MAX) {
        return Err(FrameError::Control);
    }
    let limit = message_bytes_max;
    let payload_len = usize::try_from(payload_len).unwrap_or(usize::MAX);
    if payload_len > limit && opcode < CLOSE {
        return Err(FrameError::TooLong { limit });
    }
    Ok(Some(Head {
        is_last,
        opcode,
        head_len,
        payload_len,
    }))
}

/// A ping of a client without bytes.
pub(super) fn ping(mask: [u8; 4]) -> Vec<u8> {
    control(PING, &[], mask)
}

/// The answer to a ping.
pub(super) fn pong(bytes: &[u8], mask: [u8; 4]) -> Vec<u8> {
    control(PONG, bytes, mask)
}

/// The end, with a code.
pub(super) fn close(code: u16, mask: [u8; 4]) -> Vec<u8> {
    control(CLOSE, &code.to_be_bytes(), mask)
}

/// A control frame of a client, whose bytes are masked.
fn control(opcode: u8, bytes: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(CONTROL_MAX as usize)];
    let mut frame = vec![FIN | opcode, MASKED | bytes.len() as u8];
    frame.extend_from_slice(&mask);
    let masked = bytes.iter().zip(mask.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 70_000;

    /// All events of `bytes` that come in pieces of `step`.
    fn read(bytes: &[u8], step: usize) -> Result<Vec<Event>, FrameError> {
        let (mut frames, mut events) = (Frames::new(LIMIT), Vec::new());
        for piece in bytes.chunks(step) {
            frames.push(piece);
            while let Some(event) = frames.next()? {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn check(bytes: &[u8], expected: &Result<Vec<Event>, FrameError>) {
        for step in [1, 2, 3, 7, 1 << 20] {
            assert_eq!(&read(bytes, step), expected, "in pieces of {step}");
        }
    }

    fn message(text: &[u8]) -> Event {
        Event::Message(text.to_vec())
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        check(b"\x81\x05Hello", &Ok(vec![message(b"Hello")]));
        check(b"\x01\x03Hel\x80\x02lo", &Ok(vec![message(b"Hello")]));
        check(b"\x89\x05Hello", &Ok(vec![Event::Ping(b"Hello".to_vec())]));
        let long = [&b"\x82\x7e\x01\x00"[..], &[7; 256]].concat();
        check(&long, &Ok(vec![message(&[7; 256])]));
        let longer = [&b"\x82\x7f\0\0\0\0\0\x01\0\0"[..], &[7; 65_536]].concat();
        assert_eq!(read(&longer, 1000), Ok(vec![message(&[7; 65_536])]));
        // Section 5.7: a masked pong of a client.
        let masked = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(pong(b"Hello", [0x37, 0xfa, 0x21, 0x3d]), masked);
    }

    #[test]
    fn control_frames_come_between_the_pieces_of_a_message() {
        let bytes = b"\x01\x02ab\x89\x01p\x00\x00\x8a\x00\x80\x01c\x88\x02\x03\xe8";
        let expected = vec![
            Event::Ping(b"p".to_vec()),
            Event::Pong,
            message(b"abc"),
            Event::Close(Some(1000)),
        ];
        check(bytes, &Ok(expected));
        check(b"\x88\x00", &Ok(vec![Event::Close(None)]));
    }

    #[test]
    fn what_no_server_may_send_is_refused() {
        check(b"\xc1\x00", &Err(FrameError::Reserved));
        check(b"\x83\x00", &Err(FrameError::Opcode(3)));
        check(b"\x81\x85\0\0\0\0Hello", &Err(FrameError::Masked));
        check(b"\x09\x00", &Err(FrameError::Control));
        check(b"\x89\x7e\x00\x7e", &Err(FrameError::Control));
        check(b"\x80\x01a", &Err(FrameError::Order));
        check(b"\x01\x01a\x81\x01b", &Err(FrameError::Order));
    }

    #[test]
    fn a_length_that_is_too_long_is_refused_before_its_bytes_come() {
        let too_long = Err(FrameError::TooLong { limit: LIMIT });
        check(b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", &too_long);
        let piece = |first: u8| [&[first, 0x7e, 0xff, 0xff][..], &[b'a'; 65_535]].concat();
        let endless = [piece(0x01), piece(0x00), piece(0x00)].concat();
        assert_eq!(read(&endless, 4096), too_long);
        assert_eq!(FrameError::TooLong { limit: 1 }.close_code(), 1009);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_answered_the_same(
            bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1_usize..50
        ) {
            prop_assert_eq!(read(&bytes, step).is_ok(), read(&bytes, 1 << 20).is_ok());
        }

        #[test]
        fn messages_come_back_however_they_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cut in 1_usize..130, step in 1_usize..400
        ) {
            let mut bytes = Vec::new();
            for message in &messages {
                let pieces: Vec<&[u8]> = match message.is_empty() {
                    true => vec![&[]],
                    false => message.chunks(cut).collect(),
                };
                for (i, piece) in pieces.iter().enumerate() {
                    let opcode = if i == 0 { BINARY } else { CONTINUATION };
                    let fin = if i + 1 == pieces.len() { FIN } else { 0 };
                    bytes.push(fin | opcode);
                    match piece.len() {
                        len @ 0..=125 => bytes.push(len as u8),
                        len => {
                            bytes.push(126);
                            bytes.extend((len as u16).to_be_bytes());
                        }
                    }
                    bytes.extend_from_slice(piece);
                }
            }
            let expected: Vec<Event> = messages.into_iter().map(Event::Message).collect();
            prop_assert_eq!(read(&bytes, step), Ok(expected));
        }
    }
}
