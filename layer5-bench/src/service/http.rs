//! A small HTTP/1.1 client over a kept connection: the load tool must cost less than what it measures.
//! In: an address, a path and a body. Out: status, `Retry-After` and body. Called from: the tools.
//! Invariants: an answer that was cut short is an error, never half an answer; every wait has a deadline.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;
use socket2::SockRef;

use super::workload::Form;

/// Bytes of a body between two looks whether it has been answered already.
const PIECE: usize = 64 << 10;
/// Longest wait for room to send before such a look.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// One answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// 200 and so on.
    pub status: u16,
    /// Seconds of `Retry-After`.
    pub retry_after: Option<u64>,
    /// What came.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; `Null` when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A count in a JSON body.
    #[must_use]
    pub fn count(&self, field: &str) -> u64 {
        self.json()[field].as_u64().unwrap_or(0)
    }
}

/// A connection that is kept from request to request, and opened anew after an error.
#[derive(Debug)]
pub struct Connection {
    at: SocketAddr,
    patience: Duration,
    stream: Option<TcpStream>,
    read: Vec<u8>,
}

impl Connection {
    /// To `at`; nothing is sent yet. `patience`: for each read and write.
    #[must_use]
    pub fn new(at: SocketAddr, patience: Duration) -> Self {
        Self {
            at,
            patience,
            stream: None,
            read: Vec::new(),
        }
    }

    /// `GET path`.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.call("GET", path, "", "", &[])
    }

    /// `POST path`.
    ///
    /// # Errors
    /// When there is no whole answer; whether the body arrived is not known then.
    pub fn post(&mut self, path: &str, content_type: &str, body: &[u8]) -> io::Result<Answer> {
        self.call("POST", path, content_type, "", body)
    }

    /// `POST` of a body in `form`.
    ///
    /// # Errors
    /// As [`Connection::post`].
    pub fn post_form(&mut self, form: Form, body: &[u8]) -> io::Result<Answer> {
        let (kind, more) = (form.content_type(), form.more_headers());
        self.call("POST", form.path(), kind, more, body)
    }

    fn call(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        more: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        let answered = self.try_call(method, path, kind, more, body);
        match answered {
            Ok((answer, true)) => Ok(answer),
            Ok((answer, false)) => {
                self.stream = None;
                Ok(answer)
            }
            Err(error) => {
                self.stream = None;
                Err(error)
            }
        }
    }

    /// The answer, and whether the connection can be kept.
    fn try_call(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        more: &str,
        body: &[u8],
    ) -> io::Result<(Answer, bool)> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect_timeout(&self.at, self.patience)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(self.patience))?;
                stream.set_write_timeout(Some(LOOK_AGAIN))?;
                none.insert(stream)
            }
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: layer5\r\nContent-Type: {kind}\r\n{more}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let until = Instant::now() + self.patience;
        let sent = send(stream, head.as_bytes(), until).and_then(|_| send(stream, body, until));
        // Who refuses a body early may close before all of it is sent; the answer counts all the same.
        let answered = read_answer(stream, &mut self.read);
        match (sent, answered) {
            (Ok(Sent::Whole), answered) => answered,
            (_, Ok((answer, _))) => Ok((answer, false)),
            (Err(error), Err(_)) | (Ok(Sent::InPart), Err(error)) => Err(error),
        }
    }
}

/// How much of a body went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Whole,
    /// It was answered before: who is refused need not send the rest (RFC 9112, 9.5).
    InPart,
}

/// Sends `bytes` until they are answered, or `until` has passed.
fn send(stream: &mut TcpStream, mut bytes: &[u8], until: Instant) -> io::Result<Sent> {
    while !bytes.is_empty() {
        if is_answered(stream) {
            return Ok(Sent::InPart);
        }
        match stream.write(&bytes[..bytes.len().min(PIECE)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut if Instant::now() < until => {}
                _ => return Err(error),
            },
        }
    }
    Ok(Sent::Whole)
}

/// Whether there is something to read, or the other side has closed.
fn is_answered(stream: &TcpStream) -> bool {
    let mut untouched = [std::mem::MaybeUninit::uninit()];
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    SockRef::from(stream)
        .recv_with_flags(&mut untouched, flags)
        .is_ok()
}

fn read_answer(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<(Answer, bool)> {
    read.clear();
    let end = loop {
        if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        more(stream, read)?;
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    let header = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let status: u16 = status.ok_or_else(|| invalid("no status"))?;
    let chunked = header("transfer-encoding").is_some();
    let len = header("content-length").and_then(|n| n.parse::<usize>().ok());
    let keep = !header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
    let retry_after = header("retry-after").and_then(|v| v.parse().ok());
    let body = match chunked {
        true => chunks(stream, read, end + 4)?,
        false => up_to(stream, read, end + 4, len.unwrap_or(0))?,
    };
    Ok((
        Answer {
            status,
            retry_after,
            body,
        },
        keep,
    ))
}

/// `len` bytes from `from` on.
fn up_to(
    stream: &mut TcpStream,
    read: &mut Vec<u8>,
    from: usize,
    len: usize,
) -> io::Result<Vec<u8>> {
    while read.len() < from + len {
        more(stream, read)?;
    }
    Ok(read[from..from + len].to_vec())
}

/// A body in chunks, without trailers.
fn chunks(stream: &mut TcpStream, read: &mut Vec<u8>, mut from: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = loop {
            if let Some(len) = read[from..].windows(2).position(|w| w == b"\r\n") {
                break len;
            }
            more(stream, read)?;
        };
        let digits = String::from_utf8_lossy(&read[from..from + line]).into_owned();
        let len = usize::from_str_radix(digits.trim(), 16)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a chunk without length"))?;
        from += line + 2;
        body.extend(up_to(stream, read, from, len + 2)?);
        body.truncate(body.len() - 2);
        from += len + 2;
        if len == 0 {
            return Ok(body);
        }
    }
}

fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; 16 * 1024];
    match stream.read(&mut piece)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => {
            read.extend_from_slice(&piece[..n]);
            Ok(())
        }
    }
}
