//! How a run lies in its row.

use crate::queue;
use crate::run::{RunId, RunSpec};
use db::rusqlite::types::{
    FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef,
};
use db::rusqlite::{self, Error};
use proto::runed::{Run, RunEnd, RunState};
use proto::{Folder, IdError, Opaque, Timestamp};
use std::str::FromStr;

/// Where a run stands, in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for its turn.
    Pending,
    /// The backend has it in hand. Shown as pending.
    Starting,
    /// The agent runs.
    Running,
    /// It is being ended.
    Ending,
    /// It is gone.
    Ended,
}

const STATES: [State; 5] =
    [State::Pending, State::Starting, State::Running, State::Ending, State::Ended];

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Ending => "ending",
            Self::Ended => "ended",
        }
    }
}

impl From<State> for RunState {
    fn from(state: State) -> Self {
        match state {
            State::Pending | State::Starting => Self::Pending,
            State::Running => Self::Running,
            State::Ending => Self::Ending,
            State::Ended => Self::Ended,
        }
    }
}

impl ToSql for State {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.name().into())
    }
}

impl FromSql for State {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = value.as_str()?;
        STATES.into_iter().find(|state| state.name() == name).ok_or(FromSqlError::InvalidType)
    }
}

/// The states that are shown as `state`, or all of them, for an `IN`.
pub(super) fn states_shown_as(state: Option<RunState>) -> String {
    let shown =
        STATES.into_iter().filter(|own| state.is_none_or(|state| RunState::from(*own) == state));
    shown.map(|state| format!("'{}'", state.name())).collect::<Vec<_>>().join(", ")
}

const ENDS: [(RunEnd, &str); 7] = [
    (RunEnd::Completed, "completed"),
    (RunEnd::Crashed, "crashed"),
    (RunEnd::TimedOut, "timed_out"),
    (RunEnd::OutOfMemory, "out_of_memory"),
    (RunEnd::Cancelled, "cancelled"),
    (RunEnd::StartFailed, "start_failed"),
    (RunEnd::Refused, "refused"),
];

/// An end's name in the database, in logs and in metrics.
pub(crate) fn end_name(end: RunEnd) -> &'static str {
    ENDS.iter().find(|(known, _)| *known == end).map_or("crashed", |(_, name)| name)
}

fn end_of(name: &str) -> Option<RunEnd> {
    ENDS.iter().find(|(_, known)| *known == name).map(|(end, _)| *end)
}

/// One run, as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its place in the order of arrival.
    pub seq: i64,
    /// Its id.
    pub id: RunId,
    /// The turn it serves.
    pub turn_id: Opaque,
    /// Which attempt at it.
    pub attempt: u32,
    /// The tenant.
    pub folder: Folder,
    /// What the backend is given.
    pub spec: RunSpec,
    /// Where it stands.
    pub state: State,
    /// Who asked for its end.
    pub asked_by: Option<String>,
    /// How it ended.
    pub end: Option<RunEnd>,
    /// What went wrong.
    pub detail: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When the agent started.
    pub started_at: Option<Timestamp>,
    /// When it was gone.
    pub ended_at: Option<Timestamp>,
}

impl Row {
    pub(super) fn in_queue(&self) -> queue::Open {
        let waits = self.state == State::Pending;
        queue::Open { seq: self.seq, folder: self.folder.clone(), waits }
    }

    /// As it travels.
    pub fn shown(&self) -> Result<Run, IdError> {
        Ok(Run {
            id: self.id.as_str().parse()?,
            turn_id: self.turn_id.clone(),
            attempt: self.attempt,
            folder: self.folder.clone(),
            state: self.state.into(),
            end: self.end,
            detail: self.detail.clone(),
            created_at: self.created_at,
            started_at: self.started_at,
            ended_at: self.ended_at,
        })
    }
}

pub(super) fn select() -> &'static str {
    "SELECT seq, id, turn_id, attempt, folder, spec, state, asked_by, ending, detail,
            created_at_ms, started_at_ms, ended_at_ms FROM runs"
}

pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let spec: String = row.get(5)?;
    let ending: Option<String> = row.get(8)?;
    Ok(Row {
        seq: row.get(0)?,
        id: parsed(row, 1)?,
        turn_id: parsed(row, 2)?,
        attempt: row.get(3)?,
        folder: parsed(row, 4)?,
        spec: serde_json::from_str(&spec).map_err(|error| unreadable(5, error))?,
        state: row.get(6)?,
        asked_by: row.get(7)?,
        end: ending.as_deref().and_then(end_of),
        detail: row.get(9)?,
        created_at: Timestamp(row.get(10)?),
        started_at: row.get::<_, Option<i64>>(11)?.map(Timestamp),
        ended_at: row.get::<_, Option<i64>>(12)?.map(Timestamp),
    })
}

/// A column that holds an id.
pub(super) fn parsed<T>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get::<_, String>(column)?.parse().map_err(|error| unreadable(column, error))
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

pub(super) fn to_json(spec: &RunSpec) -> rusqlite::Result<String> {
    serde_json::to_string(spec).map_err(|error| Error::ToSqlConversionFailure(Box::new(error)))
}
