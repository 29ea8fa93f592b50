//! A routd on a data directory that outlives it, and the world around it.

use crate::runed::FakeRuned;
use ::secrets::{Policy, WallClock, testing::ScriptedSource};
use axum::Router;
use kit::{
    Context,
    testing::{Rig, Serving, TestAuthority, serve_daemon},
};
use proto::{
    Daemon, Endpoint, Jid, Problem,
    routd::{
        ADD_GROUP, FEED, FeedEvent, FeedItem, FeedPage, FeedQuery, LIST_CHANNELS, MessageAck,
        MessageOutcome, NewGroup, NewMessage, OUTCOME, OutcomeQuery, POST_MESSAGE, TurnEnd,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{future::Future, time::Duration};
use tempfile::TempDir;

/// The longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const CHANNEL_SECRET: &str = "channel-secret-of-the-tests";
pub const KEY: &str = "0123456789abcdef0123456789abcdef-one";

/// The world: it stays when routd goes.
pub struct Stage {
    pub dir: TempDir,
    pub source: ScriptedSource,
    pub authority: TestAuthority,
    pub runed: FakeRuned,
    pub overlap: Duration,
    pub clock: kit::Clock,
    http: reqwest::Client,
    settings: Vec<(&'static str, String)>,
    runed_url: Option<String>,
    routd: Option<Running>,
}

struct Running {
    context: Context,
    serving: Serving,
}

impl Stage {
    /// A routd that has just been started on an empty data directory, with the folder `atlas`.
    pub async fn new() -> Self {
        let mut stage = Self::unstarted();
        stage.start().await;
        stage.add_group("atlas").await;
        stage
    }

    pub fn unstarted() -> Self {
        kit::testing::install_crypto();
        let source = ScriptedSource::default();
        source.set_silently([("CHANNEL_SECRET", CHANNEL_SECRET), ("SECRETS_KEY", KEY)]);
        Self {
            dir: tempfile::tempdir().unwrap(),
            source,
            authority: TestAuthority::new(kit::Clock::real()),
            clock: kit::Clock::real(),
            http: kit::http_client().unwrap(),
            runed: FakeRuned::default(),
            overlap: Duration::from_secs(300),
            settings: vec![("DEFAULT_FOLDER", "-".into())],
            runed_url: None,
            routd: None,
        }
    }

    /// Has the time stand still until the test moves it.
    pub fn timeless(mut self) -> Self {
        self.clock = kit::Clock::manual(kit::Clock::real().now());
        self.authority = TestAuthority::new(self.clock.clone());
        self
    }

    pub fn setting(mut self, name: &'static str, value: &str) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    /// Has routd look for runed at this address instead of at the fake's.
    pub fn runed_at(&mut self, url: &str) {
        self.runed_url = Some(url.into());
    }

    pub async fn start(&mut self) {
        let (context, started) = self.try_start().await;
        let router = started.unwrap_or_else(|error| panic!("{}", kit::chain(&error)));
        let serving = serve_daemon(&context, router).await;
        self.routd = Some(Running { context, serving });
    }

    /// Starts routd without serving it; the database may still be closing behind a routd before it.
    pub async fn try_start(&self) -> (Context, Result<Router, kit::StartError>) {
        let fake = self.runed.url().await;
        let url = self.runed_url.clone().unwrap_or(fake);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let mut policy = Policy::new(WallClock::new(std::time::SystemTime::now));
            policy.overlap = self.overlap;
            let mut rig = Rig::new(Daemon::Routd, self.dir.path())
                .source(&self.source)
                .authority(&self.authority)
                .clock(&self.clock)
                .policy(policy)
                .peer(Daemon::Runed, &url);
            for (name, value) in &self.settings {
                rig = rig.setting(name, value.as_str());
            }
            let (context, _) = rig.build().await;
            match routd::start(context.clone()).await {
                Err(error) if error.exit_code() == 75 && tokio::time::Instant::now() < deadline => {
                    context.stop.cancel();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                started => return (context, started),
            }
        }
    }

    /// Stops routd; nothing of it is left but its rows.
    pub async fn stop(&mut self) {
        let running = self.routd.take().expect("routd runs");
        running.context.stop.cancel();
        drop(running.serving);
        let busy = running.context.tasks.ended(PATIENCE).await;
        assert!(busy.is_empty(), "still busy: {busy:?}");
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    pub fn context(&self) -> &Context {
        &self.running().context
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.running().serving.url
    }

    fn running(&self) -> &Running {
        self.routd.as_ref().expect("routd runs")
    }

    pub fn operator(&self) -> String {
        self.authority.operator()
    }

    /// Calls an endpoint with this bearer.
    pub async fn call<Req: Serialize, Res: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
        bearer: &str,
    ) -> Result<Res, Problem> {
        let url = [(Daemon::Routd, self.running().serving.url.clone())].into();
        let peer = kit::Peers::with_token(self.http.clone(), url, bearer).get(Daemon::Routd);
        let answer = peer.call_waiting(endpoint, request, Duration::from_secs(30)).await;
        answer.map_err(|error| match error.problem() {
            Some(problem) => problem.clone(),
            None => panic!("{}", kit::chain(&error)),
        })
    }

    pub async fn add_group(&self, folder: &str) {
        let group = NewGroup {
            folder: folder.parse().unwrap(),
            jid: None,
            harness: None,
            command: Vec::new(),
            model: None,
        };
        self.call(&ADD_GROUP, &group, &self.operator()).await.unwrap();
    }

    pub async fn post(&self, message: &NewMessage) -> MessageAck {
        self.call(&POST_MESSAGE, message, CHANNEL_SECRET).await.unwrap()
    }

    /// Posts a message in a chat.
    pub async fn say(&self, chat: &str, id: &str, content: &str) -> MessageAck {
        self.post(&message(chat, id, content)).await
    }

    pub async fn outcome(&self, chat: &str, id: &str, wait_seconds: u32) -> MessageOutcome {
        let query = OutcomeQuery {
            id: id.parse().unwrap(),
            chat_jid: Some(chat.parse().unwrap()),
            wait_seconds,
        };
        self.call(&OUTCOME, &query, &self.operator()).await.unwrap()
    }

    /// How a message ended; waits until it has.
    pub async fn ended(&self, chat: &str, id: &str) -> MessageOutcome {
        let outcome = self.outcome(chat, id, 20).await;
        assert!(outcome.state.is_final(), "{outcome:?}");
        outcome
    }

    /// Everything in a chat's feed.
    pub async fn feed(&self, chat: &str) -> Vec<FeedEvent> {
        self.feed_after(chat, 0, 0).await.events
    }

    pub async fn feed_after(&self, chat: &str, after: i64, wait_seconds: u32) -> FeedPage {
        let chat_jid: Jid = chat.parse().unwrap();
        let query = FeedQuery { chat_jid, after: Some(after), limit: Some(500), wait_seconds };
        self.call(&FEED, &query, &self.authority.service(Daemon::Webd)).await.unwrap()
    }

    /// What the agent and the suite said in a chat, and the ends that it saw.
    pub async fn heard(&self, chat: &str) -> (Vec<String>, Vec<TurnEnd>) {
        let (mut said, mut ends) = (Vec::new(), Vec::new());
        for event in self.feed(chat).await {
            match event.what {
                FeedItem::Message { from_agent: true, content, .. } => said.push(content),
                FeedItem::Done { outcome, .. } => ends.push(outcome),
                _ => {}
            }
        }
        (said, ends)
    }

    pub async fn channels(&self) -> proto::routd::Channels {
        self.call(&LIST_CHANNELS, &proto::Nothing {}, &self.operator()).await.unwrap()
    }

    /// The database, past routd. Only while that does not run, or only to read.
    pub fn database(&self) -> rusqlite::Connection {
        let path = self.dir.path().join("store").join("routd.db");
        rusqlite::Connection::open(path).unwrap()
    }

    pub fn count(&self, sql: &str) -> i64 {
        self.database().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

/// A message as webd would deliver it.
pub fn message(chat: &str, id: &str, content: &str) -> NewMessage {
    NewMessage {
        id: id.parse().unwrap(),
        chat_jid: chat.parse().unwrap(),
        sender: "visitor:1".into(),
        sender_name: Some("Ann".into()),
        content: content.into(),
        timestamp: None,
        topic: None,
        verb: None,
        reply_to: None,
        is_group: false,
        attachments: Vec::new(),
    }
}

/// Waits until `check` answers something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, check: impl Fn() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
