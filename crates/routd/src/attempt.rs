//! One attempt at a turn, as whoever is on its socket is known.
//!
//! Who calls is who can reach the socket; which attempt it is follows from which socket it is. A call that names
//! another attempt, or one that was given up, is refused with 409; one whose turn has ended with 410.
//!
//! A call that a person approved is made for the turn that asked for it, which has mostly ended by then: it is no attempt
//! at the turn, and counts for as long as the approval says that it is being made.

use crate::{
    app::App,
    fault::Fault,
    rights::Rights,
    store::{approvals, groups, turns, turns::Turn},
    turn::State,
};
use proto::Folder;
use rusqlite::Connection;
use std::sync::{Arc, Weak};

/// One attempt, as its socket knows it.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Weak: the socket must not keep a routd alive that has stopped.
    app: Weak<App>,
    pub(crate) turn_id: Arc<str>,
    pub(crate) number: u32,
    pub(crate) folder: Folder,
    /// The approval by which a call is made, where it is by one.
    approval: Option<Arc<str>>,
}

impl Attempt {
    /// The attempt in progress of this turn.
    pub(crate) fn of(app: &Arc<App>, turn: &Turn) -> Self {
        Self {
            app: Arc::downgrade(app),
            turn_id: turn.id.as_str().into(),
            number: turn.standing.attempt,
            folder: turn.folder.clone(),
            approval: None,
        }
    }

    /// Whoever makes the call that was approved under this id.
    pub(crate) fn approved(app: &Arc<App>, turn: &Turn, id: &str) -> Self {
        Self { approval: Some(id.into()), ..Self::of(app, turn) }
    }

    /// Whether it makes a call that was approved.
    pub(crate) const fn is_approved(&self) -> bool {
        self.approval.is_some()
    }

    /// What its folder's agent may do, as of this transaction.
    pub(crate) fn rights(&self, conn: &Connection, turn: &Turn) -> Result<Rights, Fault> {
        let rights = Rights::of(conn, &turn.folder)?;
        Ok(if self.is_approved() { rights.approved() } else { rights })
    }

    /// It did something visible or lasting. In the transaction of what it did.
    pub(crate) fn acted(&self, conn: &Connection, turn: &Turn) -> Result<(), Fault> {
        // Attempts at the turn are over, or have asked for approval, which was visible itself.
        if self.is_approved() {
            return Ok(());
        }
        turns::acted(conn, turn)
    }

    /// Who calls on its socket, as the audit names it.
    pub(crate) fn subject(&self) -> String {
        format!("turn:{}#{}", self.turn_id, self.number)
    }

    /// The daemon, while it runs.
    pub(crate) fn app(&self) -> Result<Arc<App>, Fault> {
        self.app.upgrade().ok_or_else(|| Fault::Gone("routd is stopping".into()))
    }

    /// The turn, if this attempt is the one in progress.
    pub(crate) fn current(&self, conn: &Connection) -> Result<Turn, Fault> {
        let turn = self.turn(conn)?;
        if let Some(id) = &self.approval {
            if !approvals::is_running(conn, id)? {
                return Err(Fault::Conflict(format!("the call held as {id} is not to be made")));
            }
            if !groups::in_service(conn, &turn.folder)? {
                let text = format!("the folder {} was taken out of service", turn.folder);
                return Err(Fault::Gone(text));
            }
            return Ok(turn);
        }
        match turn.standing.state {
            State::Ended(_) => Err(Fault::Gone("this turn has ended".into())),
            State::Queued => Err(Fault::Conflict("this attempt was given up".into())),
            State::Starting | State::Running => Ok(turn),
        }
    }

    /// The turn, if this attempt is its last one so far; it may have ended.
    pub(crate) fn turn(&self, conn: &Connection) -> Result<Turn, Fault> {
        let turn = turns::get(conn, &self.turn_id)?
            .ok_or_else(|| Fault::Gone("there is no such turn any more".into()))?;
        if !self.is_approved() && turn.standing.attempt != self.number {
            return Err(Fault::Conflict("another attempt at this turn is in progress".into()));
        }
        Ok(turn)
    }

    /// Refuses a caller who speaks of another attempt than this socket's.
    pub(crate) fn is(&self, attempt: u32) -> Result<(), Fault> {
        if attempt == self.number {
            return Ok(());
        }
        Err(Fault::Conflict(format!("this socket is attempt {}'s, not {attempt}'s", self.number)))
    }
}
