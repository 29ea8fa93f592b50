//! What an adapter's answer means, by table.

use super::*;
use proto::{Problem, Topic};

fn parcel(attempts: u32) -> Parcel {
    Parcel {
        kind: Kind::Send,
        target: None,
        seq: 1,
        id: "o-1".into(),
        message_seq: 1,
        chat_jid: "telegram:user/1".parse().unwrap(),
        attachments: Vec::new(),
        content: "hello".into(),
        thread: Topic::default(),
        reply_to: None,
        attempts,
        created_at: Timestamp(0),
    }
}

fn refused(status: u16, code: &str, retry_after: Option<u64>) -> PeerError {
    let problem = Problem {
        status,
        code: code.into(),
        title: "No".into(),
        detail: "because".into(),
        reference: None,
    };
    let retry_after = retry_after.map(Duration::from_secs);
    PeerError::Refused { peer: "teled", problem: Box::new(problem), retry_after }
}

#[test]
fn each_answer_has_its_fate() {
    let later = |at: i64, why: &str| Fate::Later {
        not_before: Timestamp(at),
        unreached: false,
        why: why.into(),
    };
    for (status, code, retry_after, expected) in [
        (400, "bad_request", None, Fate::Failed("bad_request: because".into())),
        (404, "not_found", None, Fate::Failed("not_found: because".into())),
        (403, "permanent", None, Fate::Failed("permanent: because".into())),
        (501, "x", None, Fate::Unsupported("x: because".into())),
        (400, "unsupported", None, Fate::Unsupported("unsupported: because".into())),
        (502, "ambiguous", None, Fate::Ambiguous("ambiguous: because".into())),
        (504, "http", None, Fate::Ambiguous("http: because".into())),
        (429, "rate_limited", Some(7), later(7_000, "rate_limited: because")),
        (503, "unavailable", None, later(1_000, "unavailable: because")),
        (401, "unauthorized", None, later(1_000, "unauthorized: because")),
        (429, "rate_limited", Some(999_999), later(outbox::WAIT_MAX, "rate_limited: because")),
    ] {
        let (fate, _) = judge(&parcel(0), Err(refused(status, code, retry_after)), Timestamp(0));
        assert_eq!(fate, expected, "{status} {code}");
    }
    let garbage = PeerError::Protocol { peer: "teled", url: "u".into(), what: "w".into() };
    assert_eq!(judge(&parcel(0), Err(garbage), Timestamp(0)).0.state(), "ambiguous");
}

#[test]
fn the_wait_grows_and_ends() {
    let at = |attempts, now| match later(&parcel(attempts), Timestamp(now), None, String::new()) {
        Fate::Later { not_before, .. } => not_before.0 - now,
        other => panic!("{other:?}"),
    };
    assert_eq!((at(0, 0), at(3, 0), at(60, 0)), (1_000, 8_000, WAIT_MAX));
    let given_up = later(&parcel(1), Timestamp(PATIENCE_MS + 1), None, String::new());
    assert_eq!(given_up.state(), "failed");
}
