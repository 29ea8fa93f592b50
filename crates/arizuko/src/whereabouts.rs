//! Who has a message now, and what comes next: what a trace comes to. Pure.

use proto::routd::TraceStep;
use serde::Serialize;

/// Where a message is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Whereabouts {
    /// Who has it: a daemon, `the agent`, `operator`, or `nobody`, where all is done.
    pub owner: String,
    /// What happens next by itself, or what the owner has to do.
    pub next: String,
}

/// What the steps of a message come to.
pub fn of(steps: &[TraceStep]) -> Whereabouts {
    let last = |what: &str| steps.iter().rev().find(|step| step.what == what);
    // What is said may need somebody also when its turn has ended well.
    if let Some(step) = last("outbox.ambiguous") {
        return at(
            "operator",
            format!("look at the chat: {}. It is not sent again by itself", why(step)),
        );
    }
    for what in ["outbox.failed", "outbox.unsupported"] {
        if let Some(step) = last(what) {
            return at(
                "operator",
                format!("the platform did not take it: {}; say it another way", why(step)),
            );
        }
    }
    if let Some(step) = last("outbox.sending") {
        return at("the adapter", format!("the platform's answer is waited for: {}", why(step)));
    }
    if let Some(step) = last("outbox.pending") {
        let next = "it is handed to its adapter as soon as that takes it; see `arizuko status`";
        return at("routd", format!("{next}: {}", why(step)));
    }
    let of_turn = steps.iter().rev().find(|step| is_of_turn(&step.what));
    match of_turn.map(|step| (step.what.as_str(), step)) {
        Some(("turn.ended", _)) => at("nobody", "nothing: it has its end"),
        Some(("turn.queued", _)) => {
            at("routd", "its turn begins when those before it in the folder have ended")
        }
        Some(("turn.again", step)) => at("routd", format!("another attempt: {}", step.detail)),
        Some(("turn.started", _)) => at("runed", "its run is asked for"),
        Some(("run.waiting", _)) => {
            at("runed", "runed takes its run when it is back; `arizuko health runed`")
        }
        Some(("run.accepted" | "pod.claimed", step)) => {
            at("runed", format!("its agent is started (run {}); see `arizuko status`", step.detail))
        }
        Some(_) => at("the agent", "it answers, or is ended when its time is up"),
        None => without_turn(steps),
    }
}

fn without_turn(steps: &[TraceStep]) -> Whereabouts {
    if steps.iter().any(|step| step.what == "outbox.sent") {
        return at("nobody", "nothing: the platform has it");
    }
    match steps.iter().find(|step| step.what == "routed") {
        Some(step) if step.detail.starts_with("nowhere") => at(
            "operator",
            "no route takes it: `arizuko route explain JID` says why, `arizuko route add` changes it for the next",
        ),
        _ => at("nobody", "nothing: it is only kept"),
    }
}

fn is_of_turn(what: &str) -> bool {
    ["turn.", "run.", "pod.", "agent."].iter().any(|beginning| what.starts_with(beginning))
}

/// What the step says after the row's id.
fn why(step: &TraceStep) -> &str {
    step.detail.split_once(": ").map_or(step.detail.as_str(), |(_, why)| why)
}

fn at(owner: &str, next: impl Into<String>) -> Whereabouts {
    Whereabouts { owner: owner.into(), next: next.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Timestamp;

    fn told(steps: &[(&str, &str)]) -> (String, String) {
        let steps: Vec<TraceStep> = steps
            .iter()
            .zip(1..)
            .map(|((what, detail), at)| TraceStep {
                at: Timestamp(at),
                what: (*what).into(),
                detail: (*detail).into(),
            })
            .collect();
        let Whereabouts { owner, next } = of(&steps);
        (owner, next)
    }

    #[test]
    fn each_state_has_an_owner_and_a_next_step() {
        let arrived = [("received", "seq 1"), ("routed", "turn to main by web")];
        type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
        let table: &[Row<'_>] = &[
            (&[("turn.queued", "")], "routd", "those before it"),
            (&[("turn.queued", ""), ("turn.started", "attempt 1")], "runed", "asked for"),
            (&[("turn.started", ""), ("run.waiting", "")], "runed", "arizuko health runed"),
            (&[("turn.started", ""), ("run.accepted", "r1")], "runed", "run r1"),
            (&[("run.accepted", "r1"), ("agent.began", "")], "the agent", "time is up"),
            (&[("agent.began", ""), ("turn.again", "the run is gone")], "routd", "another attempt"),
            (&[("turn.ended", "answered"), ("outbox.sent", "o-1")], "nobody", "has its end"),
            (
                &[("turn.ended", "answered"), ("outbox.pending", "o-1: no adapter")],
                "routd",
                "no adapter",
            ),
            (&[("turn.ended", "answered"), ("outbox.sending", "o-1")], "the adapter", "waited for"),
            (
                &[("turn.ended", "answered"), ("outbox.ambiguous", "o-1: broke off")],
                "operator",
                "broke off",
            ),
            (
                &[("turn.ended", "answered"), ("outbox.failed", "o-1: blocked")],
                "operator",
                "blocked",
            ),
        ];
        for (steps, owner, next) in table {
            let (who, what) = told(&[&arrived[..], steps].concat());
            assert_eq!(who, *owner, "{steps:?}");
            assert!(what.contains(next), "{steps:?}: {what}");
        }
        assert_eq!(told(&[("received", ""), ("routed", "nowhere: no route")]).0, "operator");
        assert_eq!(told(&[("received", ""), ("routed", "observed to main")]).0, "nobody");
    }
}
