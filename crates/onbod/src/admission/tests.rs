use super::*;

const LIMITS: Limits = Limits { greetings_per_chat: 3, greetings_per_hour: 10, queue_max: 5 };
const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn knock(policy: Policy, known: Known) -> Answer {
    on_knock(policy, LIMITS, known, NOW)
}

fn chat(state: State, greetings: u32, minutes_ago: i64) -> Known {
    let greeted_at = NOW.plus(-minutes_ago * 60_000);
    Known { chat: Some(Chat { state, greetings, greeted_at }), ..Known::default() }
}

#[test]
fn strangers_get_what_the_policy_says() {
    assert_eq!(knock(Policy::Refuse, Known::default()), Answer::Silence(Silence::Policy));
    assert_eq!(knock(Policy::Greet, Known::default()), Answer::Greet);
    assert_eq!(knock(Policy::Queue, Known::default()), Answer::Queue);
    // Whatever was before: who refuses strangers says nothing to them.
    for state in State::ALL {
        let known = chat(state, 1, 60);
        assert_eq!(knock(Policy::Refuse, known), Answer::Silence(Silence::Policy), "{state:?}");
    }
}

#[test]
fn a_chat_is_greeted_again_when_its_link_is_over_and_not_for_ever() {
    let underway = Answer::Silence(Silence::Underway);
    assert_eq!(knock(Policy::Greet, chat(State::Greeted, 1, 9)), underway);
    assert_eq!(knock(Policy::Greet, chat(State::Greeted, 1, 10)), Answer::Greet);
    assert_eq!(knock(Policy::Greet, chat(State::Greeted, 2, 600)), Answer::Greet);
    let enough = Answer::Silence(Silence::Chat);
    assert_eq!(knock(Policy::Greet, chat(State::Greeted, 3, 60_000)), enough);
    assert_eq!(knock(Policy::Queue, chat(State::Waiting, 0, 60_000)), underway);
    assert_eq!(knock(Policy::Greet, chat(State::Admitting, 1, 60_000)), underway);
    for state in [State::Admitted, State::Refused] {
        let over = Answer::Silence(Silence::Over);
        assert_eq!(knock(Policy::Greet, chat(state, 1, 60_000)), over, "{state:?}");
    }
}

#[test]
fn a_flood_of_strangers_is_passed_over() {
    let many = Known { addressed: 10, ..Known::default() };
    for policy in [Policy::Greet, Policy::Queue] {
        assert_eq!(knock(policy, many), Answer::Silence(Silence::Instance));
    }
    let full = Known { waiting: 5, ..Known::default() };
    assert_eq!(knock(Policy::Queue, full), Answer::Silence(Silence::Full));
    assert_eq!(knock(Policy::Greet, full), Answer::Greet, "the queue is not theirs yet");
}

#[test]
fn who_logs_in_comes_in_by_word_or_by_gate_or_waits() {
    let stranger = Arrival {
        approved: false,
        is_known: false,
        was_refused: false,
        gate: None,
        waiting: 0,
        queue_max: 5,
    };
    assert_eq!(on_arrival(stranger), Verdict::Wait);
    assert_eq!(on_arrival(Arrival { waiting: 5, ..stranger }), Verdict::Full);
    assert_eq!(on_arrival(Arrival { approved: true, ..stranger }), Verdict::Admit(None));
    assert_eq!(on_arrival(Arrival { is_known: true, ..stranger }), Verdict::Admit(None));
    let by_gate = Arrival { gate: Some("*"), waiting: 5, ..stranger };
    assert_eq!(on_arrival(by_gate), Verdict::Admit(Some("*".into())));
    // A gate does not let in whom an operator refused; a later word of an operator does.
    assert_eq!(on_arrival(Arrival { was_refused: true, ..by_gate }), Verdict::Refuse);
    let forgiven = Arrival { was_refused: true, approved: true, ..stranger };
    assert_eq!(on_arrival(forgiven), Verdict::Admit(None));
}

#[test]
fn a_word_is_said_once_and_who_is_in_stays_in() {
    for (state, has_subject, approved, expected) in [
        (State::Waiting, true, false, Effect::Admit),
        (State::Waiting, false, false, Effect::Greet),
        (State::Refused, true, false, Effect::Admit),
        (State::Refused, false, true, Effect::Greet),
        (State::Greeted, false, false, Effect::Note),
        (State::Greeted, false, true, Effect::Nothing),
        (State::Admitting, true, false, Effect::Nothing),
        (State::Admitted, true, false, Effect::Nothing),
    ] {
        assert_eq!(on_approval(state, has_subject, approved), expected, "{state:?}");
    }
    assert_eq!(on_refusal(State::Waiting), Effect::Refuse);
    assert_eq!(on_refusal(State::Refused), Effect::Nothing);
    assert_eq!(on_refusal(State::Admitted), Effect::TooLate);
}

#[test]
fn a_persons_own_gate_counts_before_everybodys_and_a_full_one_passes_nobody_on() {
    let person = |n: u32| format!("user:p{n:024x}");
    let gate = |pattern: &str, per_day, today| Gate { pattern: pattern.into(), per_day, today };
    let gates = [gate("*", 5, 0), gate(&person(7), 2, 2), gate(&person(8), 1, 0)];
    assert_eq!(open_gate(&gates, &person(1)), Some("*"));
    assert_eq!(open_gate(&gates, &person(7)), None);
    assert_eq!(open_gate(&gates, &person(8)), Some(person(8).as_str()));
    assert_eq!(open_gate(&[], &person(1)), None);
    assert_eq!(open_gate(&[gate("*", 0, 0)], &person(1)), None);
    // What a database of before may have, and nobody's subject begins with.
    assert_eq!(open_gate(&[gate("user:github|*", 5, 0)], "user:github|7"), None);
}

#[test]
fn a_gate_that_nobody_can_come_in_by_is_none() {
    let person = "user:p0123456789abcdef01234567";
    assert!([person, "*", "operator:local"].into_iter().all(is_pattern));
    for text in [
        "",
        "a b",
        "**",
        "user:*",
        "user:p*",
        "user:github|*",
        "user:github|7",
        "user:p0123456789ABCDEF01234567",
        "user:p0123456789abcdef0123456",
        "user:p0123456789abcdef012345678",
        "operator:",
        "operator:*",
        "service:routd",
        &format!("operator:{}", "x".repeat(200)),
    ] {
        assert!(!is_pattern(text), "{text}");
    }
}

#[test]
fn a_day_begins_at_midnight_utc() {
    assert_eq!(day_of(Timestamp(1_800_000_000_000)).to_string(), "2027-01-15T00:00:00Z");
}
