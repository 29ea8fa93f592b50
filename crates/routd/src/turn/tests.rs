//! The state machine by table, and under random interleavings.

use super::*;
use proptest::prelude::*;

fn at(state: State, attempt: u32, did_something: bool) -> Standing {
    Standing { state, attempt, did_something }
}

fn over(standing: Standing, over: Over) -> Next {
    let event = Event::RunOver { attempt: standing.attempt, over };
    standing.on(&event, Timestamp(1_000)).unwrap()
}

fn how(next: &Next) -> Option<TurnEnd> {
    match next {
        Next::End { how, .. } => Some(*how),
        _ => None,
    }
}

#[test]
fn an_attempt_that_did_nothing_is_repeated_twice_and_not_more() {
    let lost = || Over::Lost("the agent crashed");
    for (attempt, not_before) in [(1, 3_000), (2, 9_000)] {
        let next = over(at(State::Running, attempt, false), lost());
        let why = "the agent crashed".to_owned();
        assert_eq!(next, Next::Again { not_before: Timestamp(not_before), why });
    }
    let next = over(at(State::Running, ATTEMPTS, false), lost());
    assert_eq!(how(&next), Some(TurnEnd::Failed));
}

#[test]
fn an_attempt_that_did_something_is_never_repeated() {
    for (over_, expected) in [
        (Over::Lost("the agent crashed"), TurnEnd::Interrupted),
        (Over::TimedOut, TurnEnd::Interrupted),
        (Over::Cancelled, TurnEnd::Cancelled),
    ] {
        let next = over(at(State::Running, 1, true), over_.clone());
        assert_eq!(how(&next), Some(expected), "{over_:?}");
    }
}

#[test]
fn what_can_never_run_is_not_tried_again_and_its_detail_is_not_shown() {
    let refused = Over::Refused("no image registry.internal/agent".into());
    let next = over(at(State::Starting, 1, false), refused);
    let Next::End { how: TurnEnd::Failed, say: Some(Say::Line(line)), why } = next else {
        panic!("{next:?}")
    };
    assert!(!line.contains("registry.internal") && why.contains("registry.internal"));
}

#[test]
fn a_result_is_what_it_says_and_never_nothing() {
    let of = |outcome, text: Option<&str>, replied| {
        let text = text.map(str::to_owned);
        let event = Event::Result { attempt: 1, outcome, text, replied };
        at(State::Running, 1, replied).on(&event, Timestamp(0)).unwrap()
    };
    let reply = of(Outcome::Replied, Some("hello"), false);
    assert!(matches!(reply, Next::End { how: TurnEnd::Answered, say: Some(Say::Reply(_)), .. }));
    assert_eq!(how(&of(Outcome::Replied, Some("  "), true)), Some(TurnEnd::Answered));
    assert_eq!(how(&of(Outcome::Replied, None, false)), Some(TurnEnd::Failed));
    assert_eq!(how(&of(Outcome::Silent, None, false)), Some(TurnEnd::Silent));
    assert_eq!(how(&of(Outcome::Silent, None, true)), Some(TurnEnd::Answered));
    let failed = of(Outcome::Failed, Some("no\nroom"), false);
    let Next::End { say: Some(Say::Line(line)), .. } = failed else { panic!("{failed:?}") };
    assert_eq!(line, "The agent failed: no room");
}

#[test]
fn a_runner_that_cannot_start_agents_for_a_minute_fails_nobody() {
    let (mut now, mut attempt) = (Timestamp(0), 1);
    let not_started = |attempt| Event::RunOver { attempt, over: Over::NotStarted };
    while let Next::Again { not_before, .. } =
        at(State::Starting, attempt, false).on(&not_started(attempt), now).unwrap()
    {
        assert!(not_before > now && not_before <= now.plus(WAIT_MAX), "attempt {attempt}");
        (now, attempt) = (not_before, attempt + 1);
    }
    assert_eq!(attempt, STARTS);
    assert!(now >= Timestamp(90_000), "a runed pauses a folder for 30 seconds, then for 60: {now}");
    let crashed = Event::RunOver { attempt: 4, over: Over::Lost("the agent crashed") };
    let after = at(State::Running, 4, false).on(&crashed, now).unwrap();
    assert_eq!(how(&after), Some(TurnEnd::Failed), "an agent that ran is not tried more often");
}

/// What a row of the database would hold.
#[derive(Debug)]
struct Model {
    standing: Standing,
    ends: Vec<TurnEnd>,
    started: Vec<u32>,
}

impl Model {
    fn apply(&mut self, event: &Event) {
        let was = self.standing;
        match was.on(event, Timestamp(0)) {
            Ok(Next::Start { attempt }) => {
                self.started.push(attempt);
                self.standing = at(State::Starting, attempt, false);
            }
            Ok(Next::Run) => self.standing.state = State::Running,
            Ok(Next::Again { .. }) => {
                assert!(!was.did_something, "repeated what had done something");
                self.standing.state = State::Queued;
            }
            Ok(Next::End { how, say, .. }) => {
                let visible = say.is_some() || how == TurnEnd::Silent || was.did_something;
                assert!(visible, "an end that nobody sees: {event:?}");
                self.ends.push(how);
                self.standing.state = State::Ended(how);
            }
            Err(_) => {}
        }
    }
}

fn events() -> impl Strategy<Value = (Event, bool)> {
    let outcome = prop::sample::select(vec![Outcome::Replied, Outcome::Silent, Outcome::Failed]);
    let text = prop::option::of("[a-z ]{0,6}");
    let over = prop::sample::select(vec![
        Over::Lost("the agent crashed"),
        Over::NotStarted,
        Over::TimedOut,
        Over::Cancelled,
        Over::Refused("no image".into()),
    ]);
    let event = prop_oneof![
        4 => Just(Event::Claimed),
        4 => (1..=4u32).prop_map(|attempt| Event::Accepted { attempt }),
        2 => (1..=4u32, outcome, text, any::<bool>()).prop_map(
            |(attempt, outcome, text, replied)| Event::Result { attempt, outcome, text, replied }
        ),
        3 => (1..=4u32, over).prop_map(|(attempt, over)| Event::RunOver { attempt, over }),
        1 => Just(Event::Stopped { why: "the folder was removed" }),
    ];
    (event, any::<bool>())
}

proptest! {
    #[test]
    fn no_interleaving_gives_two_ends_or_an_attempt_twice(
        story in prop::collection::vec(events(), 0..40),
    ) {
        let mut model =
            Model { standing: at(State::Queued, 0, false), ends: Vec::new(), started: Vec::new() };
        for (mut event, acts) in story {
            let active = matches!(model.standing.state, State::Starting | State::Running);
            if acts && active {
                model.standing.did_something = true;
            }
            // The store fills this in from what the attempt did.
            if let Event::Result { replied, .. } = &mut event {
                *replied &= model.standing.did_something;
            }
            model.apply(&event);
            prop_assert!(model.ends.len() <= 1, "{:?}", model.ends);
        }
        prop_assert!(model.started.len() <= STARTS as usize, "{:?}", model.started);
        let mut once = model.started.clone();
        once.dedup();
        prop_assert_eq!(once, model.started);
    }
}
