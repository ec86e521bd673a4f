//! How a stand-in neighbour fails on demand: errors, delays, and connections that end without an answer.
//! In: the shares of requests that fail, and a seed. Out: a verdict per request, and sockets that can be cut.
//! Called from: `layer7`.
//! Invariants: verdicts follow from the seed and the number of the request; a connection that was cut writes nothing
//! more, so its client can't mistake it for an answer.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use rand::RngExt;
use rand_pcg::Pcg64;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// Which share of requests fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Misbehaviour {
    /// Answered 503 with nothing done, 0..=1.
    pub error_share: f64,
    /// Done, and then the connection is cut before the answer, 0..=1.
    pub cut_share: f64,
    /// Every answer waits this long.
    pub delay: Duration,
}

impl Misbehaviour {
    /// What the demo shows by default: now and then an error or a lost answer.
    pub const MILD: Self = Self {
        error_share: 0.03,
        cut_share: 0.02,
        delay: Duration::ZERO,
    };

    /// What becomes of the next request.
    pub(super) fn verdict(&self, rng: &mut Pcg64) -> Verdict {
        let draw = rng.random::<f64>();
        if draw < self.error_share {
            Verdict::Error
        } else if draw < self.error_share + self.cut_share {
            Verdict::Cut
        } else {
            Verdict::Serve
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is done and answered.
    Serve,
    /// It is not done, and answered 503.
    Error,
    /// It is done, and never answered.
    Cut,
}

/// Cuts the connection that a request came on.
#[derive(Clone, Debug, Default)]
pub(super) struct Scissors(Arc<AtomicBool>);

impl Scissors {
    /// The next write on the connection fails.
    pub(super) fn cut(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Accepts connections that can be cut.
#[derive(Debug)]
pub(super) struct CuttableListener(pub(super) TcpListener);

impl Listener for CuttableListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CuttableStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        let scissors = Scissors::default();
        (CuttableStream { stream, scissors }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Scissors {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.io().scissors.clone()
    }
}

/// A TCP connection with [`Scissors`] at hand.
#[derive(Debug)]
pub(super) struct CuttableStream {
    stream: TcpStream,
    scissors: Scissors,
}

impl CuttableStream {
    fn check(&self) -> io::Result<()> {
        // Acquire pairs with the Release in `Scissors::cut`.
        if self.scissors.0.load(Ordering::Acquire) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "cut on purpose",
            ));
        }
        Ok(())
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standin::noise;

    #[test]
    fn verdicts_come_in_their_shares_and_repeat() {
        let mild = Misbehaviour {
            error_share: 0.2,
            cut_share: 0.1,
            delay: Duration::ZERO,
        };
        let run = || -> Vec<Verdict> {
            let mut rng = noise::stream(7, noise::STREAM_LAYER7);
            (0..10_000).map(|_| mild.verdict(&mut rng)).collect()
        };
        let verdicts = run();
        let count = |v: Verdict| verdicts.iter().filter(|x| **x == v).count();
        // Five standard deviations of a binomial count are 200 and 150.
        assert!((1800..2200).contains(&count(Verdict::Error)));
        assert!((850..1150).contains(&count(Verdict::Cut)));
        assert_eq!(verdicts, run());
        let mut rng = noise::stream(7, 0);
        let good = Misbehaviour::default();
        assert!((0..100).all(|_| good.verdict(&mut rng) == Verdict::Serve));
    }
}
