//! The public listeners: connections in, bounded in number and in time.

use crate::{
    client_address::ClientKey,
    edge::{Came, Edge},
    limits::Connections,
    settings,
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use kit::{Context, SettingError};
use prometheus_client::metrics::gauge::Gauge;
use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Largest head of a request, in bytes and in headers.
const HEAD_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 100;
/// How long a client may leave what we sent unacknowledged.
const UNREAD_MAX: Duration = Duration::from_secs(60);
/// How long requests in flight have when the edge stops. Below `kit`'s own grace.
const GRACE: Duration = Duration::from_secs(8);

/// What both listeners share.
#[derive(Clone, Debug)]
pub struct Listening {
    edge: Arc<Edge>,
    stop: CancellationToken,
    /// How many connections may be open.
    slots: Arc<Semaphore>,
    per_client: Arc<Connections>,
    per_client_max: usize,
    head_time: Duration,
    open: Gauge,
}

impl Listening {
    /// As the settings say.
    ///
    /// # Errors
    /// A setting does not parse.
    pub fn new(context: &Context, edge: Arc<Edge>) -> Result<Self, SettingError> {
        let set = &context.settings;
        Ok(Self {
            edge,
            stop: context.stop.clone(),
            slots: Arc::new(Semaphore::new(set.get(&settings::PROXYD_MAX_CONNECTIONS)?)),
            per_client: Arc::default(),
            per_client_max: set.get(&settings::PROXYD_MAX_CONNECTIONS_PER_CLIENT)?,
            head_time: set.get(&settings::PROXYD_HEADER_TIMEOUT)?,
            open: context.metrics.gauge("edge_connections", "Connections that the edge holds open"),
        })
    }

    /// Accepts connections until the stop, then waits for what is in flight.
    pub async fn serve(self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let mut connections = JoinSet::new();
        loop {
            // A place first: what there is none for waits in the kernel, and costs us nothing.
            let place = tokio::select! {
                () = self.stop.cancelled() => break,
                place = self.slots.clone().acquire_owned() => place,
            };
            // The semaphore is never closed; if it were, nobody could be let in.
            let Ok(place) = place else { break };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: others will close theirs.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (this, tls) = (self.clone(), tls.clone());
            connections.spawn(async move {
                this.connection(stream, address, tls).await;
                drop(place);
            });
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    async fn connection(&self, stream: TcpStream, address: SocketAddr, tls: Option<TlsAcceptor>) {
        let peer = address.ip().to_canonical();
        let counted = if self.edge.trusts(peer) {
            None
        } else {
            let entered = self.per_client.enter(ClientKey::of(peer), self.per_client_max);
            let Some(entered) = entered else { return };
            Some(entered)
        };
        tune(&stream);
        self.open.inc();
        match tls {
            None => self.requests(stream, Came { peer, tls: false }).await,
            Some(acceptor) => {
                let handshake = tokio::select! {
                    () = self.stop.cancelled() => None,
                    handshake = timeout(self.head_time, acceptor.accept(stream)) => handshake.ok(),
                };
                // A failed handshake is the client's trouble, and there are scanners; no log line.
                if let Some(Ok(stream)) = handshake {
                    self.requests(stream, Came { peer, tls: true }).await;
                }
            }
        }
        self.open.dec();
        drop(counted);
    }

    async fn requests(&self, stream: impl AsyncRead + AsyncWrite + Unpin, came: Came) {
        let service = service_fn(move |request| {
            let edge = self.edge.clone();
            async move { Ok::<_, Infallible>(edge.serve(came, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_time)
            .max_buf_size(HEAD_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                match timeout(GRACE, connection).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = ended {
            // Clients leave; what was asked before that has its own line in the access log.
            tracing::debug!(error = %kit::chain(&error), "a connection ended early");
        }
    }
}

/// Sets what the socket can do by itself. None of it is worth refusing a connection for.
fn tune(stream: &TcpStream) {
    stream.set_nodelay(true).ok();
    let unread = u32::try_from(UNREAD_MAX.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, unread).ok();
    rustix::net::sockopt::set_socket_keepalive(stream, true).ok();
}
