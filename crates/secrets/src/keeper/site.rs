//! One source of the chain: who asked for a look, when the last one was, and what it came to.

use super::lock;
use crate::SecretSource;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout_at},
};

/// Refused credentials cause at most one look in this time at one source.
pub(crate) const REFUSED_LOOK_SPACING: Duration = Duration::from_secs(1);

/// Most askers that are remembered by name between two looks.
const ASKERS_MAX: usize = 4;

/// A source and what the keeper knows about reading it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) source: Arc<dyn SecretSource>,
    /// Looks asked for so far; the number of the last is its asker's ticket.
    asked: AtomicU64,
    /// The last ticket of a bundle that has no value yet.
    starts: watch::Sender<u64>,
    /// The highest ticket that a finished look has served.
    served: watch::Sender<u64>,
    pub(crate) wake: Notify,
    askers: Mutex<Vec<String>>,
    /// When the last look for a refused credential began. Held while that look is under way, so
    /// that there is one at a time and those who wait for it can tell whether it served them.
    refused: tokio::sync::Mutex<Option<Instant>>,
    pub(crate) state: Mutex<SiteState>,
}

/// What the last looks came to.
#[derive(Debug, Default, Clone)]
pub(crate) struct SiteState {
    pub(crate) last_checked: Option<SystemTime>,
    pub(crate) last_ok: Option<(Instant, SystemTime)>,
    /// Since when there has been no good answer; what staleness is measured from at first.
    pub(crate) first_asked: Option<Instant>,
    pub(crate) error: Option<String>,
    /// The error is an answer, so that an operator must act, and waiting will not help.
    pub(crate) said_no: bool,
    pub(crate) failures: u32,
}

impl Site {
    pub(crate) fn new(source: Arc<dyn SecretSource>) -> Self {
        Self {
            source,
            asked: AtomicU64::new(0),
            starts: watch::Sender::new(0),
            served: watch::Sender::new(0),
            wake: Notify::new(),
            askers: Mutex::default(),
            refused: tokio::sync::Mutex::new(None),
            state: Mutex::default(),
        }
    }

    /// `file /var/run/secrets/arizuko`.
    pub(crate) fn described(&self) -> String {
        format!("{} ({})", self.source.place(), self.source.kind())
    }

    /// Asks for a look that begins after this call, and gives the ticket to wait for.
    pub(crate) fn ask(&self, by: &str) -> u64 {
        let mut askers = lock(&self.askers);
        if askers.len() < ASKERS_MAX && !askers.iter().any(|known| known == by) {
            askers.push(by.to_owned());
        }
        drop(askers);
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake.notify_one();
        ticket
    }

    /// Asks for the first look of a bundle.
    pub(crate) fn ask_first(&self) {
        let ticket = self.ask("start");
        self.starts.send_modify(|last| *last = ticket.max(*last));
    }

    /// Waits until `next`, or until a bundle that has no value yet asks for a look.
    pub(crate) async fn pause(&self, next: Instant) {
        let served = *self.served.borrow();
        let mut asked = self.starts.subscribe();
        // Either way it is time for the next look.
        let _cut_short = timeout_at(next, asked.wait_for(|ticket| *ticket > served)).await.is_ok();
    }

    /// Whether every look that was asked for has been: a request may come while a look that serves
    /// it is about to begin for another reason.
    pub(crate) fn is_served(&self) -> bool {
        *self.served.borrow() >= self.asked.load(Ordering::SeqCst)
    }

    /// Before a look: the ticket it serves, and who asked for it (`otherwise`, if nobody).
    pub(crate) fn begin(&self, otherwise: &str) -> (u64, String) {
        let ticket = self.asked.load(Ordering::SeqCst);
        let askers = std::mem::take(&mut *lock(&self.askers));
        let by = if askers.is_empty() { otherwise.to_owned() } else { askers.join(", ") };
        (ticket, by)
    }

    /// After a look.
    pub(crate) fn serve(&self, ticket: u64) {
        self.served.send_replace(ticket);
    }

    /// Waits for the look that serves `ticket`, until `deadline`.
    pub(crate) async fn served(&self, ticket: u64, deadline: Instant) -> bool {
        let mut served = self.served.subscribe();
        let wait = served.wait_for(|number| *number >= ticket);
        matches!(timeout_at(deadline, wait).await, Ok(Ok(_)))
    }

    /// A look because a credential was refused: one at a time, and not more often than
    /// [`REFUSED_LOOK_SPACING`]. A look that began after `arrived` serves this caller too.
    ///
    /// Gives up, with `false`, when it cannot begin before `begin_by`.
    pub(crate) async fn look_for_refused(
        &self,
        arrived: Instant,
        begin_by: Instant,
        deadline: Instant,
    ) -> bool {
        let Ok(mut last) = timeout_at(deadline, self.refused.lock()).await else {
            return false;
        };
        if let Some(began) = *last {
            if began > arrived {
                return true;
            }
            let permitted = began + REFUSED_LOOK_SPACING;
            if permitted > begin_by {
                return false;
            }
            sleep_until(permitted).await;
        }
        *last = Some(Instant::now());
        let ticket = self.ask("refused");
        self.served(ticket, deadline).await
    }
}
