use super::*;

fn refused(from: &str, reason: &'static str) -> Refused {
    Refused {
        subject: "anonymous".into(),
        from: from.to_owned(),
        route: "POST /v1/messages".into(),
        status: 401,
        reason: reason.into(),
        about: String::new(),
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp(1_700_000_000_000 + ms)
}

#[test]
fn the_first_is_told_at_once_and_equal_ones_once_a_minute_with_their_number() {
    let mut ledger = Ledger::new(at(0));
    let first = ledger.note(at(0), refused("10.0.0.1", "none")).unwrap();
    let act = first.act();
    assert_eq!((act.actor.as_str(), act.action.as_str()), ("anonymous", "request.refuse"));
    assert_eq!(act.target, "POST /v1/messages");
    assert_eq!(act.detail, "reason=none status=401 from=10.0.0.1 times=1");
    for ms in 1..=5000 {
        assert!(ledger.note(at(ms), refused("10.0.0.1", "none")).is_none());
    }
    assert!(ledger.note(at(5000), refused("10.0.0.2", "none")).is_some(), "another address");
    assert!(ledger.note(at(5000), refused("10.0.0.1", "expired")).is_some(), "another reason");
    assert!(ledger.due(at(WINDOW_MS - 1)).is_empty());
    let due = ledger.due(at(WINDOW_MS));
    assert_eq!(due.len(), 1, "{due:?}");
    assert_eq!(due[0].times, 5000);
    // Each window begins with its line; a quiet one ends the account, and the next is told at once.
    assert!(ledger.note(at(WINDOW_MS + 1), refused("10.0.0.1", "none")).is_none());
    assert_eq!(ledger.due(at(2 * WINDOW_MS)).iter().map(|line| line.times).sum::<u64>(), 1);
    assert!(ledger.due(at(3 * WINDOW_MS)).is_empty());
    assert!(ledger.note(at(3 * WINDOW_MS), refused("10.0.0.1", "none")).is_some());
}

#[test]
fn whoever_comes_from_everywhere_gets_a_bounded_log_and_none_is_uncounted() {
    let mut ledger = Ledger::new(at(0));
    let (mut lines, mut told, mut asked) = (0, 0, 0);
    let day = 24 * 60 * 60 * 1000;
    for ms in (0..day).step_by(500) {
        asked += 1;
        let line = ledger.note(at(ms), refused(&format!("10.0.{ms}"), "none"));
        let mut all: Vec<Line> = line.into_iter().collect();
        if ms % 1000 == 0 {
            all.extend(ledger.due(at(ms)));
        }
        lines += all.len();
        told += all.iter().map(|line| line.times).sum::<u64>();
        assert!(ledger.windows.len() <= KINDS_MAX);
    }
    told += ledger.rest(at(day)).iter().map(|line| line.times).sum::<u64>();
    assert_eq!(told, asked, "each is told, by itself or with others");
    assert!(lines < 50_000, "{lines} lines in a day");
}

#[test]
fn a_clock_that_is_set_back_loses_nothing() {
    let mut ledger = Ledger::new(at(0));
    assert!(ledger.note(at(0), refused("10.0.0.1", "none")).is_some());
    assert!(ledger.note(at(1), refused("10.0.0.1", "none")).is_none());
    assert_eq!(ledger.due(at(-WINDOW_MS)).len(), 1);
    assert!(ledger.note(at(-WINDOW_MS), refused("10.0.0.2", "none")).is_some());
}

#[test]
fn a_long_text_is_cut() {
    let mut ledger = Ledger::new(at(0));
    let line = ledger.note(at(0), refused(&"ä".repeat(500), "none")).unwrap();
    assert_eq!(line.refused.from.len(), TEXT_MAX);
}
