//! A daemon's life: settings, logs, metrics, HTTP and its plain pages, peers, health, clock, tasks, stop.
//!
//! A [`Program`] is a daemon as a value; [`run`] gives it a [`Context`] and serves what it answers.
//! Every daemon starts alike: the listener answers `/health` and `/ready` from the beginning; its
//! service key and authd's keys come first; then its own secrets, its store, its loops.
//!
//! Invariants:
//! - nothing here is global: two daemons, and two instances of one, live in one process;
//! - every call out has a time limit, every body a size limit, every task a name;
//! - who may call is decided by the [`Gate`] alone, from what the endpoint says it needs;
//! - a failure is logged once, where it is answered; the caller sees what was written for callers.

mod acting;
mod api;
mod attach;
mod clock;
mod condition;
mod connections;
mod context;
mod failure;
mod gate;
mod guard;
mod health;
mod ledger;
pub mod logs;
mod metrics;
mod openapi;
mod peer;
mod plain_page;
mod refusals;
mod roots;
mod run;
mod serve;
mod service_key;
mod settings;
mod shared;
mod start;
mod stores;
mod tasks;
#[cfg(feature = "testing")]
pub mod testing;
mod timeline;
mod tokens;
pub mod traces;
mod unix;

pub use acting::Acting;
pub use api::{Api, PassedOn};
pub use attach::{Attached, serve_attached};
pub use auth::Caller;
pub use clock::Clock;
pub use context::{Bound, Context, listen};
pub use failure::{Failure, chain};
pub use gate::{
    ACT_HEADER, Act, EDGE_HEADER, EdgeIdentity, Forgetting, Gate, KeySource, RightsSource,
    SecretCheck, USER_HEADER,
};
pub use health::{Health, Unmet};
pub use metrics::Metrics;
pub use peer::{
    CALL_TIMEOUT, Fetched, Options as CallOptions, Peer, PeerError, Peers, client_builder,
};
pub use plain_page::{PlainPage, PlainPages};
pub use refusals::RefusedCall;
/// The client of [`http_client`], so that who makes requests by hand need not name its library.
pub use reqwest::Client as HttpClient;
pub use run::{GRACE, Process, Program, TraceTo, harden, http_client, run};
pub use serve::BODY_MAX;
pub use service_key::{AUTHD_SERVICE_KEY, ServiceKey, bearer_shaped, service_key_bundle};
pub use settings::{AnySetting, Place, Setting, SettingError, Settings, parse};
pub use shared::{ASSISTANT_NAME, RUN_TIMEOUT, SECRETS_OVERLAP, WEB_HOST, public_url};
pub use start::{Cause, StartError};
pub use stores::{Store, Stores};
pub use tasks::Tasks;
pub use timeline::Timeline;
pub use traces::{Fact, Span, Traces};
pub use unix::{PeerCred, PeerInfo, SOCKET_PATH_MAX, UnixSocket, bind_unix, serve_unix};
