//! What the parts of routd share.

use crate::{
    desk::Desk,
    endpoints::Endpoints,
    figures::Figures,
    files::Files,
    gateway::Gateway,
    keyring::{Keyring, LinkKey},
    outside::Outside,
    pods::Pods,
    secrets::ChannelCheck,
    settings::Values,
    wake::Wake,
};
use db::Database;
use kit::Context;
use proto::Timestamp;

/// The running daemon. Shared by handlers and loops; holds no secret of its own but the key of link tokens.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) context: Context,
    pub(crate) db: Database,
    pub(crate) settings: Values,
    pub(crate) wake: Wake,
    pub(crate) figures: Figures,
    pub(crate) channel: ChannelCheck,
    pub(crate) link_key: LinkKey,
    pub(crate) keyring: Keyring,
    pub(crate) endpoints: Endpoints,
    /// The listener of turns, where agents are in a cluster.
    pub(crate) pods: Option<Pods>,
    pub(crate) outside: Outside,
    /// The files that agents sent, and those that are waited for.
    pub(crate) files: Files,
    pub(crate) desk: Desk,
    pub(crate) gateway: Gateway,
    /// Which start of routd on this database this is.
    pub(crate) epoch: i64,
}

impl App {
    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        self.context.clock.now()
    }
}
