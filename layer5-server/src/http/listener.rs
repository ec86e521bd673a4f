//! Connections: how many there are, how much memory each may take, and how they end.
//! In: a listener and a router. Out: answered requests, until the service stops. Called from: `app`.
//! Invariants: at most [`Bounds::connections_max`] are served, as many more are only waited for to close, the rest wait in
//! the kernel; a connection reads at most [`Bounds::read_ahead_bytes`] ahead; one that sends no request for
//! [`IDLE_PATIENCE`] is closed; at a stop requests under way are finished; a sender that is answered before all of its
//! body was read gets to see the answer ([`super::closing`]).

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{http::header, response::Response};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::TokioTimer, server::graceful::GracefulShutdown, service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use super::{
    closing::{Lingering, Places, Unread},
    gate::announced,
};

/// Longest time until the head of a request is there; also between two requests.
const IDLE_PATIENCE: Duration = Duration::from_secs(75);
/// Pause when no connection can be accepted, as when all file descriptors are taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Longest time that requests under way have to finish at a stop.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// How many connections, and what each may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most open at once.
    pub(crate) connections_max: usize,
    /// What each reads ahead of a request's handler, bytes; the engine's own default is 400 kB.
    pub(crate) read_ahead_bytes: usize,
}

/// Serves `router` on `listener` until `stop`.
pub(crate) async fn serve_until(
    listener: TcpListener,
    router: axum::Router,
    bounds: Bounds,
    mut stop: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(IDLE_PATIENCE)
        .max_buf_size(bounds.read_ahead_bytes);
    // Answers are small and whole; a failure costs time and nothing else. Connections take it over from here.
    let _slower = SockRef::from(&listener).set_tcp_nodelay(true);
    let under_way = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(bounds.connections_max));
    let closing_room = Arc::new(Semaphore::new(bounds.connections_max));
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, accept(&listener).await)
        };
        let (place, stream) = tokio::select! {
            next = next => next,
            // An error means that the service is gone, which is a stop too.
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let unread = Unread::default();
        let places = Places::new(place.ok(), &closing_room);
        let socket = Lingering::new(stream, unread.clone(), places);
        let connection = http.serve_connection(socket, answering(router.clone(), unread));
        let connection = under_way.watch(connection);
        tokio::spawn(async move {
            // Peers that go away in the midst of a request are their own concern.
            let _broken = connection.await;
        });
    }
    drop(listener);
    if timeout(STOP_PATIENCE, under_way.shutdown()).await.is_err() {
        tracing::warn!("requests under way did not finish in {STOP_PATIENCE:?}");
    }
}

/// Answers the requests of one connection by `router`.
fn answering(
    router: axum::Router,
    unread: Unread,
) -> impl Service<
    Request<Incoming>,
    Response = Response,
    Error = Infallible,
    Future: Future<Output = Result<Response, Infallible>> + Send,
> {
    let router = TowerToHyperService::new(router);
    service_fn(move |request: Request<Incoming>| {
        // Whoever asks before it sends may never send what it announced.
        let asks_first = request.headers().contains_key(header::EXPECT);
        let announced = announced(request.headers()).filter(|_| !asks_first);
        let answer = router.call(request.map(|body| unread.watch(body)));
        let unread = unread.clone();
        async move { Ok(unread.answered(answer.await?, announced)) }
    })
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
