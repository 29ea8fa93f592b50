use super::*;

#[test]
fn an_attempt_has_one_id_and_no_other_attempt_has_it() {
    let id = RunId::of_attempt("t1", 1);
    assert_eq!(id, RunId::of_attempt("t1", 1));
    assert_eq!(id.as_str().parse::<RunId>().unwrap(), id, "it is an id by its own rule");
    assert_ne!(id, RunId::of_attempt("t1", 2));
    assert_ne!(id, RunId::of_attempt("t2", 1));
    assert!(id.as_str().len() <= 20, "a socket's path is short");
}

#[test]
fn an_id_or_a_home_that_could_leave_its_directory_is_refused() {
    for text in ["", "..", "a/b", "/", "A", "a b", "é", "a\0"] {
        assert!(text.parse::<RunId>().is_err(), "{text:?} as a run");
        assert!(text.parse::<HomeName>().is_err(), "{text:?} as a home");
    }
    for text in [".hidden", "-rf", &"a".repeat(65)] {
        assert!(text.parse::<HomeName>().is_err(), "{text:?} as a home");
    }
    assert!("corp.eng_sre-1".parse::<HomeName>().is_ok());
}

#[test]
fn an_end_is_cancelled_only_when_somebody_asked_and_the_agent_had_not_finished() {
    let end = |how| Ended::now_unknown(how);
    let verdict = |how, asked| end(how).verdict(asked).0;
    assert_eq!(verdict(How::Stopped, true), RunEnd::Cancelled);
    assert_eq!(verdict(How::Stopped, false), RunEnd::Crashed, "nobody of ours asked");
    assert_eq!(verdict(How::Exited { code: 0 }, true), RunEnd::Completed, "it was faster");
    assert_eq!(verdict(How::TimedOut, true), RunEnd::TimedOut);
    assert_eq!(verdict(How::Exited { code: 7 }, false), RunEnd::Crashed);
    assert_eq!(verdict(How::Lost, false), RunEnd::Crashed);
    assert_eq!(verdict(How::NotStarted { permanent: true }, false), RunEnd::Refused);
    assert_eq!(verdict(How::NotStarted { permanent: false }, false), RunEnd::StartFailed);
    let (_, detail) = end(How::Lost).verdict(false);
    assert!(detail.unwrap().contains("lost"), "an operator can search for it");
}

#[test]
fn what_is_asked_for_stays_within_what_the_operator_allows() {
    let asked = Limits { wall_clock_seconds: 90_000, output_bytes: 1, ..Limits::default() };
    let applied = bounded(asked, 900);
    assert_eq!(applied.wall_clock_seconds, 900);
    assert!(applied.output_bytes >= 4096);
    assert_eq!(bounded(Limits { wall_clock_seconds: 5, ..asked }, 900).wall_clock_seconds, 5);
    assert_eq!(missing_bound(&asked), None);
    assert_eq!(missing_bound(&Limits { pids: 0, ..asked }), Some("pids"));
}

#[test]
fn an_end_survives_its_file() {
    let ended = Ended {
        how: How::Exited { code: 3 },
        detail: Some("x".into()),
        started_at_ms: Some(1),
        ended_at_ms: Some(2),
    };
    let json = serde_json::to_string(&ended).unwrap();
    assert_eq!(serde_json::from_str::<Ended>(&json).unwrap(), ended);
    let lost = serde_json::to_string(&Ended::now_unknown(How::Lost)).unwrap();
    assert_eq!(serde_json::from_str::<Ended>(&lost).unwrap().how, How::Lost);
}
