//! For the tests of daemons: a context over scripted secrets, an authority that signs tokens, and a
//! server on a port of its own.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test support fails by panicking, with the reason"
)]

use crate::{
    Bound, Clock, Context, Gate, Health, KeySource, Metrics, Peers, Settings, Stores, Tasks,
    Timeline, Traces,
    connections::{self, Limits},
    peer::client_builder,
    run::tuned,
    serve,
};
use async_trait::async_trait;
use auth::{Claims, Jwks, Kind, Scopes, Signer};
use axum::Router;
use proto::{Daemon, Folder};
use secrets::{Keeper, Policy, WallClock, testing::ScriptedSource};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio_util::sync::CancellationToken;

mod capture;

pub use capture::Lines;

/// The instance that the tests' tokens belong to.
pub const INSTANCE: &str = "test";

/// Makes a [`Context`].
#[derive(Debug)]
pub struct Rig {
    daemon: Daemon,
    data_dir: PathBuf,
    source: ScriptedSource,
    settings: Vec<(String, String)>,
    urls: BTreeMap<Daemon, String>,
    authority: Option<TestAuthority>,
    policy: Option<Policy>,
    clock: Clock,
}

impl Rig {
    /// For `daemon`, with its data in `data_dir`.
    pub fn new(daemon: Daemon, data_dir: &Path) -> Self {
        install_crypto();
        Self {
            daemon,
            data_dir: data_dir.into(),
            source: ScriptedSource::default(),
            settings: Vec::new(),
            urls: BTreeMap::new(),
            authority: None,
            policy: None,
            clock: Clock::real(),
        }
    }

    #[must_use]
    pub fn secret(self, name: &'static str, value: &str) -> Self {
        self.source.set_silently([(name, value)]);
        self
    }

    /// The source of this rig's secrets, to rotate and break them with.
    pub fn script(&self) -> ScriptedSource {
        self.source.clone()
    }

    #[must_use]
    pub fn setting(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Where another daemon is to be found.
    #[must_use]
    pub fn peer(mut self, daemon: Daemon, url: &str) -> Self {
        self.urls.insert(daemon, url.into());
        self
    }

    /// The authority of another rig, so that tokens are good in both.
    #[must_use]
    pub fn authority(mut self, authority: &TestAuthority) -> Self {
        self.authority = Some(authority.clone());
        self
    }

    /// The source of another rig: the same secrets after a restart.
    #[must_use]
    pub fn source(mut self, source: &ScriptedSource) -> Self {
        self.source = source.clone();
        self
    }

    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    #[must_use]
    pub fn clock(mut self, clock: &Clock) -> Self {
        self.clock = clock.clone();
        self
    }

    pub async fn build(self) -> (Context, TestAuthority) {
        let authority = self.authority.unwrap_or_else(|| TestAuthority::new(self.clock.clone()));
        let clock = self.clock.clone();
        let policy =
            self.policy.unwrap_or_else(|| Policy::new(WallClock::new(move || clock.system())));
        let (keeper, handle) = Keeper::new(vec![Arc::new(self.source.clone())], policy);
        let stop = CancellationToken::new();
        tokio::spawn(keeper.run(stop.clone()));
        let metrics = Metrics::default();
        let gate = Gate::new(self.daemon, INSTANCE, self.clock.clone(), &metrics);
        gate.use_keys(Arc::new(authority.clone()));
        let token = authority.service(self.daemon);
        let traces = Traces::new(self.daemon, self.clock.clone());
        let context = Context {
            daemon: self.daemon,
            instance: INSTANCE.into(),
            data_dir: self.data_dir,
            settings: Settings::new(self.settings, []),
            clock: self.clock,
            secrets: handle.for_daemon(self.daemon.name()),
            tasks: Tasks::new(stop.clone()),
            stores: Stores::default(),
            stop,
            health: Health::default(),
            metrics,
            gate,
            peers: Peers::with_token(client_builder().build().unwrap(), self.urls, &token),
            bound: Bound::default(),
            timeline: Timeline::default(),
            traces,
        };
        (context, authority)
    }
}

/// Signs tokens that every rig with this authority believes.
#[derive(Clone)]
pub struct TestAuthority {
    signer: Arc<Signer>,
    clock: Clock,
    made: Arc<AtomicU64>,
}

impl TestAuthority {
    pub fn new(clock: Clock) -> Self {
        Self { signer: Arc::new(Signer::generate().unwrap()), clock, made: Arc::default() }
    }

    /// A token of `subject` (`service:webd`, `operator:local`, …) for `audience`, with `scopes`.
    pub fn token(&self, subject: &str, audience: &[Daemon], kind: Kind, scopes: &[&str]) -> String {
        self.limited(subject, audience, kind, scopes, None)
    }

    /// The same, for `folder` and those below it alone.
    pub fn limited(
        &self,
        subject: &str,
        audience: &[Daemon],
        kind: Kind,
        scopes: &[&str],
        folder: Option<Folder>,
    ) -> String {
        let now = self.clock.now().0 / 1000;
        let scope: Scopes = scopes.join(" ").parse().unwrap();
        let id = self.made.fetch_add(1, Ordering::Relaxed);
        let claims = Claims {
            iss: auth::issuer(INSTANCE),
            sub: subject.parse().unwrap(),
            aud: audience.iter().map(|daemon| daemon.name().to_owned()).collect(),
            typ: kind,
            scope,
            iat: now,
            exp: now + 900,
            nbf: None,
            jti: format!("t{id}"),
            epoch: 0,
            folder,
            sid: None,
        };
        self.signer.sign(&claims).unwrap()
    }

    /// A token of `daemon` for every daemon, with the scopes that the table gives it.
    pub fn service(&self, daemon: Daemon) -> String {
        let scopes = auth::service_scopes(daemon);
        let scopes: Vec<&str> = scopes.iter().map(auth::Scope::as_str).collect();
        self.token(&daemon.subject(), &Daemon::ALL, Kind::Service, &scopes)
    }

    /// A token of the operator, for everything.
    pub fn operator(&self) -> String {
        self.token("operator:local", &Daemon::ALL, Kind::Operator, &["*:*"])
    }
}

impl std::fmt::Debug for TestAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestAuthority")
    }
}

#[async_trait]
impl KeySource for TestAuthority {
    async fn keys(&self) -> Result<Jwks, String> {
        Ok(Jwks { keys: vec![self.signer.public().clone()], epochs: BTreeMap::new() })
    }
}

/// A server that ends when this is dropped.
#[derive(Debug)]
pub struct Serving {
    pub url: String,
    stop: CancellationToken,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves `router` as it is, on a port of its own.
pub async fn serve_router(router: Router) -> Serving {
    serve_router_on(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), router)
}

/// Serves `router` on this listener, for whoever has to know the address beforehand.
pub fn serve_router_on(listener: tokio::net::TcpListener, router: Router) -> Serving {
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let until = stop.clone();
    tokio::spawn(async move {
        let never = CancellationToken::new();
        tokio::select! {
            () = connections::serve(listener, router, never, Limits::TCP, tuned) => {}
            () = until.cancelled() => {}
        }
    });
    Serving { url, stop }
}

/// Serves a daemon as [`crate::run`] would: `router` behind the endpoints that every daemon has.
pub async fn serve_daemon(context: &Context, router: Router) -> Serving {
    serve_daemon_on(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), context, router)
}

/// The same, on this listener.
pub fn serve_daemon_on(
    listener: tokio::net::TcpListener,
    context: &Context,
    router: Router,
) -> Serving {
    let late = serve::Late::default();
    let front = serve::front(context, late.clone());
    late.set(router);
    context.health.seal();
    serve_router_on(listener, front)
}

/// Makes the process's cryptography that of production. Every rig does it.
pub fn install_crypto() {
    auth::install_crypto();
    // An error means that it is installed already.
    let _already = rustls::crypto::aws_lc_rs::default_provider().install_default().is_err();
}
