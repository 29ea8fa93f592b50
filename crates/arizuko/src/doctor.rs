//! Proves an installation: looks at everything that an instance needs, tries it where it can be tried, and says of each
//! fault what to do about it. It changes nothing but what its one probe turn leaves, and works where nothing runs too.

mod daemons;
mod place;
mod setup;
mod versions;
mod work;

use crate::{
    failure::{Exit, Failure},
    instance::{Environment, Instance},
};
use serde::Serialize;
use std::time::Duration;

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It was tried, and is as it should be.
    Good,
    /// It works, and could be better.
    Advice,
    /// It could not be looked at.
    Unknown,
    /// It does not work, or will not for long.
    Problem,
}

/// What one look found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// How it stands.
    pub level: Level,
    /// What was looked at: a word, under which the documents have more.
    pub check: &'static str,
    /// Where.
    pub place: String,
    /// What was found.
    pub what: String,
    /// What to do about it; nothing where all is well.
    pub next: Option<String>,
    /// With what the command ends where this is the gravest.
    #[serde(skip)]
    pub exit: Exit,
}

impl Finding {
    /// All is well there.
    pub fn good(check: &'static str, place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            level: Level::Good,
            check,
            place: place.into(),
            what: what.into(),
            next: None,
            exit: Exit::TryAgain,
        }
    }

    /// Something is wrong there.
    pub fn problem(
        check: &'static str,
        exit: Exit,
        place: impl Into<String>,
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        let good = Self::good(check, place, what);
        Self { level: Level::Problem, exit, next: Some(next.into()), ..good }
    }

    /// It works, and could be better.
    pub fn advice(
        check: &'static str,
        place: impl Into<String>,
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        let good = Self::good(check, place, what);
        Self { level: Level::Advice, next: Some(next.into()), ..good }
    }

    /// It could not be looked at.
    pub fn unknown(
        check: &'static str,
        place: impl Into<String>,
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        let good = Self::good(check, place, what);
        Self { level: Level::Unknown, next: Some(next.into()), ..good }
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// How long the probe turn may take; none is tried where this is nothing.
    pub turn: Option<Duration>,
}

/// Looks at everything, in the order in which faults follow from each other.
pub async fn examine(
    instance: &Instance,
    environment: &Environment,
    wanted: Wanted,
) -> Vec<Finding> {
    let mut found = place::check(instance);
    if !instance.dir.is_dir() {
        return found;
    }
    found.extend(setup::settings(instance));
    found.extend(setup::secrets(instance, environment).await);
    found.extend(setup::certificate(instance, environment).await);
    let of = instance.clone();
    let databases = tokio::task::spawn_blocking(move || place::databases(&of)).await;
    found.extend(databases.unwrap_or_default());
    let fleet = daemons::check(instance).await;
    let runs = fleet.runs;
    found.extend(fleet.findings);
    if runs {
        found.extend(work::check(instance, environment, wanted).await);
    } else {
        found.push(Finding::unknown(
            "turn",
            instance.name.clone(),
            "not tried: the instance does not run",
            "start it, and ask again",
        ));
    }
    found
}

/// How the command ends: with the first problem's exit code, which is the one that others follow from.
///
/// # Errors
/// There are problems.
pub fn verdict(found: &[Finding]) -> Result<(), Failure> {
    let mut problems = found.iter().filter(|one| one.level == Level::Problem);
    let Some(first) = problems.next() else { return Ok(()) };
    let others = match problems.count() {
        0 => String::new(),
        1 => " (and one more problem, above)".into(),
        more => format!(" (and {more} more problems, above)"),
    };
    let next = first.next.as_deref().unwrap_or_default();
    let line = format!("{}: {}: {}; {next}{others}", first.check, first.place, first.what);
    Err(Failure::new(first.exit, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_problem_decides_and_advice_never_does() {
        let good = Finding::good("disk", "/d", "room");
        let advice = Finding::advice("keys", "x", "shared", "part them");
        let unknown = Finding::unknown("turn", "x", "not tried", "start it");
        assert!(verdict(&[good, advice.clone(), unknown]).is_ok());
        let first = Finding::problem("a", Exit::Config, "here", "is wrong", "mend it");
        let second = Finding::problem("b", Exit::Data, "there", "is worse", "mend that");
        let failure = verdict(&[advice, first, second]).unwrap_err();
        assert_eq!(failure.code, 78);
        assert_eq!(failure.line, "a: here: is wrong; mend it (and one more problem, above)");
    }
}
