//! What a container's state says of its run. Pure.

use crate::run::{Ended, How};
use bollard::models::{ContainerState, ContainerStateStatusEnum as Status};
use proto::Timestamp;

/// What the engine says of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is made, and was never started.
    Made,
    /// It runs.
    Running {
        /// It is suspended, and takes no signal.
        paused: bool,
        /// Since when.
        since_ms: Option<i64>,
    },
    /// It has ended.
    Ended(Exit),
    /// The engine is removing it.
    Going,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Exit {
    /// The code that the engine has.
    pub code: i64,
    /// The kernel ended something in it because its memory was used up.
    pub oom: bool,
    /// What the engine said went wrong.
    pub error: Option<String>,
    /// When it started.
    pub started_at_ms: Option<i64>,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
}

/// Reads a container's state.
pub(super) fn seen(state: ContainerState) -> Seen {
    let since_ms = state.started_at.as_deref().and_then(time_ms);
    // A busy engine notes a short container's start after its end.
    let not_before = |ended: i64| since_ms.map_or(ended, |since| since.max(ended));
    match state.status {
        Some(Status::CREATED) => Seen::Made,
        Some(Status::EXITED | Status::DEAD) => Seen::Ended(Exit {
            code: state.exit_code.unwrap_or_default(),
            oom: state.oom_killed == Some(true),
            error: state.error.filter(|error| !error.is_empty()),
            started_at_ms: since_ms,
            ended_at_ms: state.finished_at.as_deref().and_then(time_ms).map(not_before),
        }),
        Some(Status::REMOVING) => Seen::Going,
        status => Seen::Running { paused: status == Some(Status::PAUSED), since_ms },
    }
}

/// A time as the engine writes it, in milliseconds since 1970. The engine's "never" lies in the year 1.
fn time_ms(text: &str) -> Option<i64> {
    let time: Timestamp = serde_json::from_value(text.into()).ok()?;
    (time.0 > 0).then_some(time.0)
}

/// How the run ended. `brought_about` is why runed ended it, if it did.
pub(super) fn ended(exit: Exit, brought_about: Option<How>) -> Ended {
    let how = brought_about.unwrap_or_else(|| of_exit(&exit));
    let Exit { error: detail, started_at_ms, ended_at_ms, .. } = exit;
    Ended { how, detail, started_at_ms, ended_at_ms }
}

fn of_exit(exit: &Exit) -> How {
    match i32::try_from(exit.code).unwrap_or(i32::MAX) {
        // Something in it was ended for its memory, and the agent managed without.
        0 => How::Exited { code: 0 },
        _ if exit.oom => How::OutOfMemory,
        // The first process of the container passes a signal on as shells do.
        code @ 129..=192 => How::Signalled { signal: code - 128 },
        code => How::Exited { code },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i64, oom: bool) -> Exit {
        Exit { code, oom, ..Exit::default() }
    }

    #[test]
    fn memory_a_signal_a_crash_and_an_end_are_told_apart() {
        let how = |code, oom| ended(exit(code, oom), None).how;
        assert_eq!(how(0, false), How::Exited { code: 0 });
        assert_eq!(how(7, false), How::Exited { code: 7 });
        assert_eq!(how(139, false), How::Signalled { signal: 11 });
        assert_eq!(how(137, false), How::Signalled { signal: 9 });
        assert_eq!(how(137, true), How::OutOfMemory);
        assert_eq!(how(1, true), How::OutOfMemory);
        assert_eq!(how(0, true), How::Exited { code: 0 }, "it managed without what was killed");
        assert_eq!(ended(exit(137, false), Some(How::TimedOut)).how, How::TimedOut);
    }

    #[test]
    fn a_state_is_read_with_its_times() {
        let state = |status| ContainerState {
            status: Some(status),
            started_at: Some("2026-05-01T10:00:00.123456789Z".into()),
            finished_at: Some("0001-01-01T00:00:00Z".into()),
            exit_code: Some(3),
            error: Some(String::new()),
            ..ContainerState::default()
        };
        let since_ms = Some(1_777_629_600_123);
        assert_eq!(seen(state(Status::RUNNING)), Seen::Running { paused: false, since_ms });
        assert_eq!(seen(state(Status::PAUSED)), Seen::Running { paused: true, since_ms });
        assert_eq!(seen(state(Status::CREATED)), Seen::Made);
        assert_eq!(seen(state(Status::REMOVING)), Seen::Going);
        let gone = Exit { code: 3, started_at_ms: since_ms, ..Exit::default() };
        assert_eq!(seen(state(Status::DEAD)), Seen::Ended(gone));
        let mut short = state(Status::EXITED);
        short.finished_at = Some("2026-05-01T10:00:00.100000000Z".into());
        let Seen::Ended(ended) = seen(short) else { panic!("it has ended") };
        assert_eq!(ended.ended_at_ms, since_ms, "nothing ends before it starts");
        // What a newer engine may say and is not known here is taken for running: it is not started again.
        assert!(matches!(seen(ContainerState::default()), Seen::Running { .. }));
    }
}
