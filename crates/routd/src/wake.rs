//! Whom a change wakes. Told after the commit, so that whoever looks sees it.

use crate::hub::{self, Hub, Listener};
use db::Tx;
use std::sync::Arc;
use tokio::sync::Notify;

/// The loops and the waiting readers of routd.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wake {
    pub(crate) hub: Arc<Hub>,
    pub(crate) turns: Arc<Notify>,
    pub(crate) outbox: Arc<Notify>,
    pub(crate) knocks: Arc<Notify>,
    pub(crate) approvals: Arc<Notify>,
    pub(crate) words: Arc<Notify>,
}

impl Wake {
    /// Once `tx` is on the disk, whoever waits for news of this chat looks again, and what was said there is indexed.
    pub(crate) fn chat(&self, tx: &Tx<'_>, jid: &str) {
        self.key(tx, hub::chat(jid));
        let words = self.words.clone();
        tx.after_commit(move || words.notify_one());
    }

    /// Once `tx` is on the disk, whoever drives this turn looks again.
    pub(crate) fn turn(&self, tx: &Tx<'_>, id: &str) {
        self.key(tx, hub::turn(id));
    }

    /// Once `tx` is on the disk, the turn loop looks again.
    pub(crate) fn turns(&self, tx: &Tx<'_>) {
        let turns = self.turns.clone();
        tx.after_commit(move || turns.notify_one());
    }

    /// Once `tx` is on the disk, the outbox loop looks again.
    pub(crate) fn outbox(&self, tx: &Tx<'_>) {
        let outbox = self.outbox.clone();
        tx.after_commit(move || outbox.notify_one());
    }

    /// Once `tx` is on the disk, onbod is told of who knocks.
    pub(crate) fn knocks(&self, tx: &Tx<'_>) {
        let knocks = self.knocks.clone();
        tx.after_commit(move || knocks.notify_one());
    }

    /// Once `tx` is on the disk, what was approved is done.
    pub(crate) fn approvals(&self, tx: &Tx<'_>) {
        let approvals = self.approvals.clone();
        tx.after_commit(move || approvals.notify_one());
    }

    /// Once `tx` is on the disk, whoever fires schedules looks again.
    pub(crate) fn schedules(&self, tx: &Tx<'_>) {
        self.key(tx, hub::SCHEDULES.to_owned());
    }

    /// Listens to what [`Wake::schedules`] says.
    pub(crate) fn listen_for_schedules(&self) -> Listener {
        self.hub.listen(hub::SCHEDULES)
    }

    fn key(&self, tx: &Tx<'_>, key: String) {
        let hub = self.hub.clone();
        tx.after_commit(move || hub.wake(&key));
    }
}
