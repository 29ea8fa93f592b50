//! One instance's authd: its data, its secrets, its clock, and requests to it.

use auth::{Expect, Jwks, Kind, TokenError, Verifier};
use kit::{
    Clock, Context, Peer, StartError,
    testing::{INSTANCE, Rig, Serving, serve_daemon},
};
use proto::{Daemon, Nothing, Timestamp, authd, routd::AuditRow};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use secrets::{Policy, testing::ScriptedSource};
use std::{path::PathBuf, time::Duration};
use tempfile::TempDir;

pub const SECRETS_KEY: &str = "planted-secrets-key-000000000000000000000000";
pub const SERVICE_KEY: &str = "planted-service-key-0000000000000000";

/// The most that a test waits for a state.
const LIMIT: Duration = Duration::from_secs(20);

/// What outlives a process: the data directory, the source of secrets, and the time.
pub struct World {
    pub dir: TempDir,
    pub source: ScriptedSource,
    pub clock: Clock,
    pub overlap: Duration,
    pub settings: Vec<(&'static str, String)>,
}

impl World {
    pub fn new() -> Self {
        crate::leaks::capture_logs();
        let source = ScriptedSource::default();
        source.set_silently([("SECRETS_KEY", SECRETS_KEY), ("AUTHD_SERVICE_KEY", SERVICE_KEY)]);
        Self {
            dir: tempfile::tempdir().unwrap(),
            source,
            clock: Clock::manual(Timestamp(1_800_000_000_000)),
            overlap: Duration::from_secs(300),
            settings: Vec::new(),
        }
    }

    /// A world whose overlap ends while a test waits.
    pub fn with_short_overlap() -> Self {
        Self { overlap: Duration::from_millis(1500), ..Self::new() }
    }

    pub async fn try_start(&self) -> Result<Authd, StartError> {
        let clock = self.clock.clone();
        let mut policy = Policy::new(secrets::WallClock::new(move || clock.system()));
        policy.overlap = self.overlap;
        let rig = Rig::new(Daemon::Authd, self.dir.path()).source(&self.source);
        let rig = rig.policy(policy).clock(&self.clock);
        let overlap = format!("{}ms", self.overlap.as_millis());
        let rig = rig.setting("SECRETS_OVERLAP", overlap);
        let set = |rig: Rig, (name, value): &(&str, String)| rig.setting(name, value.clone());
        let (context, _) = self.settings.iter().fold(rig, set).build().await;
        let router = match ::authd::start(context.clone()).await {
            Ok(router) => router,
            Err(error) => {
                context.stop.cancel();
                return Err(error);
            }
        };
        let serving = serve_daemon(&context, router).await;
        // A connection that is kept would keep the database open after the stop.
        let http = Client::builder()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Ok(Authd { context, serving, http })
    }

    /// Starts authd; waits for an earlier one to let go of the database.
    pub async fn start(&self) -> Authd {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            match self.try_start().await {
                Ok(authd) => return authd,
                Err(error) if error.exit_code() == 75 && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("authd does not start: {}", kit::chain(&error)),
            }
        }
    }

    pub fn database(&self) -> PathBuf {
        self.dir.path().join("store/authd.db")
    }

    pub fn advance_minutes(&self, minutes: u64) {
        self.clock.advance(Duration::from_secs(minutes * 60));
    }
}

pub struct Authd {
    pub context: Context,
    pub serving: Serving,
    pub http: Client,
}

impl Authd {
    pub async fn stop(self) {
        self.context.stop.cancel();
        assert_eq!(self.context.tasks.ended(LIMIT).await, Vec::<&str>::new(), "all work ends");
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.serving.url)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(self.url(path))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(self.url(path))
    }

    pub async fn ask_token(&self, daemon: &str, key: &str) -> Response {
        let body = serde_json::json!({ "daemon": daemon });
        self.post("/v1/service-token").bearer_auth(key).json(&body).send().await.unwrap()
    }

    pub async fn token(&self, daemon: &str, key: &str) -> authd::Token {
        let response = self.ask_token(daemon, key).await;
        assert_eq!(
            response.status(),
            StatusCode::OK,
            "{daemon}: {}",
            response.text().await.unwrap()
        );
        response.json().await.unwrap()
    }

    pub async fn status_of_token(&self, daemon: &str, key: &str) -> u16 {
        self.ask_token(daemon, key).await.status().as_u16()
    }

    pub async fn jwks(&self) -> Jwks {
        self.get("/.well-known/jwks.json").send().await.unwrap().json().await.unwrap()
    }

    /// What a verifier in `daemon` says of `token` now.
    pub async fn verify(
        &self,
        token: &str,
        daemon: &str,
        kind: Kind,
    ) -> Result<auth::Caller, TokenError> {
        let verifier = Verifier::new(auth::issuer(INSTANCE), &self.jwks().await).unwrap();
        let expect = Expect { audience: daemon, kinds: &[kind] };
        verifier.verify(token, &expect, self.context.clock.now().0 / 1000)
    }

    /// authd as the operator's command line sees it.
    pub fn admin(&self) -> Peer {
        Peer::on_socket("authd", &self.context.run_dir().join("admin.sock")).unwrap()
    }

    pub async fn operator(&self) -> String {
        self.admin().call(&authd::OPERATOR_TOKEN, &Default::default()).await.unwrap().token
    }

    pub async fn link(&self) -> authd::LoginLink {
        self.admin().call(&authd::LOGIN_LINK, &Nothing {}).await.unwrap()
    }

    /// The audit log, newest first.
    pub async fn audit(&self) -> Vec<AuditRow> {
        let bearer = self.operator().await;
        let answer = self.get("/v1/audit?limit=500").bearer_auth(bearer).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json::<proto::routd::AuditPage>().await.unwrap().rows
    }

    pub async fn actions(&self) -> Vec<String> {
        self.audit().await.into_iter().map(|row| row.action).collect()
    }
}

/// Waits until `state` is there.
pub async fn until<F, Fut>(what: &str, state: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    let waiting = async {
        while !state().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(LIMIT, waiting).await;
    assert!(waited.is_ok(), "waited too long until {what}");
}
