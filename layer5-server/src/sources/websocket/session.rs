//! One connection to Layer4's WebSocket, from the handshake to its end.
//! In: a checked address. Out: batches at the border, as many messages as one read brought. Called from:
//! [`crate::sources`]. Next on the way: [`crate::intake`].
//! Invariants: every wait but that for room at the border has an end; a silent connection is asked with a ping and given
//! up when nothing comes for as long again; a message that is no report costs itself and no other.

use std::{io, sync::Arc, time::Duration};

use layer5_ingest::BodyFormat;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use uuid::Uuid;

use super::frames::{self, Event, FrameError, Frames};
use super::handshake::{self, HandshakeError};
use crate::{
    config::WebSocketConfig,
    intake::{Intake, Source, TakeError},
    neighbours::CallKind,
    sources::{Ended, Link, SourceError},
};

/// What is read from the socket at once.
const READ_BYTES: usize = 64 << 10;
/// The port when the address names none.
const PORT: u16 = 80;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// The connection could not be made, or broke.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// No answer in time.
    #[error("{what} took longer than {seconds} s")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        seconds: f64,
    },
    /// The other side is no WebSocket.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// What it sends are no frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It closed the connection.
    #[error("the other side closed the connection{}", code.map_or(String::new(), |c| format!(" with code {c}")))]
    Closed {
        /// Its code.
        code: Option<u16>,
    },
    /// Nothing can be taken any more.
    #[error(transparent)]
    Take(#[from] TakeError),
}

impl SourceError for WebSocketError {
    fn kind(&self) -> CallKind {
        match self {
            Self::Timeout { .. } => CallKind::Timeout,
            Self::Io(_) | Self::Closed { .. } => CallKind::Connection,
            Self::Handshake(HandshakeError::Status(_)) => CallKind::Status,
            Self::Handshake(_) | Self::Frame(_) | Self::Take(_) => CallKind::Answer,
        }
    }
}

/// What outlives one connection.
#[derive(Debug)]
pub(in crate::sources) struct Session {
    config: WebSocketConfig,
    host: String,
    port: u16,
    path: String,
    intake: Intake,
    link: Arc<Link>,
}

impl Session {
    /// Sessions with the address of a checked configuration.
    pub(in crate::sources) fn new(
        config: WebSocketConfig,
        intake: Intake,
        link: Arc<Link>,
    ) -> Self {
        let url = config.url.as_deref().unwrap_or_default();
        let url = reqwest::Url::parse(url).expect("a checked configuration has a sound address");
        let query = url.query().map_or(String::new(), |q| format!("?{q}"));
        Self {
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port().unwrap_or(PORT),
            path: url.path().to_owned() + &query,
            config,
            intake,
            link,
        }
    }

    async fn connect(&self) -> Result<(TcpStream, Frames), WebSocketError> {
        let host = self.host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.port)).await?;
        stream.set_nodelay(true)?;
        let key = handshake::key(Uuid::new_v4().into_bytes());
        let at = format!("{}:{}", self.host, self.port);
        write(
            &stream,
            handshake::request(&at, &self.path, &key).as_bytes(),
        )
        .await?;
        let (mut answer, mut piece) = (Vec::new(), vec![0; handshake::HEAD_BYTES_MAX]);
        let head_len = loop {
            let n = read(&stream, &mut piece).await?;
            answer.extend_from_slice(&piece[..n]);
            if let Some(len) = handshake::accepted(&answer, &key)? {
                break len;
            }
        };
        let mut frames = Frames::new(self.config.message_bytes_max);
        frames.push(&answer[head_len..]);
        Ok((stream, frames))
    }

    /// Reads until the connection ends; `worked` tells whether a message came.
    async fn listen(&self, worked: &mut bool) -> Result<(), WebSocketError> {
        let seconds = self.config.timeout_seconds;
        let patience = Duration::from_secs_f64(seconds);
        let late = |what| move |_| WebSocketError::Timeout { what, seconds };
        let connected = timeout(patience, self.connect()).await;
        let (stream, mut frames) = connected.map_err(late("the handshake"))??;
        self.link.answered();
        let say = async |frame: Vec<u8>| {
            let said = timeout(patience, write(&stream, &frame)).await;
            said.map_err(late("a write"))?.map_err(WebSocketError::from)
        };
        let idle = Duration::from_secs_f64(self.config.idle_seconds);
        let (mut piece, mut lines) = (vec![0; READ_BYTES], Vec::new());
        let mut was_asked = false;
        let mut silent_until = Instant::now() + idle;
        loop {
            loop {
                match frames.next() {
                    Ok(None) => break,
                    Ok(Some(Event::Message(message))) => add_line(&mut lines, &message),
                    Ok(Some(Event::Pong)) => {}
                    Ok(Some(Event::Ping(bytes))) => say(frames::pong(&bytes, mask())).await?,
                    Ok(Some(Event::Close(code))) => {
                        self.take(&mut lines, worked).await?;
                        // It may be gone already.
                        let _gone = say(frames::close(code.unwrap_or(1000), mask())).await;
                        return Err(WebSocketError::Closed { code });
                    }
                    Err(error) => {
                        self.take(&mut lines, worked).await?;
                        let _gone = say(frames::close(error.close_code(), mask())).await;
                        return Err(error.into());
                    }
                }
            }
            self.take(&mut lines, worked).await?;
            tokio::select! {
                n = read(&stream, &mut piece) => {
                    frames.push(&piece[..n?]);
                    was_asked = false;
                    silent_until = Instant::now() + idle;
                }
                () = sleep_until(silent_until) => {
                    if std::mem::replace(&mut was_asked, true) {
                        let (what, seconds) = ("the answer to a ping", self.config.idle_seconds);
                        return Err(WebSocketError::Timeout { what, seconds });
                    }
                    say(frames::ping(mask())).await?;
                    silent_until = Instant::now() + idle;
                }
            }
        }
    }

    /// Hands what came to the border, and waits there until there is room.
    async fn take(&self, lines: &mut Vec<u8>, worked: &mut bool) -> Result<(), TakeError> {
        if lines.is_empty() {
            return Ok(());
        }
        let (format, source) = (BodyFormat::Ndjson, Source::WebSocket);
        // Nobody is told when it is durable, so nobody waits for that.
        self.intake
            .take_when_there_is_room(lines, format, source, None)
            .await?;
        *worked = true;
        lines.clear();
        Ok(())
    }
}

impl crate::sources::Session for Session {
    type Error = WebSocketError;

    async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Ended<WebSocketError> {
        let mut worked = false;
        tokio::select! {
            ended = self.listen(&mut worked) => match ended {
                Ok(()) => Ended::Asked,
                Err(error) => Ended::Failed { error, worked },
            },
            // An error means that the service is gone, which is a stop too.
            _ = stop.wait_for(|stop| *stop) => Ended::Asked,
        }
    }
}

/// Adds a message as one line of NDJSON: line breaks are blanks in JSON, and in a text they are no JSON at all. An empty
/// message becomes a line that the border refuses.
fn add_line(lines: &mut Vec<u8>, message: &[u8]) {
    let from = lines.len();
    lines.extend_from_slice(message);
    for byte in &mut lines[from..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    if lines[from..].iter().all(u8::is_ascii_whitespace) {
        lines.extend_from_slice(b"{}");
    }
    lines.push(b'\n');
}

fn mask() -> [u8; 4] {
    let [a, b, c, d, ..] = Uuid::new_v4().into_bytes();
    [a, b, c, d]
}

/// Reads what there is, at least one byte.
async fn read(stream: &TcpStream, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
