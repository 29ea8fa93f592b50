//! Carrying out what the state machine decided, in one transaction with all that follows from it.

use crate::{
    app::App,
    fault::Fault,
    figures::{Figures, TurnLabels},
    hand_on,
    say::{self, AGENT, SYSTEM},
    scheduling::Limits,
    store::{feed, messages, turns, turns::Turn},
    turn::{Event, Ignored, Next, Say},
    wake::Wake,
};
use db::Tx;
use proto::{Timestamp, routd::TurnEnd};

/// What a transition needs apart from the transaction. Cheap to clone into one.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) wake: Wake,
    pub(crate) figures: Figures,
    /// How long the agent is engaged after it spoke, in milliseconds.
    pub(crate) engagement_ms: i64,
    /// What a folder may have of schedules.
    pub(crate) schedules: Limits,
}

impl Progress {
    pub(crate) fn of(app: &App) -> Self {
        Self {
            wake: app.wake.clone(),
            figures: app.figures.clone(),
            engagement_ms: app.settings.engagement_ms,
            schedules: app.settings.schedules,
        }
    }

    /// Tells a turn what happened and carries out what follows. `Err` of the inner result: it changes nothing.
    pub(crate) fn tell(
        &self,
        tx: &Tx<'_>,
        turn: &Turn,
        event: &Event,
        now: Timestamp,
    ) -> Result<Result<Next, Ignored>, Fault> {
        let next = match turn.standing.on(event, now) {
            Ok(next) => next,
            Err(ignored) => return Ok(Err(ignored)),
        };
        match &next {
            Next::Start { attempt } => turns::start(tx, turn, *attempt, now)?,
            // The run's id comes with the answer of runed: see `turns::running`.
            Next::Run => {}
            Next::Again { not_before, why } => {
                turns::again(tx, turn, *not_before, why, now)?;
                feed::status(tx, turn, "starting again", now)?;
                self.wake.chat(tx, turn.chat_jid.as_str());
                self.wake.turns(tx);
                let repeated = self.figures.turns_repeated.clone();
                tx.after_commit(move || {
                    repeated.inc();
                });
            }
            Next::End { how, say, why } => self.end(tx, turn, *how, say.as_ref(), why, now)?,
        }
        Ok(Ok(next))
    }

    fn end(
        &self,
        tx: &Tx<'_>,
        turn: &Turn,
        how: TurnEnd,
        words: Option<&Say>,
        why: &str,
        now: Timestamp,
    ) -> Result<(), Fault> {
        // The guard comes first: what follows is undone with it when the turn is not where it was.
        turns::end(tx, turn, how, why, now)?;
        match words {
            Some(Say::Reply(text)) if messages::agent_said(tx, &turn.id, &turn.chat_jid, text)? => {
            }
            Some(Say::Reply(text)) => {
                let text = say::within_limit(text);
                say::reply(tx, &self.wake, turn, AGENT, &text, now)?;
                say::engage(tx, turn, now.plus(self.engagement_ms))?;
            }
            Some(Say::Line(line)) => {
                say::reply(tx, &self.wake, turn, SYSTEM, line, now)?;
            }
            None => {}
        }
        feed::done(tx, turn, how, now)?;
        hand_on::report(tx, &self.wake, turn, how, now)?;
        self.wake.chat(tx, turn.chat_jid.as_str());
        self.wake.turn(tx, &turn.id);
        self.wake.turns(tx);
        let turns = self.figures.turns.clone();
        tx.after_commit(move || {
            turns.get_or_create(&TurnLabels { outcome: turns::end_name(how) }).inc();
        });
        Ok(())
    }
}
