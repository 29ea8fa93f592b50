//! The edge: the only daemon that strangers can reach.
//!
//! # The design
//!
//! 1. A request is told whose it is before anything else: the peer's address, or, behind proxies
//!    that are trusted by configuration, the nearest address that is not one of theirs. Limits count
//!    by that.
//! 2. Its path must be readable in one way only, and begin with a prefix of one short table
//!    ([`path::BACKENDS`]). Everything else is 404 here, so no daemon's own endpoints can be reached.
//! 3. What the client says of itself is taken out (`X-User-*`, `X-Forwarded-*`, `Authorization`, …),
//!    what the edge knows is put in, and the edge proves itself to the daemon with its own token.
//! 4. Bodies are passed on as they come, both ways, within limits of size and time. A client that
//!    leaves cancels the request at the daemon.
//! 5. Every handshake asks for the certificate that is current at that moment.
//!
//! # What always holds
//!
//! - Nothing that identifies a person or carries a right is in the log: capabilities are masked,
//!   and queries, cookies and tokens are not there at all.
//! - What one client can take of memory, connections and other clients' share has a limit.
//! - The edge has no opinion on who may do what: it says who is asking, and the daemons decide.

mod access;
mod answers;
mod body;
mod client_address;
mod edge;
mod forward;
mod headers;
mod limits;
mod listen;
mod path;
mod sessions;
mod settings;
mod tls;
mod tls_loop;

pub use settings::{PROXYD_TLS_ADDR, SETTINGS};
pub use tls::certificate_ends;

use edge::Edge;
use kit::{Context, StartError, listen as bind};
use listen::Listening;
use secrets::AnyBundle;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tls::{Pairs, TLS_PAIR};
use tokio_rustls::TlsAcceptor;

/// The secrets that proxyd uses, besides its service key.
pub const BUNDLES: &[&dyn AnyBundle] = &[&TLS_PAIR];

/// How long to wait before the TLS address is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(5);

/// Starts the edge: its public listeners run by themselves, and nothing is served on the internal
/// one but what every daemon serves.
///
/// # Errors
/// A setting does not parse, an address is taken, or the certificate cannot be used.
pub async fn start(context: Context) -> Result<axum::Router, StartError> {
    let pairs = Arc::new(Pairs::new(context.secrets.watch(&TLS_PAIR).await?));
    let edge = Arc::new(Edge::new(&context, pairs.clone())?);
    let listening = Listening::new(&context, edge)?;

    // Whoever composes the process binds it, as LISTEN_ADDR says; alone, it is on its own port.
    let address = SocketAddr::from(([0, 0, 0, 0], context.daemon.default_port()));
    let plain = bind(context.bound.plain.as_ref(), address)?;
    context.tasks.spawn("proxyd.public", listening.clone().serve(plain, None));

    start_tls(&context, pairs, listening)?;
    Ok(kit::Api::new(&context).into_router())
}

fn start_tls(context: &Context, pairs: Arc<Pairs>, listening: Listening) -> Result<(), StartError> {
    let not_after = context.metrics.gauge(
        "tls_certificate_ends_timestamp_seconds",
        "When the certificate that the edge shows ends; 0 where there is none",
    );
    not_after.set(pairs.not_after().unwrap_or_default());
    let eye = (context.clone(), pairs.clone());
    context.tasks.supervise("proxyd.certificate", move || {
        tls_loop::run(eye.0.clone(), eye.1.clone(), not_after.clone())
    });

    let address = context.settings.get(&PROXYD_TLS_ADDR)?;
    let config = pairs
        .server_config()
        .map_err(|error| StartError::Other("TLS could not be set up".into(), Some(error.into())))?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    // At start an address that is taken is an error; a certificate that appears later must not end
    // a running edge.
    let bound = pairs.exist().then(|| bind(context.bound.tls.as_ref(), address)).transpose()?;
    let context = context.clone();
    context.tasks.clone().spawn("proxyd.tls", async move {
        let listener = match bound {
            Some(listener) => listener,
            None => loop {
                tokio::select! {
                    () = pairs.appear() => {}
                    () = context.stop.cancelled() => return,
                }
                match bind(context.bound.tls.as_ref(), address) {
                    Ok(listener) => break listener,
                    Err(error) => context.health.degraded("TLS listener", Some(kit::chain(&error))),
                }
                tokio::select! {
                    () = tokio::time::sleep(BIND_AGAIN) => {}
                    () = context.stop.cancelled() => return,
                }
            },
        };
        context.health.degraded("TLS listener", None);
        listening.serve(listener, Some(acceptor)).await;
    });
    Ok(())
}
