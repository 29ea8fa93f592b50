//! An adapter of a platform that a test scripts.

use adapter::{
    Act, Adapter, ChannelSecret, Found, Handing, Platform, Profile, Routd, Spool, Trouble,
};
use async_trait::async_trait;
use kit::{
    Api, CallOptions, Context,
    testing::{Rig, Serving, TestAuthority, serve_daemon},
};
use proto::{
    Daemon, Opaque,
    routd::{SEND, Send, Sent},
};
use secrets::{Bundle, Name, Need, Role, testing::ScriptedSource};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

pub const PATIENCE: Duration = Duration::from_secs(30);
pub const CHAT: &str = "telegram:user/1";
pub const SECRET: &str = "channel-secret-of-the-tests";

const OWN: Name = Name::literal("CHANNEL_SECRET_TELED");
static CHANNEL_SECRET: Bundle<ChannelSecret> = Bundle {
    needs: const { &[ChannelSecret::SHARED, Need::optional(OWN, "the adapter's own")] },
    role: Role::Presents,
    parse: |values| ChannelSecret::parse(values, &OWN),
};

/// A platform that does what it is told, and says yes to the rest. Each line of a text is a piece.
#[derive(Default)]
pub struct Scripted {
    pub hands: Mutex<VecDeque<Result<(), Trouble>>>,
    pub finds: Mutex<VecDeque<Found>>,
    /// What it was handed, in order.
    pub handed: Mutex<Vec<String>>,
    /// Whether it answers nothing.
    pub hangs: Mutex<bool>,
}

#[async_trait]
impl Platform for Scripted {
    type Piece = String;

    fn profile(&self) -> Profile {
        Profile { name: "telegram", prefixes: &["telegram:"], capabilities: &[] }
    }

    fn plan(&self, act: &Act) -> Result<Vec<String>, Trouble> {
        match act {
            Act::Send(message) => Ok(message.content.lines().map(str::to_owned).collect()),
            _ => Err(Trouble::Unsupported { why: "no".into(), hint: "send".into() }),
        }
    }

    async fn hand(&self, piece: &String, handing: &Handing<'_>) -> Result<Vec<Opaque>, Trouble> {
        self.handed.lock().unwrap().push(piece.clone());
        let hangs = *self.hangs.lock().unwrap();
        if hangs {
            std::future::pending::<()>().await;
        }
        let told = self.hands.lock().unwrap().pop_front();
        told.unwrap_or(Ok(()))?;
        Ok(vec![format!("{}-{}", handing.key, handing.index).parse().unwrap()])
    }

    async fn find(&self, _: &String, _: &Handing<'_>) -> Found {
        self.finds.lock().unwrap().pop_front().unwrap_or(Found::Unknown)
    }
}

/// The adapter, which can go and come again.
pub struct Stage {
    pub platform: Arc<Scripted>,
    pub source: ScriptedSource,
    dir: TempDir,
    authority: TestAuthority,
    routd: String,
    running: Option<(Context, Serving, Spool)>,
}

impl Stage {
    pub async fn new(routd: &str) -> Self {
        let source = ScriptedSource::default();
        source.set_silently([("CHANNEL_SECRET", SECRET)]);
        let mut stage = Self {
            platform: Arc::default(),
            source,
            dir: tempfile::tempdir().unwrap(),
            authority: TestAuthority::new(kit::Clock::real()),
            routd: routd.into(),
            running: None,
        };
        stage.start().await;
        stage
    }

    pub async fn start(&mut self) {
        let (context, _) = Rig::new(Daemon::Teled, self.dir.path())
            .source(&self.source)
            .authority(&self.authority)
            .peer(Daemon::Routd, &self.routd)
            .build()
            .await;
        let spool = Spool::open(&context).await.unwrap();
        let routd = Routd::of(&context, &CHANNEL_SECRET).await.unwrap();
        let mut api = Api::new(&context);
        let adapter =
            Adapter::start(&context, &mut api, spool.clone(), routd, self.platform.clone());
        adapter.online();
        let serving = serve_daemon(&context, api.into_router()).await;
        self.running = Some((context, serving, spool));
    }

    /// Ends it as a kill would: what is under way is not waited for.
    pub async fn kill(&mut self) {
        let (context, serving, spool) = self.running.take().unwrap();
        context.stop.cancel();
        drop((serving, spool));
        assert!(context.stores.close().await.is_empty(), "the spool is closed");
    }

    pub fn spool(&self) -> &Spool {
        &self.running.as_ref().unwrap().2
    }

    pub fn troubles(&self) -> Vec<String> {
        self.running.as_ref().unwrap().0.health.troubles()
    }

    /// Asks it to send, as routd does: the ids, or the code of what it says.
    pub async fn send(&self, content: &str, key: &str) -> Result<Vec<String>, String> {
        self.send_for(content, key, PATIENCE).await
    }

    pub async fn send_for(
        &self,
        content: &str,
        key: &str,
        wait: Duration,
    ) -> Result<Vec<String>, String> {
        let message = Send {
            chat_jid: CHAT.parse().unwrap(),
            content: content.into(),
            reply_to: None,
            thread_id: None,
            attachments: Vec::new(),
        };
        let urls = [(Daemon::Teled, self.running.as_ref().unwrap().1.url.clone())].into();
        let token = self.authority.service(Daemon::Routd);
        let peers = kit::Peers::with_token(kit::http_client().unwrap(), urls, &token);
        let mut options = CallOptions::default();
        options.idempotency_key = Some(key.into());
        options.timeout = Some(wait);
        let sent: Result<Sent, _> = peers.get(Daemon::Teled).send(&SEND, &message, options).await;
        sent.map(|sent| sent.ids.iter().map(ToString::to_string).collect()).map_err(|error| {
            error.problem().map_or_else(|| "no answer".into(), |problem| problem.code.clone())
        })
    }

    pub fn handed(&self) -> Vec<String> {
        self.platform.handed.lock().unwrap().clone()
    }
}

pub async fn eventually<R>(what: &str, look: impl AsyncFn() -> Option<R>) -> R {
    let wait = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("still not: {what}"))
}
