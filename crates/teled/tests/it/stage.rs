//! A Telegram, a routd and a teled, each of which can go and come again.

use kit::{
    CallOptions, Context, PeerError,
    testing::{Rig, Serving, TestAuthority, serve_daemon_on},
};
use platforms::telegram::Telegram;
use proto::{
    Daemon, Endpoint, Nothing,
    routd::{
        Channels, DELETE, Delete, EDIT, Edit, FEED, FeedItem, FeedPage, FeedQuery, LIST_CHANNELS,
        SEND, Send, Sent,
    },
};
use secrets::{Policy, WallClock, testing::ScriptedSource};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// The longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);
const CHANNEL_SECRET: &str = "channel-secret-of-the-tests";
const KEY: &str = "0123456789abcdef0123456789abcdef-one";
pub const WEBHOOK_SECRET: &str = "webhook-secret-one";
/// A person, and the address of their chat.
pub const ADA: i64 = 42;
pub const CHAT: &str = "telegram:user/42";

/// The world. Its parts are there or not, and what they keep on disk stays.
pub struct Stage {
    pub telegram: Telegram,
    /// teled's secrets. routd has its own: a hint wakes whoever comes first.
    pub source: ScriptedSource,
    routds: ScriptedSource,
    authority: TestAuthority,
    dirs: (TempDir, TempDir),
    /// The ports stay with their daemons.
    ports: (u16, u16),
    settings: Vec<(&'static str, String)>,
    routd: Option<Running>,
    teled: Option<Running>,
}

struct Running {
    context: Context,
    serving: Serving,
}

impl Stage {
    /// All of it, running, with a token.
    pub async fn new() -> Self {
        let mut stage = Self::bare().await;
        let token = stage.telegram.token();
        stage.source.set_silently([("TELEGRAM_BOT_TOKEN", token.as_str())]);
        stage.start_routd().await;
        stage.start_teled().await;
        stage
    }

    /// Telegram alone.
    pub async fn bare() -> Self {
        kit::testing::install_crypto();
        let (source, routds) = (ScriptedSource::default(), ScriptedSource::default());
        source.set_silently([("CHANNEL_SECRET", CHANNEL_SECRET)]);
        routds.set_silently([("CHANNEL_SECRET", CHANNEL_SECRET), ("SECRETS_KEY", KEY)]);
        Self {
            telegram: Telegram::serve().await,
            source,
            routds,
            authority: TestAuthority::new(kit::Clock::real()),
            dirs: (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()),
            ports: (free_port().await, free_port().await),
            settings: Vec::new(),
            routd: None,
            teled: None,
        }
    }

    pub fn setting(&mut self, name: &'static str, value: impl Into<String>) {
        self.settings.push((name, value.into()));
    }

    pub fn routd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.0)
    }

    pub fn teled_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.1)
    }

    async fn context(&self, daemon: Daemon) -> Context {
        let (dir, source) = match daemon {
            Daemon::Routd => (&self.dirs.0, &self.routds),
            _ => (&self.dirs.1, &self.source),
        };
        let mut policy = Policy::new(WallClock::new(std::time::SystemTime::now));
        policy.overlap = Duration::from_secs(300);
        let mut rig = Rig::new(daemon, dir.path())
            .source(source)
            .authority(&self.authority)
            .policy(policy)
            .peer(Daemon::Routd, &self.routd_url())
            .peer(Daemon::Teled, &self.teled_url())
            .setting("DEFAULT_FOLDER", "-")
            .setting("TELEGRAM_API_URL", self.telegram.url());
        for (name, value) in &self.settings {
            rig = rig.setting(name, value.as_str());
        }
        rig.build().await.0
    }

    pub async fn start_routd(&mut self) {
        let context = self.context(Daemon::Routd).await;
        let started = started(|| routd::start(context.clone())).await;
        self.routd = Some(serve(context, started, self.ports.0).await);
    }

    pub async fn start_teled(&mut self) {
        let context = self.context(Daemon::Teled).await;
        let started = started(|| teled::start(context.clone())).await;
        self.teled = Some(serve(context, started, self.ports.1).await);
    }

    pub async fn stop_routd(&mut self) {
        stop(self.routd.take()).await;
    }

    pub async fn stop_teled(&mut self) {
        stop(self.teled.take()).await;
    }

    pub async fn restart_teled(&mut self) {
        self.stop_teled().await;
        self.start_teled().await;
    }

    pub fn teled(&self) -> &Context {
        &self.teled.as_ref().expect("teled runs").context
    }

    /// The texts that routd has of a chat, in their order, each with its id.
    pub async fn has(&self, chat: &str) -> Vec<(String, String)> {
        let query = FeedQuery {
            chat_jid: chat.parse().unwrap(),
            after: Some(0),
            limit: Some(500),
            wait_seconds: 0,
        };
        let page: FeedPage = self.ask_routd(&FEED, &query).await;
        let said = page.events.into_iter().filter_map(|event| match event.what {
            FeedItem::Message { id, content, .. } => Some((id.to_string(), content)),
            _ => None,
        });
        said.collect()
    }

    /// Waits until routd has so many messages of a chat; their texts.
    pub async fn texts(&self, chat: &str, count: usize) -> Vec<String> {
        self.eventually(&format!("routd has {count} of {chat}"), async || {
            let has = self.has(chat).await;
            (has.len() >= count).then(|| has.into_iter().map(|(_, text)| text).collect())
        })
        .await
    }

    pub async fn registered(&self) {
        self.eventually("teled is registered", async || {
            let channels: Channels = self.ask_routd(&LIST_CHANNELS, &Nothing {}).await;
            let known = channels.channels.iter().find(|one| one.name == "telegram")?;
            assert_eq!(known.url, self.teled_url());
            assert!(known.capabilities.contains(&"idempotency".to_owned()), "{known:?}");
            Some(())
        })
        .await;
    }

    async fn ask_routd<Req: Serialize, Res: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
    ) -> Res {
        let urls = [(Daemon::Routd, self.routd_url())].into();
        let http = kit::http_client().unwrap();
        let peers = kit::Peers::with_token(http, urls, &self.authority.operator());
        peers.get(Daemon::Routd).call(endpoint, request).await.unwrap()
    }

    /// Asks teled, as routd does.
    pub async fn ask<Req: Serialize, Res: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
        key: &str,
    ) -> Result<Res, PeerError> {
        let urls = [(Daemon::Teled, self.teled_url())].into();
        let http = kit::http_client().unwrap();
        let token = self.authority.service(Daemon::Routd);
        let mut options = CallOptions::default();
        options.idempotency_key = Some(key.into());
        options.timeout = Some(PATIENCE);
        let peers = kit::Peers::with_token(http, urls, &token);
        peers.get(Daemon::Teled).send(endpoint, request, options).await
    }

    pub fn routds_token(&self) -> String {
        self.authority.service(Daemon::Routd)
    }

    pub async fn send(&self, content: &str, key: &str) -> Result<Vec<String>, (u16, String)> {
        self.send_as(&text(content), key).await
    }

    pub async fn send_as(&self, message: &Send, key: &str) -> Result<Vec<String>, (u16, String)> {
        let sent = self.ask(&SEND, message, key).await;
        sent.map(|sent: Sent| sent.ids.iter().map(ToString::to_string).collect()).map_err(refusal)
    }

    pub async fn edit(&self, id: &str, content: &str, key: &str) -> Result<(), (u16, String)> {
        let edit = Edit {
            chat_jid: CHAT.parse().unwrap(),
            id: id.parse().unwrap(),
            content: content.into(),
        };
        self.ask(&EDIT, &edit, key).await.map(|_| ()).map_err(refusal)
    }

    pub async fn delete(&self, id: &str, key: &str) -> Result<(), (u16, String)> {
        let delete = Delete { chat_jid: CHAT.parse().unwrap(), id: id.parse().unwrap() };
        self.ask(&DELETE, &delete, key).await.map(|_| ()).map_err(refusal)
    }

    /// Somebody has written, so that there is a chat.
    pub async fn open_chat(&self) {
        self.telegram.says(ADA, "hello");
        self.texts(CHAT, 1).await;
    }

    /// Waits until teled says that something is wrong, in such words.
    pub async fn troubled(&self, words: &str) {
        self.eventually(&format!("teled says: {words}"), async || {
            let said = self.teled().health.troubles();
            said.iter().any(|line| line.contains(words)).then_some(())
        })
        .await;
    }

    pub async fn eventually<R>(&self, what: &str, look: impl AsyncFn() -> Option<R>) -> R {
        let wait = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let said = || self.teled.as_ref().map(|teled| teled.context.health.troubles());
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(found) => found,
            Err(_) => panic!("still not: {what}; teled says {:?}", said()),
        }
    }
}

/// A message of the agent's to [`ADA`].
pub fn text(content: &str) -> Send {
    Send {
        chat_jid: CHAT.parse().unwrap(),
        content: content.into(),
        reply_to: None,
        thread_id: None,
        attachments: Vec::new(),
    }
}

pub fn refusal(error: PeerError) -> (u16, String) {
    match error.problem() {
        Some(problem) => (problem.status, problem.code.clone()),
        None => panic!("{}", kit::chain(&error)),
    }
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts a daemon whose database may still be closing behind the one before it.
async fn started<F>(start: impl Fn() -> F) -> axum::Router
where
    F: Future<Output = Result<axum::Router, kit::StartError>>,
{
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match start().await {
            Ok(router) => return router,
            Err(error) if error.exit_code() == 75 && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{}", kit::chain(&error)),
        }
    }
}

async fn serve(context: Context, router: axum::Router, port: u16) -> Running {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let listener = loop {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => break listener,
            Err(error) if tokio::time::Instant::now() > deadline => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let serving = serve_daemon_on(listener, &context, router);
    Running { context, serving }
}

async fn stop(running: Option<Running>) {
    let Running { context, serving } = running.expect("it runs");
    context.stop.cancel();
    drop(serving);
    let busy = context.tasks.ended(PATIENCE).await;
    assert!(busy.is_empty(), "still busy: {busy:?}");
    context.stores.close().await;
}
