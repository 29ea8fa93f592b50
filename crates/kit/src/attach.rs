//! A TLS listener whose connections become another's: each begins with one request that says who it is
//! ([`ATTACH`]), and is then served what that one is to see, as a private socket is.
//!
//! Nothing else is answered there, and nothing before the caller is known. Whoever is refused is noted for the audit, as
//! at every other door.

use crate::{
    Failure, Gate, PeerCred,
    connections::{Limits, connection},
    ledger::Refused,
};
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::{server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::{TokioIo, TokioTimer};
use proto::turn::{ATTACH, TURN_PROTOCOL};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Connections at once; further ones wait to be accepted.
const CONNECTIONS: usize = 1024;
/// How long a connection may take until it is known who it is.
const ATTACH_TIME: Duration = Duration::from_secs(20);
/// The longest bearer, in bytes.
const BEARER_MAX: usize = 8 * 1024;

/// What a connection is served once it is known.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Everything that it sees.
    pub router: Router,
    /// Cancelled when it is to see nothing any more.
    pub closed: CancellationToken,
}

/// Serves TLS on `listener` until `stop`. `admit` says what the bearer of a token is to be served; whom it refuses,
/// `gate` notes.
pub async fn serve_attached<A, F>(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    stop: CancellationToken,
    gate: Gate,
    admit: A,
) where
    A: Fn(String) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Attached, Failure>> + Send + 'static,
{
    let (acceptor, places) = (TlsAcceptor::from(tls), Arc::new(Semaphore::new(CONNECTIONS)));
    let mut open = JoinSet::new();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = places.clone().acquire_owned() => place,
        };
        // The semaphore is never closed; if it were, nobody could be let in.
        let Ok(place) = place else { break };
        let (stream, from) = loop {
            tokio::select! {
                () = stop.cancelled() => return drained(listener, open).await,
                Some(_) = open.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => break accepted,
                    // Short of descriptors, or the client is gone: the others go on.
                    Err(error) => {
                        tracing::warn!(%error, "a connection was not accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        };
        let (acceptor, admit) = (acceptor.clone(), admit.clone());
        let door = Door { gate: gate.clone(), from };
        open.spawn(async move {
            one(stream, door, acceptor, admit).await;
            drop(place);
        });
    }
    drained(listener, open).await;
}

/// Accepts nothing more, and waits for what is open, which whoever let it in closes.
async fn drained(listener: TcpListener, mut open: JoinSet<()>) {
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// Where somebody comes in.
#[derive(Clone, Debug)]
struct Door {
    gate: Gate,
    from: SocketAddr,
}

impl Door {
    /// Notes that somebody is refused. That a path is none, or that nobody can say now, is no refusal.
    fn note(&self, failure: &Failure) {
        let status = failure.status().as_u16();
        if !matches!(status, 401 | 403 | 409 | 410) {
            return;
        }
        let why = failure.why();
        let refused = Refused {
            subject: why.subject.map_or("anonymous".into(), Into::into),
            from: self.from.ip().to_canonical().to_string(),
            route: format!("POST {ATTACH}").into(),
            status,
            reason: why.reason.unwrap_or_default(),
            about: why.about.unwrap_or_default(),
        };
        self.gate.refuse(ATTACH, refused);
    }
}

/// One connection.
async fn one<A, F>(stream: TcpStream, door: Door, acceptor: TlsAcceptor, admit: A)
where
    A: Fn(String) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Attached, Failure>> + Send + 'static,
{
    let taken: Arc<Mutex<Option<(OnUpgrade, Attached)>>> = Arc::default();
    let given = taken.clone();
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        let (admit, given, door) = (admit.clone(), given.clone(), door.clone());
        async move {
            let upgrade = hyper::upgrade::on(&mut request);
            let answer = match attach(request.uri().path(), request.headers(), admit).await {
                Ok(attached) => {
                    *given.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some((upgrade, attached));
                    let headers =
                        [(header::CONNECTION, "upgrade"), (header::UPGRADE, TURN_PROTOCOL)];
                    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
                }
                Err(failure) => {
                    door.note(&failure);
                    failure.into_response()
                }
            };
            Ok::<Response<Body>, Infallible>(answer)
        }
    });
    let attaching = async {
        let stream = acceptor.accept(stream).await.ok()?;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(ATTACH_TIME)
            .max_buf_size(2 * BEARER_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        connection.await.ok()?;
        let (upgrade, attached) = taken.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some((upgrade.await.ok()?, attached))
    };
    // Peers leave, and are slow, and are not who they should be; none of it is worth a line that anybody can cause.
    let Ok(Some((io, attached))) = timeout(ATTACH_TIME, attaching).await else { return };
    let Attached { router, closed } = attached;
    let router = router.fallback(crate::api::no_such_path);
    let nobody = PeerCred { uid: None, pid: None };
    connection(TokioIo::new(io), nobody, router, closed, Limits::SOCKET.head_time).await;
}

async fn attach<A, F>(path: &str, headers: &HeaderMap, admit: A) -> Result<Attached, Failure>
where
    A: Fn(String) -> F,
    F: Future<Output = Result<Attached, Failure>>,
{
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let asks = text(header::UPGRADE).is_some_and(|to| to.eq_ignore_ascii_case(TURN_PROTOCOL));
    if path != ATTACH || !asks {
        return Err(Failure::not_found("nothing is served here but the turns of agents"));
    }
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    // A token of the kind that clusters issue: three parts of base64.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let shaped = |token: &&str| {
        token.len() <= BEARER_MAX && token.split('.').count() == 3 && token.bytes().all(plain)
    };
    match bearer.filter(shaped) {
        Some(token) => admit(token.to_owned()).await,
        None => Err(Failure::unauthorized("this needs the token of an agent's pod")),
    }
}
