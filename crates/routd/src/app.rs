//! What the parts of routd share.

use crate::{
    endpoints::Endpoints,
    figures::Figures,
    gateway::Gateway,
    keyring::{Keyring, LinkKey},
    outside::Outside,
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
    pub(crate) outside: Outside,
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
