//! When a schedule fires, and what becomes of a firing that comes late. Pure.
//!
//! A *plan* is a text and a time zone. The text is one of
//!
//! - `0 9 * * mon-fri`, five fields of cron, or `@daily` and its kin, by the wall clock of the zone;
//! - `every 15m`, by elapsed time from when the schedule was made;
//! - `at 2026-12-01T09:00`, once, by the wall clock of the zone; with `Z` or `+01:00`, wherever that is.
//!
//! Where the wall clock jumps: a plan that names hours fires when the clock first shows its time or has passed it, so
//! that a time that is jumped over fires at the jump, and one that comes twice fires the first time. Several times that
//! are jumped over by one jump are one firing. A plan whose hour is `*` goes with the minutes that the clock shows: none
//! that is jumped over, and both of those that come twice.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    Timestamp as Instant, ToSpan,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};
use proto::{Timestamp, routd::Missed};
use std::time::Duration;

/// A firing that is at most this late is on time, in milliseconds.
pub(crate) const GRACE: i64 = 60_000;
/// With [`Missed::All`], firings that are later than this are passed over, in milliseconds.
pub(crate) const CATCH_UP: i64 = 24 * 60 * 60 * 1000;
/// Bytes of a plan, and of a zone's name.
const TEXT_MAX: usize = 256;
/// Firings that are looked at to find how close two of them come.
const LOOKED_AT: usize = 64;
/// Jumps of the clock, or minutes of one that come twice, that one search steps over.
const STEPS_MAX: usize = 5_000;

/// The text is no plan. Written for whoever wrote the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PlanError(String);

/// A plan that was understood.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    kind: Kind,
    zone: TimeZone,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Names hours.
    Hours(Box<Cron>),
    /// Its hour is `*`.
    EveryHour(Box<Cron>),
    /// Milliseconds.
    Every(i64),
    Once(Timestamp),
}

/// What is to be done about a firing that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether it fires now, or is passed over.
    pub(crate) fires: bool,
    /// The one after it, always later than it.
    pub(crate) next: Option<Timestamp>,
}

impl Plan {
    /// Understands a plan in a zone of the IANA time zone database, such as `Europe/London`.
    pub(crate) fn parse(when: &str, zone: &str) -> Result<Self, PlanError> {
        let bad = |text: String| Err(PlanError(text));
        if when.len() > TEXT_MAX || zone.len() > TEXT_MAX {
            return bad(format!("a plan and a zone have at most {TEXT_MAX} bytes"));
        }
        let Ok(zone) = TimeZone::get(zone) else {
            return bad(format!("`{zone}` is no time zone; write one such as Europe/London"));
        };
        let when = when.trim();
        let kind = match when.split_once(char::is_whitespace) {
            Some(("every", span)) => interval(span.trim())?,
            Some(("at", time)) => Kind::Once(moment(time.trim(), &zone)?),
            _ => cron(when)?,
        };
        Ok(Self { kind, zone })
    }

    /// The first firing later than `after`, of a schedule that was made at `made`.
    pub(crate) fn next(&self, made: Timestamp, after: Timestamp) -> Option<Timestamp> {
        match &self.kind {
            Kind::Once(at) => (*at > after).then_some(*at),
            Kind::Every(span) => {
                let passed = after.0.checked_sub(made.0)?.max(0) / span;
                let next = passed.checked_add(1)?.checked_mul(*span)?.checked_add(made.0)?;
                Some(Timestamp(next))
            }
            Kind::Hours(cron) => self.passing(cron, instant(after)?),
            Kind::EveryHour(cron) => self.showing(cron, instant(after)?),
        }
    }

    /// What becomes of the firing of `due`, at `now`.
    pub(crate) fn decide(
        &self,
        made: Timestamp,
        missed: Missed,
        due: Timestamp,
        now: Timestamp,
    ) -> Verdict {
        let next = |after: Timestamp| self.next(made, after.max(due));
        let late = now.0.saturating_sub(due.0);
        match missed {
            _ if late <= GRACE => Verdict { fires: true, next: next(due) },
            Missed::Skip => Verdict { fires: false, next: next(now.plus(-GRACE - 1)) },
            Missed::Once => Verdict { fires: true, next: next(now) },
            Missed::All if late <= CATCH_UP => Verdict { fires: true, next: next(due) },
            Missed::All => Verdict { fires: false, next: next(now.plus(-CATCH_UP - 1)) },
        }
    }

    /// The shortest time between two of the next firings; `None` where there are not two.
    pub(crate) fn shortest(&self, made: Timestamp) -> Option<Duration> {
        let mut at = self.next(made, made)?;
        let mut shortest: Option<i64> = None;
        for _ in 0..LOOKED_AT {
            let Some(next) = self.next(made, at) else { break };
            let gap = next.0.saturating_sub(at.0);
            shortest = Some(shortest.map_or(gap, |known| known.min(gap)));
            at = next;
        }
        shortest.map(|gap| Duration::from_millis(gap.unsigned_abs()))
    }

    /// When the wall clock next shows a time of `cron` for the first time, or jumps over it.
    fn passing(&self, cron: &Cron, after: Instant) -> Option<Timestamp> {
        let mut wall = self.zone.to_datetime(after);
        for _ in 0..STEPS_MAX {
            wall = next_wall(cron, wall)?;
            let at = reached(&self.zone, wall)?;
            if at > after {
                return Some(Timestamp(at.as_millisecond()));
            }
        }
        None
    }

    /// When the wall clock next shows a time of `cron`, be it for the second time.
    fn showing(&self, cron: &Cron, after: Instant) -> Option<Timestamp> {
        let (mut offset, mut since) = (self.zone.to_offset(after), after);
        let mut wall = offset.to_datetime(after);
        for _ in 0..STEPS_MAX {
            let at = offset.to_timestamp(next_wall(cron, wall)?).ok()?;
            match self.zone.following(since).next() {
                Some(jump) if jump.timestamp() <= at => {
                    (offset, since) = (jump.offset(), jump.timestamp());
                    wall = offset.to_datetime(since).checked_sub(1.second()).ok()?;
                }
                _ => return Some(Timestamp(at.as_millisecond())),
            }
        }
        None
    }
}

fn interval(text: &str) -> Result<Kind, PlanError> {
    let span = kit::parse::duration(text).and_then(|span| i64::try_from(span.as_millis()).ok());
    let wrong = || PlanError(format!("`every {text}`: write a time such as every 15m or every 1d"));
    span.map(Kind::Every).ok_or_else(wrong)
}

fn moment(text: &str, zone: &TimeZone) -> Result<Timestamp, PlanError> {
    let wrong = || {
        let expected = "write at 2026-12-01T09:00, or at 2026-12-01T08:00:00Z";
        PlanError(format!("`at {text}`: {expected}"))
    };
    if let Ok(at) = text.parse::<Instant>() {
        return Ok(Timestamp(at.as_millisecond()));
    }
    let wall: DateTime = text.parse().map_err(|_| wrong())?;
    let at = reached(zone, wall).ok_or_else(wrong)?;
    Ok(Timestamp(at.as_millisecond()))
}

fn cron(text: &str) -> Result<Kind, PlanError> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let parsed = parser.parse(text).map_err(|error| {
        let kinds =
            "five fields of cron such as `0 9 * * mon-fri`, @daily, `every 15m` or `at TIME`";
        PlanError(format!("`{text}` is no plan ({error}); write {kinds}"))
    })?;
    let hours = parsed.pattern.hours.values().len();
    let cron = Box::new(parsed);
    Ok(if hours == 24 { Kind::EveryHour(cron) } else { Kind::Hours(cron) })
}

/// The next time of `cron` that a clock without jumps would show.
fn next_wall(cron: &Cron, after: DateTime) -> Option<DateTime> {
    let after = after.to_zoned(TimeZone::UTC).ok()?;
    cron.find_next_occurrence(&after, false).ok().map(|found| found.datetime())
}

/// When the clock of the zone first shows this time, or jumps over it.
fn reached(zone: &TimeZone, wall: DateTime) -> Option<Instant> {
    match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            let before_the_jump = after.to_timestamp(wall).ok()?;
            zone.following(before_the_jump).next().map(|jump| jump.timestamp())
        }
    }
}

fn instant(at: Timestamp) -> Option<Instant> {
    Instant::from_millisecond(at.0).ok()
}

#[cfg(test)]
mod tests;
