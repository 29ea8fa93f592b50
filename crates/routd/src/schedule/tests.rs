//! Plans against a clock that is watched minute by minute.

use super::*;
use proptest::{prelude::*, sample::subsequence};
use std::collections::BTreeSet;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
const ZONES: [&str; 7] = [
    "Europe/London",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "America/St_Johns",
    "UTC",
];

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<Instant>().unwrap().as_millisecond())
}

fn plan(when: &str, zone: &str) -> Plan {
    Plan::parse(when, zone).unwrap()
}

/// The firings from `from` until before `to`, by asking for one after the other.
fn firings(plan: &Plan, from: Timestamp, to: Timestamp) -> Vec<i64> {
    let mut found = Vec::new();
    let mut after = from.plus(-1);
    while let Some(next) = plan.next(from, after).filter(|next| *next < to) {
        assert!(next > after);
        found.push(next.0);
        after = next;
    }
    found
}

fn shown(plan: &Plan, from: &str, to: &str) -> Vec<String> {
    firings(plan, at(from), at(to)).into_iter().map(|at| Timestamp(at).to_string()).collect()
}

/// The fields of a cron expression, as sets; `None` is `*`.
#[derive(Clone, Debug)]
struct Fields {
    minutes: Option<BTreeSet<i8>>,
    hours: Option<BTreeSet<i8>>,
    days: Option<BTreeSet<i8>>,
    months: Option<BTreeSet<i8>>,
    weekdays: Option<BTreeSet<i8>>,
}

impl Fields {
    fn text(&self) -> String {
        let all = [&self.minutes, &self.hours, &self.days, &self.months, &self.weekdays];
        let text = all.map(|field| match field {
            None => "*".to_owned(),
            Some(set) => set.iter().map(i8::to_string).collect::<Vec<_>>().join(","),
        });
        text.join(" ")
    }

    fn takes(&self, wall: DateTime) -> bool {
        let has = |field: &Option<BTreeSet<i8>>, value: i8| {
            field.as_ref().is_none_or(|set| set.contains(&value))
        };
        let (day, weekday) = (wall.day(), wall.weekday().to_sunday_zero_offset());
        let day = match (&self.days, &self.weekdays) {
            (Some(days), Some(weekdays)) => days.contains(&day) || weekdays.contains(&weekday),
            _ => has(&self.days, day) && has(&self.weekdays, weekday),
        };
        day && has(&self.minutes, wall.minute())
            && has(&self.hours, wall.hour())
            && has(&self.months, wall.month())
    }

    /// What somebody notes who looks at the wall clock once a minute.
    fn watched(&self, zone: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<i64> {
        let wall = |ms: i64| zone.to_datetime(Instant::from_millisecond(ms).unwrap());
        // A day of watching before, to know what the clock has shown already.
        let mut highest = wall(from.0 - DAY);
        let mut found = Vec::new();
        for ms in (from.0 - DAY..to.0).step_by(usize::try_from(MINUTE).unwrap()) {
            let now = wall(ms);
            let mut fires = self.hours.is_none() && self.takes(now);
            while self.hours.is_some() && highest < now {
                highest = highest.checked_add(1.minute()).unwrap();
                fires |= self.takes(highest);
            }
            if fires && ms >= from.0 {
                found.push(ms);
            }
        }
        found
    }
}

fn field(all: std::ops::Range<i8>) -> impl Strategy<Value = Option<BTreeSet<i8>>> {
    let values: Vec<i8> = all.collect();
    let most = values.len() - 1;
    prop_oneof![
        Just(None),
        subsequence(values, 1..=most.min(6)).prop_map(|chosen| Some(chosen.into_iter().collect()))
    ]
}

fn fields() -> impl Strategy<Value = Fields> {
    // Most hours that jump are the first ones of a day.
    let hours = prop_oneof![field(0..4), field(0..24)];
    (field(0..60), hours, field(1..32), field(1..13), field(0..7)).prop_map(
        |(minutes, hours, days, months, weekdays)| Fields {
            minutes,
            hours,
            days,
            months,
            weekdays,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_plan_fires_when_somebody_who_watches_the_clock_would_say_so(
        fields in fields(), zone in proptest::sample::select(&ZONES), year in 2024_i16..2032, jump in 0_usize..4
    ) {
        let tz = TimeZone::get(zone).unwrap();
        let start = at(&format!("{year}-01-01T00:00:00Z"));
        // Around a jump of the year, where there are any.
        let near = tz.following(instant(start).unwrap()).nth(jump);
        let middle = near.map_or(start.0, |jump| jump.timestamp().as_millisecond());
        let (from, to) = (Timestamp(middle - 2 * DAY), Timestamp(middle + 2 * DAY));
        let found = firings(&plan(&fields.text(), zone), from, to);
        prop_assert_eq!(found, fields.watched(&tz, from, to), "{} in {}", fields.text(), zone);
    }

    #[test]
    fn a_firing_leads_to_a_later_one_whatever_the_time_is(
        fields in fields(), zone in proptest::sample::select(&ZONES),
        late in -2 * DAY..40 * DAY, missed in proptest::sample::select(&[Missed::Skip, Missed::Once, Missed::All])
    ) {
        let made = at("2026-03-01T00:00:00Z");
        let plan = plan(&fields.text(), zone);
        let Some(due) = plan.next(made, made) else { return Ok(()) };
        let now = due.plus(late);
        let verdict = plan.decide(made, missed, due, now);
        prop_assert!(verdict.next.is_none_or(|next| next > due));
        prop_assert_eq!(verdict.fires, match missed {
            Missed::Once => true,
            Missed::Skip => late <= GRACE,
            Missed::All => late <= CATCH_UP,
        });
        if missed == Missed::Once && late > GRACE {
            prop_assert!(verdict.next.is_none_or(|next| next > now), "what was missed fires once");
        }
    }

    #[test]
    fn whatever_text_is_given_it_is_a_plan_or_is_refused(when in "\\PC{0,40}", zone in "\\PC{0,20}") {
        let made = at("2026-03-01T00:00:00Z");
        for zone in [zone.as_str(), "Europe/London"] {
            if let Ok(plan) = Plan::parse(&when, zone) {
                prop_assert!(plan.next(made, made).is_none_or(|next| next > made));
            }
        }
    }

    #[test]
    fn what_looks_like_cron_is_a_plan_or_is_refused(when in "[0-9*,/LW#?a-z-]{1,6}( [0-9*,/LW#?a-z-]{1,6}){4}") {
        let made = at("2026-03-01T00:00:00Z");
        if let Ok(plan) = Plan::parse(&when, "UTC") {
            prop_assert!(plan.next(made, made).is_none_or(|next| next > made));
        }
    }
}

#[test]
fn a_time_that_is_jumped_over_fires_once_at_the_jump() {
    for (when, zone, from, fires) in [
        ("30 1 * * *", "Europe/London", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"),
        ("30 2 * * *", "America/New_York", "2026-03-08T05:00:00Z", "2026-03-08T07:00:00Z"),
        // Two of one jump are one firing.
        ("10,40 2 * * *", "America/New_York", "2026-03-08T05:00:00Z", "2026-03-08T07:00:00Z"),
        // Half an hour: 2:00 to 2:30.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-03T15:30:00Z"),
    ] {
        let to = Timestamp(at(from).0 + 18 * 60 * MINUTE).to_string();
        assert_eq!(shown(&plan(when, zone), from, &to), [fires], "{when} in {zone}");
    }
    // One whose hour is `*` has no such minute.
    let hourly =
        shown(&plan("30 * * * *", "Europe/London"), "2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z");
    assert_eq!(hourly, ["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"]);
}

#[test]
fn a_time_that_comes_twice_fires_the_first_time() {
    let london = plan("30 1 * * *", "Europe/London");
    let found = shown(&london, "2026-10-25T00:00:00Z", "2026-10-26T00:00:00Z");
    assert_eq!(found, ["2026-10-25T00:30:00Z"]);
    // Lord Howe goes back half an hour, from 2:00 to 1:30.
    let lord_howe = plan("45 1 * * *", "Australia/Lord_Howe");
    let found = shown(&lord_howe, "2026-04-04T12:00:00Z", "2026-04-05T12:00:00Z");
    assert_eq!(found, ["2026-04-04T14:45:00Z"]);
    // One whose hour is `*` goes on in both.
    let hourly = plan("30 * * * *", "Europe/London");
    assert_eq!(shown(&hourly, "2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z").len(), 3);
}

#[test]
fn names_nicknames_intervals_and_single_times() {
    let weekdays = plan("0 9 * jan-mar mon-fri", "UTC");
    let found = shown(&weekdays, "2026-01-02T00:00:00Z", "2026-01-06T00:00:00Z");
    assert_eq!(found, ["2026-01-02T09:00:00Z", "2026-01-05T09:00:00Z"]);
    for (nickname, next) in [
        ("@hourly", "2026-01-02T01:00:00Z"),
        ("@daily", "2026-01-03T00:00:00Z"),
        ("@weekly", "2026-01-04T00:00:00Z"),
        ("@monthly", "2026-02-01T00:00:00Z"),
        ("@yearly", "2027-01-01T00:00:00Z"),
    ] {
        let found =
            plan(nickname, "UTC").next(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
        assert_eq!(found, Some(at(next)), "{nickname}");
    }
    let made = at("2026-01-01T00:00:10Z");
    let every = plan("every 15m", "Europe/London");
    assert_eq!(every.next(made, made), Some(made.plus(15 * MINUTE)));
    assert_eq!(every.next(made, made.plus(15 * MINUTE)), Some(made.plus(30 * MINUTE)));
    let once = plan("at 2026-07-01T09:00", "Europe/London");
    assert_eq!(once.next(made, made), Some(at("2026-07-01T08:00:00Z")));
    assert_eq!(once.next(made, at("2026-07-01T08:00:00Z")), None);
    assert_eq!(
        plan("at 2026-07-01T09:00Z", "Asia/Kolkata").next(made, made),
        Some(at("2026-07-01T09:00:00Z"))
    );
    assert_eq!(every.shortest(made), Some(Duration::from_secs(900)));
    assert_eq!(once.shortest(made), None);
}

#[test]
fn what_is_no_plan_is_refused_with_what_would_do() {
    for when in [
        "",
        "* * * *",
        "0 0 9 * * *",
        "60 * * * *",
        "0 24 * * *",
        "0 9 * * mon-",
        "@reboot",
        "every",
        "every 0m",
        "every soon",
        "at",
        "at noon",
        "at 2026-02-30T09:00",
        "daily",
    ] {
        let error = Plan::parse(when, "UTC").unwrap_err().to_string();
        assert!(error.contains("write"), "{when:?}: {error}");
    }
    for zone in ["", "Mars/Olympus", "../etc/passwd", "+01:00"] {
        let error = Plan::parse("@daily", zone).unwrap_err().to_string();
        assert!(error.contains("Europe/London"), "{zone:?}: {error}");
    }
    // A date that no year has is a plan that never fires.
    let never = plan("0 0 30 2 *", "UTC");
    assert_eq!(never.next(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z")), None);
}

#[test]
fn what_was_missed_is_skipped_told_once_or_made_up_for() {
    let made = at("2026-01-01T00:00:00Z");
    let hourly = plan("@hourly", "UTC");
    let (due, now) = (at("2026-01-05T03:00:00Z"), at("2026-01-05T07:30:00Z"));
    let decide = |missed| hourly.decide(made, missed, due, now);
    let verdict = |fires, next| Verdict { fires, next: Some(at(next)) };
    assert_eq!(decide(Missed::Skip), verdict(false, "2026-01-05T08:00:00Z"));
    assert_eq!(decide(Missed::Once), verdict(true, "2026-01-05T08:00:00Z"));
    assert_eq!(decide(Missed::All), verdict(true, "2026-01-05T04:00:00Z"));
    // All is all of the last day.
    let old = hourly.decide(made, Missed::All, at("2026-01-02T00:00:00Z"), now);
    assert_eq!(old, verdict(false, "2026-01-04T08:00:00Z"));
    // A little late is on time.
    let on_time = hourly.decide(made, Missed::Skip, due, due.plus(GRACE));
    assert_eq!(on_time, verdict(true, "2026-01-05T04:00:00Z"));
    // A clock that was set back fires nothing twice.
    let back = hourly.decide(made, Missed::All, due, due.plus(-DAY));
    assert_eq!(back, verdict(true, "2026-01-05T04:00:00Z"));
}
