//! A chat platform that lies, and its record of what people saw there.
//!
//! There are two adapters: one remembers idempotency keys and says so when it registers, as `telegram:chaos/…`; the
//! other does not, as `slack:chaos/…`, and shows whatever it is handed once more. Names of platforms that the suite
//! does not know cannot register, so these stand under names that it does; their own daemons do not run here.

use super::{faults::Lie, ledger::Shown, proof::Proof, wire};
use proto::{
    Daemon,
    routd::{NewMessage, POST_MESSAGE, REGISTER_CHANNEL, RegisterChannel, Send},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// How often the adapters say that they are there.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The two adapters, as their chats begin, and whether each remembers keys.
pub const ADAPTERS: [(&str, bool); 2] = [("telegram:chaos/", true), ("slack:chaos/", false)];

/// The daemons in whose place they stand.
pub const ADAPTER_DAEMONS: [Daemon; 2] = [Daemon::Teled, Daemon::Slakd];

/// The platform.
pub struct Platform {
    routd: kit::Peer,
    /// What each adapter proves itself with, in the order of [`ADAPTERS`].
    proofs: [Proof; 2],
    /// Whether the adapter that says that it remembers keys does not, and drops its first connection.
    breaks_its_word: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is done with the next requests, the first first.
    lies: VecDeque<Lie>,
    /// What people saw, in order.
    shown: Vec<Shown>,
    /// The platform's id of what was sent under a key.
    sent: HashMap<String, String>,
    /// The last doubtful lie told about a key.
    doubtful: BTreeMap<String, Lie>,
    /// Lies told.
    told: u32,
    /// Heartbeats that routd did not take, and why.
    unheard: Vec<String>,
}

impl Platform {
    /// A platform that has nothing to say yet.
    pub fn new(routd: kit::Peer, proofs: [Proof; 2], breaks_its_word: bool) -> Self {
        Self { routd, proofs, breaks_its_word, state: Mutex::default() }
    }

    /// Binds both adapters and serves them until `tasks` end.
    ///
    /// # Errors
    /// No port is free.
    pub async fn serve(
        self: &Arc<Self>,
        address: &str,
        tasks: &mut JoinSet<()>,
    ) -> std::io::Result<()> {
        for ((prefix, remembers), proof) in ADAPTERS.into_iter().zip(&self.proofs) {
            let listener = TcpListener::bind((address, 0)).await?;
            let registration = registration(prefix, remembers, listener.local_addr()?);
            tasks.spawn(self.clone().heartbeat(registration, proof.clone()));
            tasks.spawn(self.clone().accept(listener, remembers));
        }
        Ok(())
    }

    /// Does this with the next request that no other lie is waiting for.
    pub fn lie(&self, lie: Lie) {
        self.state().lies.push_back(lie);
    }

    /// Tells no lies any more.
    pub fn be_honest(&self) {
        self.state().lies.clear();
    }

    /// What people saw, in order.
    pub fn shown(&self) -> Vec<Shown> {
        self.state().shown.clone()
    }

    /// What the platform did that leaves a message's fate in doubt, by its key.
    pub fn doubtful(&self) -> BTreeMap<String, Lie> {
        self.state().doubtful.clone()
    }

    /// How many lies met a request.
    pub fn told(&self) -> u32 {
        self.state().told
    }

    /// Heartbeats that routd did not take, and why. Where nothing is injured there are none.
    pub fn unheard(&self) -> Vec<String> {
        self.state().unheard.clone()
    }

    /// Hands somebody's message to routd, as its adapter does.
    ///
    /// # Errors
    /// See [`kit::PeerError`].
    pub async fn deliver(&self, message: &NewMessage) -> Result<(), kit::PeerError> {
        let chat = message.chat_jid.as_str();
        let [first, second] = &self.proofs;
        let proof = if chat.starts_with(ADAPTERS[0].0) { first } else { second };
        let call = |secret: Arc<secrets::Secret>| async move {
            self.routd.call_with(&POST_MESSAGE, message, secret.expose()).await
        };
        proof.present(call).await.map(drop)
    }

    async fn heartbeat(self: Arc<Self>, registration: RegisterChannel, proof: Proof) {
        let (routd, registration) = (&self.routd, &registration);
        loop {
            let call = |secret: Arc<secrets::Secret>| async move {
                routd.call_with(&REGISTER_CHANNEL, registration, secret.expose()).await
            };
            // routd may be away; the next heartbeat says it again.
            if let Err(error) = proof.present(call).await {
                let why = format!("a heartbeat of {}: {}", registration.name, kit::chain(&error));
                self.state().unheard.push(why);
            }
            tokio::time::sleep(HEARTBEAT).await;
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, remembers: bool) {
        let mut served = JoinSet::new();
        loop {
            tokio::select! {
                came = listener.accept() => if let Ok((stream, _)) = came {
                    let platform = self.clone();
                    served.spawn(async move { platform.one(stream, remembers).await });
                },
                Some(_) = served.join_next() => {}
            }
        }
    }

    /// Serves one request. Whoever breaks the connection hears nothing, as on any platform.
    async fn one(&self, mut stream: TcpStream, remembers: bool) {
        let Ok(request) = wire::read(&mut stream).await else { return };
        let Ok(send) = serde_json::from_value::<Send>(request.body) else {
            let problem =
                json!({"status": 400, "code": "permanent", "title": "bad", "detail": "no message"});
            let _gone = wire::answer(&mut stream, "400 Bad Request", "", &problem).await.is_err();
            return;
        };
        let lie = self.next_lie(&request.key, remembers);
        let problem = |status: u16, code: &str| json!({"status": status, "code": code, "title": code, "detail": "the platform says so"});
        let answered = match lie {
            Some(Lie::Dropped) => return,
            Some(Lie::Limited) => {
                let problem = problem(429, "rate_limited");
                wire::answer(&mut stream, "429 Too Many Requests", "retry-after: 1\r\n", &problem)
                    .await
            }
            Some(Lie::Broken) => {
                let problem = problem(503, "transient");
                wire::answer(&mut stream, "503 Service Unavailable", "", &problem).await
            }
            Some(Lie::SentThenDropped) => {
                self.show(&request.key, send, remembers);
                return;
            }
            Some(Lie::Slow(_)) | None => {
                let id = self.show(&request.key, send, remembers);
                if let Some(Lie::Slow(milliseconds)) = lie {
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                }
                wire::answer(&mut stream, "200 OK", "", &json!({ "ids": [id] })).await
            }
        };
        // A caller that was killed meanwhile is what this is about.
        let _gone = answered.is_err();
    }

    fn next_lie(&self, key: &str, remembers: bool) -> Option<Lie> {
        let mut state = self.state();
        let breaks = self.breaks_its_word && remembers && state.told == 0;
        let lie = if breaks { Lie::SentThenDropped } else { state.lies.pop_front()? };
        state.told += 1;
        if lie.leaves_doubt() {
            state.doubtful.insert(key.to_owned(), lie);
        }
        Some(lie)
    }

    /// Shows a message to the people of its chat; its id on the platform.
    fn show(&self, key: &str, send: Send, remembers: bool) -> String {
        let mut state = self.state();
        let remembers = remembers && !self.breaks_its_word;
        if remembers && let Some(id) = state.sent.get(key) {
            return id.clone();
        }
        let id = format!("p{}", state.shown.len() + 1);
        state.sent.insert(key.to_owned(), id.clone());
        state.shown.push(Shown {
            key: key.to_owned(),
            chat: send.chat_jid.to_string(),
            reply_to: send.reply_to.map(String::from),
            text: send.content,
        });
        id
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn registration(prefix: &str, remembers: bool, at: SocketAddr) -> RegisterChannel {
    let name = prefix.split(':').next().unwrap_or_default();
    RegisterChannel {
        name: format!("chaos-{name}"),
        url: format!("http://{at}"),
        jid_prefixes: vec![prefix.to_owned()],
        capabilities: if remembers { vec!["idempotency".to_owned()] } else { Vec::new() },
    }
}
