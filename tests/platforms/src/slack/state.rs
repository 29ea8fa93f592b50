//! What the workspace knows.

use super::{BOT_USER, TEAM};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;

/// How a call goes wrong.
#[derive(Clone, Debug)]
pub enum Lie {
    /// It is done, and the answer is lost.
    Drops,
    /// It is not done, and the answer is lost.
    Loses,
    /// The answer is lost, and it is done so much later.
    DoesLate(Duration),
    /// It is done after so long.
    Slow(Duration),
    /// It is not done: 429, with so many seconds in `Retry-After`. Calls before that are remembered.
    RateLimits(u64),
    /// It is not done, for this reason.
    Refuses(&'static str),
    /// It is done, and the answer says that it failed.
    DoesAndRefuses(&'static str),
    /// It is not done: a status, and a page that is no JSON.
    Breaks(u16),
    /// It is done, and the answer is a page with status 200.
    Babbles,
}

/// What kind of conversation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anybody may join.
    Public,
    /// Only who was invited.
    Private,
    /// One person and the app.
    Direct,
}

/// A call that came in.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: String,
    /// What it was called under.
    pub token: String,
    /// What it was called with.
    pub arguments: Value,
}

pub(crate) struct Conversation {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) has_app: bool,
    pub(crate) archived: bool,
    /// Oldest first.
    pub(crate) messages: Vec<Value>,
}

pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) mime: String,
    pub(crate) promised: usize,
    pub(crate) content: Vec<u8>,
    pub(crate) shared: bool,
}

/// An open socket.
pub(crate) struct Socket {
    pub(crate) token: String,
    pub(crate) out: mpsc::UnboundedSender<Value>,
    /// What was sent and not acknowledged.
    pub(crate) open: Vec<Value>,
}

pub(crate) struct Inner {
    /// Tokens, with the reason why one is refused.
    pub(crate) bot_tokens: HashMap<String, Option<String>>,
    pub(crate) app_tokens: HashMap<String, Option<String>>,
    pub(crate) users: BTreeMap<String, Value>,
    channels: BTreeMap<String, Conversation>,
    pub(crate) files: BTreeMap<String, File>,
    pub(crate) lies: HashMap<String, VecDeque<Lie>>,
    pub(crate) calls: Vec<Call>,
    pub(crate) impatient: Vec<String>,
    limits: HashMap<String, Instant>,
    pub(crate) statuses: Vec<(String, String, String)>,
    pub(crate) prompts: HashMap<String, Value>,
    pub(crate) titles: HashMap<String, String>,
    /// Tickets of `apps.connections.open` that were not used, with the token.
    pub(crate) tickets: HashMap<String, String>,
    pub(crate) sockets: BTreeMap<u64, Socket>,
    /// The fewest sockets that were open since the first one was.
    pub(crate) fewest_sockets: Option<usize>,
    /// Envelopes that no socket has.
    pub(crate) unsent: VecDeque<Value>,
    /// Envelopes that were acknowledged, with the payload of the acknowledgement.
    pub(crate) acknowledged: Vec<(String, Value)>,
    made: u64,
    clock: u64,
}

impl Inner {
    pub(crate) fn new() -> Self {
        let mut inner = Self {
            bot_tokens: HashMap::new(),
            app_tokens: HashMap::new(),
            users: BTreeMap::new(),
            channels: BTreeMap::new(),
            files: BTreeMap::new(),
            lies: HashMap::new(),
            calls: Vec::new(),
            impatient: Vec::new(),
            limits: HashMap::new(),
            statuses: Vec::new(),
            prompts: HashMap::new(),
            titles: HashMap::new(),
            tickets: HashMap::new(),
            sockets: BTreeMap::new(),
            fewest_sockets: None,
            unsent: VecDeque::new(),
            acknowledged: Vec::new(),
            made: 0,
            clock: 0,
        };
        inner.add_user(BOT_USER, "agent");
        inner.users.get_mut(BOT_USER).unwrap()["is_bot"] = true.into();
        inner.add_user("U1", "ann");
        inner.add_user("U2", "bob");
        inner.add_channel("C1", "general", Kind::Public);
        inner.add_channel("G1", "secret", Kind::Private);
        inner.add_channel("D1", "U1", Kind::Direct);
        inner
    }

    pub(crate) fn add_user(&mut self, id: &str, name: &str) {
        let profile = json!({"display_name": name, "real_name": format!("{name} realname")});
        let user = json!({"id": id, "team_id": TEAM, "name": format!("{name}.account"),
            "deleted": false, "real_name": format!("{name} realname"), "is_bot": false,
            "profile": profile, "updated": 1});
        self.users.insert(id.into(), user);
    }

    pub(crate) fn add_channel(&mut self, id: &str, name: &str, kind: Kind) {
        let name = name.to_owned();
        let channel =
            Conversation { name, kind, has_app: true, archived: false, messages: Vec::new() };
        self.channels.insert(id.into(), channel);
    }

    pub(crate) fn channel_mut(&mut self, id: &str) -> Option<&mut Conversation> {
        self.channels.get_mut(id)
    }

    pub(crate) fn channel(&self, id: &str) -> Option<&Conversation> {
        self.channels.get(id)
    }

    /// The time that names the next message: later than any before.
    pub(crate) fn next_ts(&mut self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = u64::try_from(now.as_micros()).unwrap();
        self.clock = now.max(self.clock + 1);
        format!("{}.{:06}", self.clock / 1_000_000, self.clock % 1_000_000)
    }

    /// A number that nothing else has.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    pub(crate) fn note(&mut self, method: &str, token: &str, arguments: &Value) {
        if self.limits.get(method).is_some_and(|until| Instant::now() < *until) {
            self.impatient.push(method.to_owned());
        }
        let (method, token) = (method.to_owned(), token.to_owned());
        self.calls.push(Call { method, token, arguments: arguments.clone() });
    }

    pub(crate) fn limit(&mut self, method: &str, seconds: u64) {
        self.limits.insert(method.into(), Instant::now() + Duration::from_secs(seconds));
    }

    /// Ends the sockets under a token, as Slack says goodbye.
    pub(crate) fn close_sockets_of(&mut self, token: &str, reason: &str) {
        for socket in self.sockets.values().filter(|socket| socket.token == token) {
            let bye = json!({"type": "disconnect", "reason": reason,
                "debug_info": {"host": "loopback"}});
            let _gone = socket.out.send(bye).is_err();
        }
    }

    /// What happened, for a test that failed.
    pub(crate) fn story(&self) -> String {
        let calls: Vec<String> = self
            .calls
            .iter()
            .rev()
            .take(30)
            .rev()
            .map(|call| format!("{} {}", call.method, call.arguments))
            .collect();
        format!(
            "sockets {}, unsent {}, calls:\n{}",
            self.sockets.len(),
            self.unsent.len(),
            calls.join("\n")
        )
    }
}
