//! A Slack workspace, a real routd, and slakd between them.

use kit::{
    Context, Peers,
    testing::{Rig, Serving, TestAuthority, serve_daemon},
};
use platforms::slack::Slack;
use proto::{
    Daemon, Endpoint, Jid, Nothing, Problem,
    routd::{
        ADD_GROUP, ADD_ROUTE, Channel, FEED, FeedItem, FeedPage, FeedQuery, LIST_CHANNELS,
        NewGroup, NewRoute, SEND, Send, Sent,
    },
};
use secrets::{Policy, WallClock, testing::ScriptedSource};
use serde::{Serialize, de::DeserializeOwned};
use std::{future::Future, time::Duration};
use tempfile::TempDir;
use tokio::time::Instant;

/// The longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const CHANNEL_SECRET: &str = "channel-secret-of-the-tests";
pub const BOT_TOKEN: &str = "xoxb-1-first-bot-token";
pub const APP_TOKEN: &str = "xapp-1-first-app-token";
pub const SIGNING: &str = "8f742231b10e8888abcd99yyyzzz85a5";

pub struct World {
    pub slack: Slack,
    pub source: ScriptedSource,
    pub authority: TestAuthority,
    http: kit::HttpClient,
    dir: TempDir,
    routd: Option<Running>,
    slakd: Option<Running>,
    /// Where slakd listens, the same after a restart.
    slakd_url: String,
    routd_url: String,
}

struct Running {
    context: Context,
    _serving: Option<Serving>,
    listening: Option<tokio::task::AbortHandle>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.context.stop.cancel();
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

impl World {
    /// Everything runs, and slakd has registered.
    pub async fn start() -> Self {
        let mut world = Self::unstarted().await;
        world.secrets([("SLACK_BOT_TOKEN", BOT_TOKEN), ("SLACK_SIGNING_SECRET", SIGNING)]);
        world.start_routd().await;
        world.start_slakd().await;
        world.registered().await;
        world
    }

    pub async fn unstarted() -> Self {
        kit::testing::install_crypto();
        let slack = Slack::start().await;
        slack.add_bot_token(BOT_TOKEN);
        slack.add_app_token(APP_TOKEN);
        let source = ScriptedSource::default();
        source.set_silently([("CHANNEL_SECRET", CHANNEL_SECRET)]);
        Self {
            slack,
            source,
            authority: TestAuthority::new(kit::Clock::real()),
            http: kit::http_client().unwrap(),
            dir: tempfile::tempdir().unwrap(),
            routd: None,
            slakd: None,
            slakd_url: String::new(),
            routd_url: "http://127.0.0.1:1".into(),
        }
    }

    pub fn secrets<const N: usize>(&self, values: [(&'static str, &str); N]) {
        self.source.set_silently(values);
    }

    /// routd, with the folder `main`, to which every chat of Slack's leads.
    pub async fn start_routd(&mut self) {
        let dir = self.dir.path().join("routd");
        std::fs::create_dir_all(&dir).unwrap();
        let rig = Rig::new(Daemon::Routd, &dir)
            .authority(&self.authority)
            .secret("CHANNEL_SECRET", CHANNEL_SECRET)
            .secret("SECRETS_KEY", "0123456789abcdef0123456789abcdef-one")
            // Nobody runs what the messages ask for.
            .peer(Daemon::Runed, "http://127.0.0.1:1")
            .peer(Daemon::Slakd, &self.slakd_url);
        let (context, _) = rig.build().await;
        let router = routd::start(context.clone()).await.unwrap();
        let serving = serve_daemon(&context, router).await;
        self.routd_url.clone_from(&serving.url);
        self.routd = Some(Running { context, _serving: Some(serving), listening: None });
        for folder in ["main", "main/legal"] {
            let group = NewGroup {
                folder: folder.parse().unwrap(),
                jid: None,
                harness: None,
                command: Vec::new(),
                model: None,
            };
            self.call(&ADD_GROUP, &group).await;
        }
        let route = NewRoute { seq: 0, pattern: "platform=slack".into(), target: "main".into() };
        self.call(&ADD_ROUTE, &route).await;
    }

    pub async fn start_slakd(&mut self) {
        let address = self.slakd_url.strip_prefix("http://").unwrap_or("127.0.0.1:0").to_owned();
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        self.slakd_url = format!("http://{}", listener.local_addr().unwrap());
        let mut policy = Policy::new(WallClock::new(std::time::SystemTime::now));
        policy.overlap = Duration::from_secs(300);
        let rig = Rig::new(Daemon::Slakd, self.dir.path())
            .source(&self.source)
            .authority(&self.authority)
            .policy(policy)
            .setting("SLACK_API_URL", self.slack.api_url())
            .peer(Daemon::Routd, &self.routd_url)
            .peer(Daemon::Slakd, &self.slakd_url);
        let (context, _) = rig.build().await;
        let router = slakd::start(context.clone()).await.unwrap();
        context.health.seal();
        let serve = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let listening = Some(serve.abort_handle());
        self.slakd = Some(Running { context, _serving: None, listening });
    }

    /// slakd before a server that has the files of routd's, and nothing else of it: no agent runs here to send one.
    pub async fn start_before(files: axum::Router) -> (Self, Serving) {
        let mut world = Self::unstarted().await;
        world.secrets([("SLACK_BOT_TOKEN", BOT_TOKEN), ("SLACK_SIGNING_SECRET", SIGNING)]);
        let serving = kit::testing::serve_router(files).await;
        world.routd_url.clone_from(&serving.url);
        world.start_slakd().await;
        (world, serving)
    }

    pub async fn stop_slakd(&mut self) {
        let running = self.slakd.take().expect("slakd runs");
        running.context.stop.cancel();
        running.listening.as_ref().unwrap().abort();
        let busy = running.context.tasks.ended(PATIENCE).await;
        assert!(busy.is_empty(), "still busy: {busy:?}");
        running.context.stores.close().await;
    }

    pub fn slakd(&self) -> &Context {
        &self.slakd.as_ref().expect("slakd runs").context
    }

    /// An address of slakd's.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.slakd_url)
    }

    pub fn metrics(&self) -> String {
        self.slakd().metrics.text().unwrap()
    }

    /// The account as routd knows it; waits until it does.
    pub async fn registered(&self) -> Channel {
        eventually("slakd registers", || async {
            let channels = self.call(&LIST_CHANNELS, &Nothing {}).await.channels;
            channels.into_iter().find(|channel| channel.name == "slack")
        })
        .await
    }

    /// Calls routd, as the operator.
    pub async fn call<Req: Serialize, Res: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
    ) -> Res {
        let url = [(Daemon::Routd, self.routd_url.clone())].into();
        let peers = Peers::with_token(self.http.clone(), url, &self.authority.operator());
        peers.get(Daemon::Routd).call(endpoint, request).await.unwrap()
    }

    /// Calls slakd as routd does.
    pub async fn ask<Req: Serialize, Res: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
        key: &str,
    ) -> Result<Res, (Problem, Option<Duration>)> {
        let url = [(Daemon::Slakd, self.slakd_url.clone())].into();
        let token = self.authority.service(Daemon::Routd);
        let peer = Peers::with_token(self.http.clone(), url, &token).get(Daemon::Slakd);
        let mut options = kit::CallOptions::default();
        options.idempotency_key = Some(key.to_owned());
        options.timeout = Some(PATIENCE);
        let answer = peer.send(endpoint, request, options).await;
        answer.map_err(|error| match error.problem() {
            Some(problem) => (problem.clone(), error.retry_after()),
            None => panic!("{}", kit::chain(&error)),
        })
    }

    /// Has a text sent; the code of the refusal, where there is one.
    pub async fn send(&self, chat: &str, key: &str, text: &str) -> Result<Sent, String> {
        let sent = self.ask(&SEND, &message(chat, text), key).await;
        sent.map_err(|(problem, _)| problem.code)
    }

    /// Posts an event as Slack does; it must be acknowledged.
    pub async fn deliver(&self, event: &serde_json::Value) {
        let delivered = self.slack.deliver(&self.at("/slack/events"), SIGNING, event).await;
        assert_eq!(delivered.attempts, [200], "{}", delivered.body);
    }

    /// Everything that was written in a chat, as routd has it.
    pub async fn heard(&self, chat: &str) -> Vec<FeedItem> {
        let chat_jid: Jid = chat.parse().unwrap();
        let query = FeedQuery { chat_jid, after: Some(0), limit: Some(500), wait_seconds: 0 };
        let page: FeedPage = self.call(&FEED, &query).await;
        page.events.into_iter().map(|event| event.what).collect()
    }

    /// What people wrote in a chat, with their names; waits until there are so many.
    pub async fn written(&self, chat: &str, count: usize) -> Vec<(String, String)> {
        eventually("the messages reach routd", || async {
            let all = self.heard(chat).await.into_iter().filter_map(|item| match item {
                FeedItem::Message { from_agent: false, sender_name, content, .. } => {
                    Some((sender_name.unwrap_or_default(), content))
                }
                _ => None,
            });
            let all: Vec<_> = all.collect();
            (all.len() >= count).then_some(all)
        })
        .await
    }
}

pub fn message(chat: &str, text: &str) -> Send {
    Send {
        chat_jid: chat.parse().unwrap(),
        content: text.into(),
        reply_to: None,
        thread_id: None,
        attachments: Vec::new(),
    }
}

/// Waits until `check` answers something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, check: impl Fn() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
