//! Schedules: messages that come when their time has come.

use crate::{Endpoint, Folder, Jid, Needs, Nothing, Opaque, Timestamp, Topic};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Makes a schedule.
pub const ADD_SCHEDULE: Endpoint<NewSchedule, Schedule> =
    Endpoint::post("/v1/schedules", Needs::Scope("schedules:write"), "Make a schedule");

/// The schedules, by id, a page at a time.
pub const LIST_SCHEDULES: Endpoint<ListSchedules, Schedules> =
    Endpoint::get("/v1/schedules", Needs::Scope("schedules:read"), "The schedules, by id");

/// Has a schedule fire no more until it is resumed. A repeat answers alike.
pub const PAUSE_SCHEDULE: Endpoint<OneSchedule, Schedule> = Endpoint::post(
    "/v1/schedules/{id}/pause",
    Needs::Scope("schedules:write"),
    "Have a schedule fire no more until it is resumed",
);

/// Has a paused schedule fire again, from now on. A repeat answers alike.
pub const RESUME_SCHEDULE: Endpoint<OneSchedule, Schedule> = Endpoint::post(
    "/v1/schedules/{id}/resume",
    Needs::Scope("schedules:write"),
    "Have a paused schedule fire again, from now on",
);

/// Has a schedule fire now, besides its own times. Under one key it does so once.
pub const RUN_SCHEDULE: Endpoint<RunSchedule, ScheduleRun> = Endpoint::post(
    "/v1/schedules/{id}/run",
    Needs::Scope("schedules:write"),
    "Have a schedule fire now, besides its own times",
);

/// Removes a schedule and its log. A repeat answers alike.
pub const REMOVE_SCHEDULE: Endpoint<OneSchedule, Nothing> = Endpoint::delete(
    "/v1/schedules/{id}",
    Needs::Scope("schedules:write"),
    "Remove a schedule and its log",
);

/// What a schedule did last, newest first: at most 100.
pub const SCHEDULE_RUNS: Endpoint<OneSchedule, ScheduleRuns> = Endpoint::get(
    "/v1/schedules/{id}/runs",
    Needs::Scope("schedules:read"),
    "What a schedule did last, newest first",
);

/// Fires what is due, and waits up to `wait_seconds` where nothing is.
pub const FIRE_SCHEDULES: Endpoint<FireSchedules, Fired> = Endpoint::post(
    "/v1/schedules/fire",
    Needs::Scope("schedules:fire"),
    "Fire what is due, waiting for it where nothing is",
);

/// What becomes of firings whose time passed while nothing ran, by more than a minute.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// They are passed over.
    Skip,
    /// All of them are one firing.
    #[default]
    Once,
    /// Each fires, as far as it is not older than a day.
    All,
}

impl Missed {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Once => "once",
            Self::All => "all",
        }
    }
}

/// The text is no rule of missed firings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no rule of missed firings; write skip, once or all")]
pub struct UnknownMissed(String);

impl FromStr for Missed {
    type Err = UnknownMissed;
    fn from_str(text: &str) -> Result<Self, UnknownMissed> {
        let found = [Self::Skip, Self::Once, Self::All].into_iter().find(|it| it.name() == text);
        found.ok_or_else(|| UnknownMissed(text.into()))
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A schedule to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSchedule {
    /// Whose agent gets the message.
    pub folder: Folder,
    /// Where the reply goes; `web:FOLDER~ID`, a chat of the schedule's own, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_jid: Option<Jid>,
    /// The topic of that chat.
    #[serde(default)]
    pub topic: Topic,
    /// When: five fields of cron (`0 9 * * mon-fri`), `@daily` and its kin, `every 15m`, or `at 2026-12-01T09:00`.
    pub when: String,
    /// The time zone, such as `Europe/London`; `UTC` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What becomes of firings that were missed.
    #[serde(default)]
    pub missed: Missed,
    /// The message. At most 65,536 bytes, and not empty.
    pub content: String,
}

/// How a schedule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleState {
    /// It fires at `next_at`.
    Active,
    /// It fires no more until it is resumed.
    Paused,
    /// It fires no more: its last time has passed.
    Done,
}

impl ScheduleState {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Done => "done",
        }
    }
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Schedule {
    /// Its id.
    pub id: Opaque,
    /// Whose agent gets the message.
    pub folder: Folder,
    /// Where the reply goes.
    pub chat_jid: Jid,
    /// The topic of that chat.
    pub topic: Topic,
    /// When, as it was written.
    pub when: String,
    /// The time zone.
    pub zone: String,
    /// What becomes of firings that were missed.
    pub missed: Missed,
    /// The message.
    pub content: String,
    /// How it stands.
    pub state: ScheduleState,
    /// When it fires next; `null` unless it is active.
    pub next_at: Option<Timestamp>,
    /// When it was made, and by whom.
    pub created_at: Timestamp,
    /// Who made it, such as `operator:local` or `folder:main`.
    pub created_by: String,
}

/// Which schedules.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ListSchedules {
    /// Those of this folder alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<Folder>,
    /// Those whose id comes after this one: the last of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Opaque>,
    /// At most this many; 100 when left out, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page of schedules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Schedules {
    /// By id.
    pub schedules: Vec<Schedule>,
    /// What to ask after next; `null` on the last page.
    pub after: Option<Opaque>,
}

/// One schedule.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OneSchedule {
    /// Its id.
    pub id: Opaque,
}

/// Which schedule is to fire now.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSchedule {
    /// Its id.
    pub id: Opaque,
    /// The caller's key for this: of at most 64 bytes. The same key again is answered alike.
    pub key: Opaque,
}

/// What became of one firing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunOutcome {
    /// Its message was put in.
    Fired,
    /// Somebody had it fire.
    Manual,
    /// It was passed over, by the rule of missed firings.
    Skipped,
    /// Its folder was not in service.
    Refused,
}

impl RunOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fired, Self::Manual, Self::Skipped, Self::Refused];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Manual => "manual",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
        }
    }
}

/// One firing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ScheduleRun {
    /// The time that it belongs to.
    pub due_at: Timestamp,
    /// When it was done.
    pub at: Timestamp,
    /// What became of it.
    pub outcome: RunOutcome,
    /// The message that it put in, for `arizuko trace`; made from the schedule and the time.
    pub message_id: Option<Opaque>,
}

/// Firings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ScheduleRuns {
    /// Newest first.
    pub runs: Vec<ScheduleRun>,
}

/// How much to fire, and how long to wait for something to fire.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FireSchedules {
    /// At most this many firings; 500 at most.
    pub limit: u32,
    /// How long to wait where nothing is due, at most 30 seconds.
    #[serde(default)]
    pub wait_seconds: u32,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Fired {
    /// Firings that were dealt with, those among them that were passed over.
    pub done: u32,
    /// When the next one is due; in the past where more is to be done at once.
    pub next_at: Option<Timestamp>,
}
