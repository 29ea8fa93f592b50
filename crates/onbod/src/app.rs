//! What the parts of onbod share.

use crate::{figures::Figures, form::Forms, pages::Pages, public::Public, settings::Values};
use db::{Database, Tx};
use kit::{Acting, Context};
use proto::Timestamp;
use std::sync::Arc;
use tokio::sync::Notify;

/// The running daemon.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) context: Context,
    pub(crate) db: Database,
    pub(crate) values: Values,
    pub(crate) forms: Forms,
    pub(crate) pages: Pages,
    pub(crate) public: Public,
    pub(crate) figures: Figures,
    pub(crate) wake: Wake,
    /// routd, with the rights of whoever asks.
    pub(crate) acting: Acting,
}

/// Whom a change wakes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wake {
    /// The loop that says what is to be said.
    pub(crate) say: Arc<Notify>,
    /// The loop that carries admissions out.
    pub(crate) admit: Arc<Notify>,
}

impl Wake {
    /// Once `tx` is on the disk, both loops look again.
    pub(crate) fn all(&self, tx: &Tx<'_>) {
        let wake = self.clone();
        tx.after_commit(move || {
            wake.say.notify_one();
            wake.admit.notify_one();
        });
    }
}

impl App {
    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        self.context.clock.now()
    }
}
