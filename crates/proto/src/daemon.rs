//! The daemons of the suite and where each listens.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// One program of the suite.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Daemon {
    /// Messages, routing, turns, access rules.
    Routd,
    /// The only signer of tokens.
    Authd,
    /// Starts, watches and ends agent runs.
    Runed,
    /// Fires due schedules.
    Timed,
    /// Lets new people in.
    Onbod,
    /// The operator's dashboard.
    Dashd,
    /// Web chat and webhooks.
    Webd,
    /// The Telegram adapter.
    Teled,
    /// The Slack adapter.
    Slakd,
    /// The edge.
    Proxyd,
}

/// The text names no daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no daemon `{0}`; the daemons are routd authd runed timed onbod dashd webd teled slakd proxyd"
)]
pub struct UnknownDaemon(String);

impl Daemon {
    /// Every daemon, in order of its default port.
    pub const ALL: [Self; 10] = [
        Self::Routd,
        Self::Authd,
        Self::Runed,
        Self::Timed,
        Self::Onbod,
        Self::Dashd,
        Self::Webd,
        Self::Teled,
        Self::Slakd,
        Self::Proxyd,
    ];

    /// Its name: of the program, of its database, and in tokens.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Routd => "routd",
            Self::Authd => "authd",
            Self::Runed => "runed",
            Self::Timed => "timed",
            Self::Onbod => "onbod",
            Self::Dashd => "dashd",
            Self::Webd => "webd",
            Self::Teled => "teled",
            Self::Slakd => "slakd",
            Self::Proxyd => "proxyd",
        }
    }

    /// The TCP port it listens on when no setting says otherwise.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Routd => 8080,
            Self::Authd => 8081,
            Self::Runed => 8082,
            Self::Timed => 8083,
            Self::Onbod => 8084,
            Self::Dashd => 8085,
            Self::Webd => 8086,
            Self::Teled => 8087,
            Self::Slakd => 8088,
            Self::Proxyd => 8090,
        }
    }

    /// Whether an instance may do without it. Where such a daemon does not run, nothing waits for it: it holds no
    /// secret, and reads what is there when it starts.
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::Onbod | Self::Dashd | Self::Teled | Self::Slakd)
    }

    /// The setting that says where to reach it, such as `ROUTER_URL`.
    pub const fn url_setting(self) -> &'static str {
        match self {
            Self::Routd => "ROUTER_URL",
            Self::Authd => "AUTHD_URL",
            Self::Runed => "RUNED_URL",
            Self::Timed => "TIMED_URL",
            Self::Onbod => "ONBOD_URL",
            Self::Dashd => "DASHD_URL",
            Self::Webd => "WEBD_URL",
            Self::Teled => "TELED_URL",
            Self::Slakd => "SLAKD_URL",
            Self::Proxyd => "PROXYD_URL",
        }
    }

    /// The subject of its service tokens, such as `service:routd`.
    pub fn subject(self) -> String {
        format!("service:{}", self.name())
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Daemon {
    type Err = UnknownDaemon;
    fn from_str(text: &str) -> Result<Self, UnknownDaemon> {
        let found = Self::ALL.into_iter().find(|daemon| daemon.name() == text);
        found.ok_or_else(|| UnknownDaemon(text.into()))
    }
}
