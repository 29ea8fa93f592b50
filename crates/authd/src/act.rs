//! What stands for a session in the hands of one daemon behind the edge. Pure.
//!
//! authd seals it for the edge, which hands it on with the one request; the daemon brings it back and
//! gets a token of whoever sent that request. So a daemon acts for people who are asking it, and can
//! make up neither a person nor a request.

use proto::{Daemon, Timestamp};
use serde::{Deserialize, Serialize};

/// How long it can be used. The edge remembers a login for half a minute; the rest is for the request.
pub(crate) const ACT_MS: i64 = 2 * 60 * 1000;

/// What is sealed: no right, but the name of a session that has some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Act {
    /// The session's id.
    pub(crate) session: i64,
    /// Who may use it.
    pub(crate) daemon: Daemon,
    /// Until when.
    pub(crate) ends: Timestamp,
}

impl Act {
    /// For that daemon, from now on.
    pub(crate) fn new(session: i64, daemon: Daemon, now: Timestamp) -> Self {
        Self { session, daemon, ends: now.plus(ACT_MS) }
    }

    /// Whether `daemon` may use it now.
    pub(crate) fn serves(&self, daemon: Daemon, now: Timestamp) -> bool {
        self.daemon == daemon && now < self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_serves_one_daemon_for_two_minutes() {
        let act = Act::new(7, Daemon::Dashd, Timestamp(1000));
        assert!(act.serves(Daemon::Dashd, Timestamp(1000 + ACT_MS - 1)));
        assert!(!act.serves(Daemon::Dashd, Timestamp(1000 + ACT_MS)));
        assert!(!act.serves(Daemon::Onbod, Timestamp(1000)));
    }
}
