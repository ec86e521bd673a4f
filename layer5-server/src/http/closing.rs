//! How a connection ends whose last request was not read to its end: so that its sender gets to see the answer.
//! In: a socket, requests with their bodies. Out: the same to the engine, `Connection: close` on answers, an end in three steps.
//! Called from: [`super::listener`].
//!
//! Who closes a socket that holds unread bytes makes the kernel reset the connection, at which the sender's kernel
//! forgets the answer that it has. So our half is closed first, and what still comes is thrown away until the sender has
//! closed too. The kernel throws it away without copying it (`MSG_TRUNC`): to refuse a body must cost less than to read it.
//!
//! Invariants: what is thrown away is bounded in time and bytes; a connection without unread bytes closes at once.
//! Reference: RFC 9112, "HTTP/1.1", 9.6; tcp(7).

use std::{
    future::Future,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{body::Bytes, response::Response};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    header::{CONNECTION, HeaderValue},
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    io::Interest,
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Longest time for which what still comes is thrown away.
const LINGER_PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes that are thrown away; who sends on finds the connection reset.
const LINGER_BYTES_MAX: usize = 256 << 20;
/// Thrown away at once, at most.
const STEP_BYTES: usize = 256 << 10;
/// Pause after that: little by little would wake the sender as often, and the kernel sends for it in our time.
const LINGER_PAUSE: Duration = Duration::from_millis(20);
/// A body that is announced no longer than this is not worth a connection: what is left of it, the engine reads.
pub(super) const SHORT_BODY_BYTES: u64 = 64 << 10;

/// Whether the request that was answered last was read to its end; shared by the socket and the bodies that come from it.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    /// The body of a request, watched for whether it is read to its end.
    pub(super) fn watch(&self, body: Incoming) -> Watched {
        let rest = !body.is_end_stream();
        self.0.store(rest, Ordering::Relaxed);
        Watched {
            body,
            unread: self.clone(),
        }
    }

    /// The answer to the request whose body was `announced` bytes; says that the connection closes if that must be.
    pub(super) fn answered(&self, mut response: Response, announced: Option<u64>) -> Response {
        let is_short = announced.is_some_and(|bytes| bytes <= SHORT_BODY_BYTES);
        if self.0.load(Ordering::Relaxed) && !is_short {
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The body of a request.
#[derive(Debug)]
pub(super) struct Watched {
    body: Incoming,
    unread: Unread,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.unread.0.store(false, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The place of a connection among those that are served, and later among those that only wait for their peer: who was
/// refused keeps nobody out.
#[derive(Debug)]
pub(super) struct Places {
    place: Option<OwnedSemaphorePermit>,
    closing_room: Arc<Semaphore>,
}

impl Places {
    pub(super) fn new(place: Option<OwnedSemaphorePermit>, closing_room: &Arc<Semaphore>) -> Self {
        Self {
            place,
            closing_room: Arc::clone(closing_room),
        }
    }

    /// Changes to a place among those that wait for their peer; false when there is none.
    fn change(&mut self) -> bool {
        self.place = Arc::clone(&self.closing_room).try_acquire_owned().ok();
        self.place.is_some()
    }
}

/// A socket that closes when its peer has seen the answer.
#[derive(Debug)]
pub(super) struct Lingering {
    socket: TokioIo<TcpStream>,
    unread: Unread,
    places: Places,
    closing: Option<Closing>,
}

#[derive(Debug)]
struct Closing {
    deadline: Pin<Box<Sleep>>,
    pause: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl Lingering {
    pub(super) fn new(socket: TcpStream, unread: Unread, places: Places) -> Self {
        Self {
            socket: TokioIo::new(socket),
            unread,
            places,
            closing: None,
        }
    }

    /// Ready when the peer has closed, or has been thrown away enough of.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let closing = self.closing.get_or_insert_with(|| Closing {
            deadline: Box::pin(sleep(LINGER_PATIENCE)),
            pause: Box::pin(sleep(LINGER_PAUSE)),
            bytes_left: LINGER_BYTES_MAX,
        });
        if closing.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let socket = self.socket.inner();
        while closing.bytes_left > 0 {
            ready!(closing.pause.as_mut().poll(cx));
            if ready!(socket.poll_read_ready(cx)).is_err() {
                break;
            }
            match socket.try_io(Interest::READABLE, || throw_away(socket)) {
                Ok(0) => break,
                Ok(n) => {
                    closing.bytes_left = closing.bytes_left.saturating_sub(n);
                    let until = Instant::now() + LINGER_PAUSE;
                    closing.pause.as_mut().reset(until);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_reset) => break,
            }
        }
        Poll::Ready(())
    }
}

/// Takes some of what has come from the kernel without looking at it; returns how many bytes, 0 at the end.
fn throw_away(socket: &TcpStream) -> io::Result<usize> {
    let mut untouched = [MaybeUninit::uninit(); STEP_BYTES];
    SockRef::from(socket).recv_with_flags(&mut untouched, libc::MSG_TRUNC)
}

impl Read for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl Write for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            if !self.unread.0.load(Ordering::Relaxed) || !self.places.change() {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_closed(cx).map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, pieces)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpStream},
    };

    use axum::{Router, http::StatusCode};
    use tokio::{net::TcpListener, runtime::Runtime, sync::watch, task::JoinHandle, time::timeout};

    use super::{
        super::listener::{Bounds, serve_until},
        *,
    };

    /// A service that answers 429 and reads no body.
    struct Refusing {
        runtime: Runtime,
        at: SocketAddr,
        stop: watch::Sender<bool>,
        served: JoinHandle<()>,
    }

    fn refusing() -> Refusing {
        let runtime = Runtime::new().expect("threads");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let at = listener.local_addr().expect("it is bound");
        let router = Router::new().fallback(|| async { StatusCode::TOO_MANY_REQUESTS });
        let bounds = Bounds {
            connections_max: 4,
            read_ahead_bytes: 8 << 10,
        };
        let (stop, stopped) = watch::channel(false);
        let served = runtime.spawn(serve_until(listener, router, bounds, stopped));
        Refusing {
            runtime,
            at,
            stop,
            served,
        }
    }

    fn post(n_bytes: usize) -> Vec<u8> {
        let mut request =
            format!("POST / HTTP/1.1\r\nHost: layer5\r\nContent-Length: {n_bytes}\r\n\r\n")
                .into_bytes();
        request.resize(request.len() + n_bytes, b' ');
        request
    }

    #[test]
    fn who_is_refused_in_the_midst_of_a_body_gets_the_answer() {
        let service = refusing();
        let mut socket = TcpStream::connect(service.at).expect("it listens");
        // More than the kernel holds between the two.
        socket
            .write_all(&post(32 << 20))
            .expect("all of it is taken from us");
        let mut answer = String::new();
        let read = socket.read_to_string(&mut answer);
        read.expect("the answer, then the end, no reset");
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }

    #[test]
    fn a_short_body_that_nobody_reads_costs_no_connection() {
        let service = refusing();
        let mut socket = TcpStream::connect(service.at).expect("it listens");
        for _ in 0..2 {
            socket.write_all(&post(100)).expect("it is open");
            let mut answer = vec![0; 4096];
            let n = socket.read(&mut answer).expect("an answer");
            let answer = String::from_utf8_lossy(&answer[..n]);
            assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
            assert!(!answer.contains("connection: close"), "{answer}");
        }
    }

    #[test]
    fn a_connection_without_unread_bytes_delays_no_stop() {
        let service = refusing();
        let mut socket = TcpStream::connect(service.at).expect("it listens");
        socket
            .write_all(b"GET / HTTP/1.1\r\nHost: layer5\r\n\r\n")
            .expect("it is open");
        assert!(socket.read(&mut [0; 4096]).expect("an answer") > 0);
        service.stop.send_replace(true);
        let stopped = async { timeout(LINGER_PATIENCE / 4, service.served).await };
        let stopped = service.runtime.block_on(stopped);
        stopped.expect("nobody is waited for").expect("no panic");
    }
}
