//! Which chats the platform does not want to hear from yet. Pure.

use proto::{Jid, Timestamp};
use std::{collections::BTreeMap, time::Duration};

/// Chats that are remembered at most; the ones that are free soonest are forgotten first.
const CHATS_MAX: usize = 10_000;

/// Until when the platform asked to be left alone, for each chat.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds(BTreeMap<String, Timestamp>);

impl Holds {
    /// The platform asked to be left alone with this chat for so long.
    pub(crate) fn hold(&mut self, chat: &Jid, wait: Duration, now: Timestamp) {
        self.0.retain(|_, until| *until > now);
        if self.0.len() >= CHATS_MAX {
            let soonest = self.0.iter().min_by_key(|(_, until)| **until);
            let soonest = soonest.map(|(chat, _)| chat.clone());
            soonest.and_then(|chat| self.0.remove(&chat));
        }
        let until = now.plus(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        self.0.insert(chat.as_str().to_owned(), until);
    }

    /// How long this chat has to wait still; nothing when it need not.
    pub(crate) fn left(&self, chat: &Jid, now: Timestamp) -> Option<Duration> {
        let until = self.0.get(chat.as_str())?;
        let left = u64::try_from(until.0.saturating_sub(now.0)).ok()?;
        (left > 0).then(|| Duration::from_millis(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_chat_is_free_when_its_time_is_over_and_others_always_are() {
        let (a, b) = ("telegram:user/1".parse().unwrap(), "telegram:user/2".parse().unwrap());
        let mut holds = Holds::default();
        holds.hold(&a, Duration::from_secs(3), Timestamp(1_000));
        assert_eq!(holds.left(&a, Timestamp(1_500)), Some(Duration::from_millis(2_500)));
        assert_eq!(holds.left(&b, Timestamp(1_500)), None);
        assert_eq!(holds.left(&a, Timestamp(4_000)), None);
        holds.hold(&b, Duration::from_secs(1), Timestamp(5_000));
        assert_eq!(holds.0.len(), 1, "what is over is forgotten");
        for n in 0..20_000 {
            let chat = format!("telegram:user/{n}").parse().unwrap();
            holds.hold(&chat, Duration::from_secs(60 + n), Timestamp(5_000));
        }
        assert_eq!(holds.0.len(), CHATS_MAX);
    }
}
