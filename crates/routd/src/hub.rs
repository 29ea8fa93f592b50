//! Wake-ups: whoever waits for news of a chat or a turn listens here, and looks again when told.
//!
//! A wake-up says "look again" and carries nothing, so one that is lost behind another costs nothing. To miss none,
//! listen first and look afterwards.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Keys nobody listens to are thrown out when there are more than this.
const TIDY_ABOVE: usize = 1024;

/// Who listens to what.
#[derive(Debug, Default)]
pub(crate) struct Hub(Mutex<HashMap<String, watch::Sender<u64>>>);

/// Somebody who listens to one key.
#[derive(Debug)]
pub(crate) struct Listener(watch::Receiver<u64>);

impl Hub {
    /// Listens to `key` from now on.
    pub(crate) fn listen(&self, key: &str) -> Listener {
        let mut all = self.all();
        if all.len() > TIDY_ABOVE {
            all.retain(|_, sender| sender.receiver_count() > 0);
        }
        let sender = all.entry(key.to_owned()).or_insert_with(|| watch::Sender::new(0));
        Listener(sender.subscribe())
    }

    /// Wakes whoever listens to `key`.
    pub(crate) fn wake(&self, key: &str) {
        let mut all = self.all();
        if let Some(sender) = all.get(key) {
            if sender.receiver_count() == 0 {
                all.remove(key);
            } else {
                sender.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Waits for the next wake-up since the last one that was waited for.
    pub(crate) async fn woken(&mut self) {
        if self.0.changed().await.is_err() {
            // The hub dropped the key, which it does only when it is going away itself.
            std::future::pending::<()>().await;
        }
    }
}

/// The key of all schedules.
pub(crate) const SCHEDULES: &str = "schedules";

/// The key of a chat.
pub(crate) fn chat(jid: &str) -> String {
    format!("chat {jid}")
}

/// The key of a turn.
pub(crate) fn turn(id: &str) -> String {
    format!("turn {id}")
}

/// The key of the files that a turn's agent is asked for.
pub(crate) fn files(turn_id: &str) -> String {
    format!("files {turn_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_up_between_listening_and_waiting_is_not_lost() {
        let hub = Hub::default();
        let mut listener = hub.listen("a");
        hub.wake("a");
        listener.woken().await;
        hub.wake("b");
        let waiting = listener.woken();
        tokio::pin!(waiting);
        let none = tokio::select! { biased; () = &mut waiting => false, () = async {} => true };
        assert!(none, "another key wakes nobody here");
    }

    #[test]
    fn keys_without_listeners_do_not_pile_up() {
        let hub = Hub::default();
        for n in 0..3 * TIDY_ABOVE {
            drop(hub.listen(&n.to_string()));
        }
        assert!(hub.all().len() <= TIDY_ABOVE + 1);
    }
}
