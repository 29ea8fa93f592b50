//! Secrets: every name on every daemon, without a value.

use crate::{
    advice,
    parts::{Mark, code, facts, mark, or_dash, table},
    shown::{countdown, span, tail, time},
};
use maud::{Markup, html};
use proto::{
    Daemon, Timestamp,
    kit::{DaemonSecrets, SecretState},
    routd::AuditRow,
};
use std::collections::{BTreeMap, BTreeSet};

/// What the daemons said, or why one did not.
pub(crate) type Said = Vec<(Daemon, Result<DaemonSecrets, String>)>;

/// A line of a daemon's audit log about a secret.
pub(crate) type Told = (Daemon, AuditRow);

/// One secret as one daemon has it.
type Held<'a> = (Daemon, u64, &'a SecretState);

/// What some daemon has, or should have, by name.
pub(crate) fn by_name(said: &Said) -> BTreeMap<&str, Vec<Held<'_>>> {
    let mut names: BTreeMap<&str, Vec<Held<'_>>> = BTreeMap::new();
    for (daemon, of) in said.iter().filter_map(|(daemon, of)| Some((*daemon, of.as_ref().ok()?))) {
        let used = of.secrets.iter().filter(|s| s.source.is_some() || s.error.is_some());
        for secret in used {
            names.entry(&secret.name).or_default().push((daemon, of.generation, secret));
        }
    }
    names
}

/// What is to be said of a name as a whole, the worst first.
pub(crate) fn state(name: &str, held: &[Held<'_>], now: Timestamp) -> (Mark, String) {
    let bad = held.iter().filter(|(.., secret)| secret.error.is_some()).count();
    if bad > 0 {
        return (Mark::Bad, format!("trouble on {bad} of {}", held.len()));
    }
    let until = held.iter().filter_map(|(.., secret)| secret.previous_accepted_until);
    let left = until.map(|until| until.seconds_since(now)).max().filter(|left| *left > 0);
    let prints: BTreeSet<&str> =
        held.iter().filter_map(|(.., secret)| secret.fingerprint.as_deref()).collect();
    match (prints.len(), left) {
        (0 | 1, Some(left)) => {
            (Mark::Doubtful, format!("the old value is accepted for {} more", countdown(left)))
        }
        (0 | 1, None) => (Mark::Good, "good".into()),
        (_, Some(left)) => {
            (Mark::Doubtful, format!("daemons are taking it up; {} are left", countdown(left)))
        }
        (count, None) if advice::may_differ(name) => (Mark::Good, format!("good, {count} values")),
        (count, None) => (Mark::Doubtful, format!("daemons have {count} different values")),
    }
}

/// The part of the page that is kept up to date.
pub(crate) fn board(said: &Said, told: &[Told], now: Timestamp) -> Markup {
    let names = by_name(said);
    html! {
        @for (daemon, of) in said {
            @if let Err(why) = of {
                p.alert { strong { (daemon) } " does not say what it has: " (why) }
            }
        }
        // For those who hear the page: one line, which changes when something happened.
        p.unseen role="status" {
            @if let Some((daemon, row)) = told.first() {
                "Newest change: " (row.target) " on " (daemon) " at " (time(row.at))
            }
        }
        @for (name, held) in &names {
            section.secret {
                @let (how, word) = state(name, held, now);
                header {
                    h2 { a href=(crate::parts::address("/dash/secrets/one", &[("name", name)])) { (name) } }
                    (mark(how, word))
                }
                (holders(name, held, now))
            }
        }
        h2 { "Changes" }
        (timeline(told))
    }
}

/// One secret on each daemon that has it.
pub(crate) fn holders(name: &str, held: &[Held<'_>], now: Timestamp) -> Markup {
    let row = |(daemon, generation, secret): &Held<'_>| {
        let version = secret.version.as_deref();
        vec![
            html! { strong { (daemon) } },
            or_dash(secret.source.as_deref()),
            html! {
                @if let Some(version) = version {
                    span title=(version) { (code(tail(version, 18))) }
                } @else { (or_dash(None)) }
            },
            html! { (generation) },
            html! {
                @if let Some(print) = &secret.fingerprint { (code(print)) } @else { (or_dash(None)) }
            },
            or_dash(secret.age_seconds.map(coarse).as_deref()),
            one(secret, now),
        ]
    };
    let heads = ["Daemon", "Source", "Version", "Generation", "Fingerprint", "Age", "State"];
    table(&format!("{name}, on each daemon"), &heads, held.iter().map(row).collect(), "")
}

/// An age in steps, so that what is kept up to date does not change for the sake of seconds.
fn coarse(seconds: u64) -> String {
    span(if seconds < 60 { seconds / 5 * 5 } else { seconds })
}

fn one(secret: &SecretState, now: Timestamp) -> Markup {
    let left = secret.previous_accepted_until.map(|until| until.seconds_since(now));
    match (&secret.error, left.filter(|left| *left > 0)) {
        (Some(error), _) => html! { (mark(Mark::Bad, "trouble")) " " (error) },
        (None, Some(left)) => html! {
            (mark(Mark::Doubtful, "overlap")) " both accepted, " span.clock { (countdown(left)) } " left"
        },
        (None, None) => mark(Mark::Good, "good"),
    }
}

/// What happened to secrets, newest first.
pub(crate) fn timeline(told: &[Told]) -> Markup {
    if told.is_empty() {
        return html! { p.empty { "No change is in the newest rows of the audit logs." } };
    }
    html! {
        ol.timeline {
            @for (daemon, row) in told {
                li {
                    (time(row.at)) " "
                    (verb(&row.action)) " "
                    strong { (row.target) } " on " (daemon)
                    small { (row.detail) ", asked by " (row.actor) }
                }
            }
        }
    }
}

fn verb(action: &str) -> Markup {
    let word = action.strip_prefix("secret.").unwrap_or(action);
    let how = match word {
        "rejected" | "reject" | "vanished" | "vanish" | "lost" => Mark::Bad,
        "published" | "publish" => Mark::Good,
        _ => Mark::Quiet,
    };
    let word = match word {
        "publish" => "published",
        "load" => "loaded",
        "reject" => "rejected",
        "vanish" => "vanished",
        "forget" => "forgotten",
        other => other,
    };
    mark(how, word)
}

/// How a secret is replaced.
pub(crate) fn help(name: &str) -> Markup {
    let advice = advice::of(name);
    html! {
        (facts(&[
            ("What it is for", html! { (advice.purpose) }),
            ("A new value", html! { (advice.effect) }),
        ]))
        h2 { "Replacing it" }
        @if advice.is_ours {
            p { "Run this where arizuko runs. It makes a new value, puts it into the source, and waits until every \
                 daemon uses it; this page shows it as it happens." }
            pre { code { "arizuko secrets rotate " (name) } }
            p { "If the value has leaked, the old one must end at once:" }
            pre { code { "arizuko secrets rotate " (name) " --leaked" } }
        } @else {
            p { "Get the new value from whoever gives it out, and put it where the old one is; or run this where \
                 arizuko runs, with the value on standard input. Every daemon takes it up by itself." }
            pre { code { "arizuko secrets set " (name) } }
        }
        p.quiet { "A value never passes through this page." }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(print: &str, until: Option<i64>, error: Option<&str>) -> SecretState {
        SecretState {
            name: "CHANNEL".into(),
            source: Some("dotenv".into()),
            version: Some("1".into()),
            fingerprint: Some(print.into()),
            age_seconds: Some(3),
            changed_at: None,
            taken_at: None,
            previous_accepted_until: until.map(Timestamp),
            last_checked: None,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn the_worst_is_said_first() {
        let (good, over) = (secret("a", None, None), secret("a", Some(61_000), None));
        let (other, bad) = (secret("b", None, None), secret("a", Some(61_000), Some("no")));
        let held = |secrets: &[&'static SecretState]| -> Vec<Held<'static>> {
            secrets.iter().map(|secret| (Daemon::Routd, 1, *secret)).collect()
        };
        let [good, over, other, bad] =
            [good, over, other, bad].map(|secret| &*Box::leak(Box::new(secret)));
        let now = Timestamp(1_000);
        for (name, secrets, how, word) in [
            ("X", vec![good, good], Mark::Good, "good"),
            ("X", vec![good, over], Mark::Doubtful, "the old value is accepted for 1:00 more"),
            ("X", vec![over, other], Mark::Doubtful, "daemons are taking it up; 1:00 are left"),
            ("X", vec![good, other], Mark::Doubtful, "daemons have 2 different values"),
            ("AUTHD_SERVICE_KEY", vec![good, other], Mark::Good, "good, 2 values"),
            ("X", vec![over, bad, other], Mark::Bad, "trouble on 1 of 3"),
        ] {
            assert_eq!(state(name, &held(&secrets), now), (how, word.to_owned()));
        }
        let ended = held(&[over]);
        assert_eq!(state("X", &ended, Timestamp(61_000)).0, Mark::Good, "an overlap ends");
    }
}
