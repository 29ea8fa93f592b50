//! The connections of a listener: bounded in number, and in the time that a request's head may take.
//!
//! A place is taken before a connection is accepted: what there is no place for waits in the kernel
//! and costs nothing. The same time that bounds a head bounds a connection on which nothing is asked
//! at all, so that places come free again; kit's own clients let go of theirs sooner
//! ([`CLIENT_IDLE`]), and so never write on a connection that is just being closed.

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    serve::Listener,
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long clients keep a connection on which nothing is asked. Below [`HEAD_TIME`].
pub(crate) const CLIENT_IDLE: Duration = Duration::from_secs(30);
/// How long a request's head may take, and how long a connection may ask nothing.
const HEAD_TIME: Duration = Duration::from_secs(45);
/// Largest head of a request, in bytes and in headers.
const HEAD_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;

/// What a listener bears.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at once; further ones wait to be accepted.
    pub(crate) connections: usize,
    /// How long a request's head may take, and how long a connection may ask nothing.
    pub(crate) head_time: Duration,
}

impl Limits {
    /// For a daemon's listener: twice what the edge holds open unless it is told otherwise, since
    /// a page that follows a chat is a long poll further in.
    pub(crate) const TCP: Self = Self { connections: 8192, head_time: HEAD_TIME };
    /// For a private socket, which is one agent's or the operator's.
    pub(crate) const SOCKET: Self = Self { connections: 128, head_time: HEAD_TIME };
}

/// Serves `router` on what `listener` accepts until `stop`; then finishes what is in flight. `peer`
/// says of a connection what handlers find as `ConnectInfo<P>`.
pub(crate) async fn serve<L: Listener, P: Clone + Send + Sync + 'static>(
    mut listener: L,
    router: Router,
    stop: CancellationToken,
    limits: Limits,
    peer: fn(&L::Io, L::Addr) -> P,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut open = JoinSet::new();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = places.clone().acquire_owned() => place,
        };
        // The semaphore is never closed; if it were, nobody could be let in.
        let Ok(place) = place else { break };
        let (io, address) = loop {
            tokio::select! {
                () = stop.cancelled() => return drained(listener, open).await,
                Some(_) = open.join_next() => {}
                accepted = listener.accept() => break accepted,
            }
        };
        let who = peer(&io, address);
        let (router, stop) = (router.clone(), stop.clone());
        open.spawn(async move {
            connection(io, who, router, stop, limits.head_time).await;
            drop(place);
        });
    }
    drained(listener, open).await;
}

/// Accepts nothing more, and waits for what is open. Whoever stops a daemon bounds this.
async fn drained<L: Listener>(listener: L, mut open: JoinSet<()>) {
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// Serves one connection until `stop`, and what is in flight on it after that.
pub(crate) async fn connection<I, P>(
    io: I,
    who: P,
    router: Router,
    stop: CancellationToken,
    head_time: Duration,
) where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    P: Clone + Send + Sync + 'static,
{
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(who.clone()));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Peers leave, and are slow; neither is worth a line that anybody can cause at will.
        tracing::debug!(error = %crate::chain(&error), "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::Notify,
        time::timeout,
    };

    const LIMIT: Duration = Duration::from_secs(30);

    struct Served {
        address: SocketAddr,
        stop: CancellationToken,
        ended: tokio::task::JoinHandle<()>,
        go: Arc<Notify>,
    }

    /// `/` answers at once, `/held` when `go` says so.
    #[expect(clippy::disallowed_methods, reason = "a test's own server")]
    async fn served(limits: Limits) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let go = Arc::new(Notify::new());
        let held = go.clone();
        let router = Router::new().route("/", get(async || "here")).route(
            "/held",
            get(move || {
                let held = held.clone();
                async move {
                    held.notified().await;
                    "late"
                }
            }),
        );
        let ended = tokio::spawn(serve(listener, router, stop.clone(), limits, |_, peer| peer));
        Served { address, stop, ended, go }
    }

    async fn read_all(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        timeout(LIMIT, stream.read_to_end(&mut text)).await.unwrap().unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn a_head_that_trickles_and_a_connection_that_asks_nothing_are_closed() {
        let limits = Limits { connections: 8, head_time: Duration::from_millis(300) };
        let served = served(limits).await;
        let mut silent = TcpStream::connect(served.address).await.unwrap();
        let mut slow = TcpStream::connect(served.address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n").await.unwrap();
        // Byte by byte, for as long as the other side listens.
        let trickled = timeout(LIMIT, async {
            let mut answer = [0; 1];
            loop {
                if slow.write_all(b"x").await.is_err() {
                    return;
                }
                let read = timeout(Duration::from_millis(20), slow.read(&mut answer)).await;
                if matches!(read, Ok(Ok(0) | Err(_))) {
                    return;
                }
                assert!(read.is_err(), "a request without an end was answered");
            }
        });
        trickled.await.expect("the slow head was waited for without end");
        assert_eq!(read_all(&mut silent).await, "");
        // Others were served meanwhile, and are now.
        let mut other = TcpStream::connect(served.address).await.unwrap();
        other.write_all(ASK).await.unwrap();
        assert!(read_all(&mut other).await.ends_with("here"));
    }

    #[tokio::test]
    async fn what_there_is_no_place_for_waits_and_is_served_then() {
        let served = served(Limits { connections: 2, ..Limits::TCP }).await;
        let ask_held = b"GET /held HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
        let mut first = TcpStream::connect(served.address).await.unwrap();
        let mut second = TcpStream::connect(served.address).await.unwrap();
        first.write_all(ask_held).await.unwrap();
        second.write_all(ask_held).await.unwrap();
        let mut third = TcpStream::connect(served.address).await.unwrap();
        third.write_all(ASK).await.unwrap();
        let mut byte = [0; 1];
        let early = timeout(Duration::from_millis(200), third.read(&mut byte)).await;
        assert!(early.is_err(), "a connection beyond the limit was served");
        served.go.notify_one();
        served.go.notify_one();
        assert!(read_all(&mut third).await.ends_with("here"));
    }

    #[tokio::test]
    async fn a_stop_finishes_what_is_in_flight_and_lets_nobody_in() {
        let served = served(Limits::TCP).await;
        let mut idle = TcpStream::connect(served.address).await.unwrap();
        let mut asked = TcpStream::connect(served.address).await.unwrap();
        asked.write_all(b"GET /held HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        let mut known = TcpStream::connect(served.address).await.unwrap();
        known.write_all(ASK).await.unwrap();
        // Accepted in order: what came before this was answered is in flight.
        assert!(read_all(&mut known).await.ends_with("here"));
        served.stop.cancel();
        assert_eq!(read_all(&mut idle).await, "", "an idle connection holds up the stop");
        served.go.notify_one();
        assert!(read_all(&mut asked).await.ends_with("late"), "what was in flight was cut");
        timeout(LIMIT, served.ended).await.unwrap().unwrap();
        assert!(TcpStream::connect(served.address).await.is_err(), "still listening");
    }

    #[tokio::test]
    async fn a_head_with_two_lengths_is_refused_and_nothing_behind_it_is_read() {
        let served = served(Limits::TCP).await;
        let smuggled = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        for (lines, status) in [
            ("content-length: 5\r\ncontent-length: 6\r\n", "400"),
            ("content-length: 5, 6\r\n", "400"),
            ("content-length: -1\r\n", "400"),
            ("transfer-encoding: chunked, identity\r\n", "400"),
        ] {
            let mut stream = TcpStream::connect(served.address).await.unwrap();
            let head = format!("POST / HTTP/1.1\r\nhost: here\r\n{lines}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(b"0\r\n\r\n").await.unwrap();
            // It may be closed on us by then.
            let _refused = stream.write_all(smuggled).await.is_err();
            let mut text = Vec::new();
            // A reset instead of an end: it was closed with something unread.
            let _reset = timeout(LIMIT, stream.read_to_end(&mut text)).await.unwrap().is_err();
            let text = String::from_utf8_lossy(&text);
            assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{lines}: {text}");
            assert!(!text.contains("here"), "what was smuggled was answered: {text}");
        }
    }
}
