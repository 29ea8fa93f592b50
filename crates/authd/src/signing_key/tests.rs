//! The sweep's promises, over any set of keys and any course of time.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const MINUTE: i64 = 60_000;
const TOKEN: i64 = 15 * MINUTE;

fn policy(rotate_minutes: i64) -> Policy {
    let minutes = |n: i64| Duration::from_millis(u64::try_from(n * MINUTE).unwrap());
    Policy {
        rotate_every: minutes(rotate_minutes),
        publish_before: minutes(5),
        serve_after: minutes(17),
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}

/// Does what the sweep says, as the store does: each step only where it is possible.
fn apply(keys: &mut Vec<Key>, ops: &[Op], now: Timestamp, made: &mut u32) {
    for op in ops {
        match &op.what {
            What::Create(state) => {
                *made += 1;
                keys.push(Key { kid: format!("new{made}"), state: *state, since: now });
            }
            What::Activate(kid) => step(keys, kid, State::Pending, State::Active, now),
            What::Retire(kid) => step(keys, kid, State::Active, State::Retired, now),
            What::Delete(kid) => {
                let at = keys.iter().position(|k| k.kid == *kid && k.state != State::Active);
                keys.remove(at.unwrap_or_else(|| panic!("{kid} is not there, or is active")));
            }
        }
    }
}

fn step(keys: &mut [Key], kid: &str, from: State, to: State, now: Timestamp) {
    let key = keys.iter_mut().find(|k| k.kid == kid && k.state == from);
    let key = key.unwrap_or_else(|| panic!("{kid} is not {from}"));
    (key.state, key.since) = (to, now);
}

fn some_keys() -> impl Strategy<Value = Vec<Key>> {
    let state = prop_oneof![Just(State::Pending), Just(State::Active), Just(State::Retired)];
    prop::collection::vec((state, -40_000i64..40_000), 0..7).prop_map(|keys| {
        let key = |(index, (state, minutes)): (usize, (State, i64))| Key {
            kid: format!("k{index}"),
            state,
            since: Timestamp(minutes * MINUTE),
        };
        keys.into_iter().enumerate().map(key).collect()
    })
}

proptest! {
    /// Whatever is in the database, also what should never be.
    #[test]
    fn a_sweep_leaves_one_active_key_and_nothing_more_to_do(
        mut keys in some_keys(),
        now in 0i64..40_000,
        rotate in 60i64..50_000,
    ) {
        let (policy, now, mut made) = (policy(rotate), Timestamp(now * MINUTE), 0);
        let before = keys.clone();
        let ops = sweep(&keys, &policy, now);
        apply(&mut keys, &ops, now, &mut made);

        let count = |state| keys.iter().filter(|k| k.state == state).count();
        prop_assert_eq!(count(State::Active), 1, "{:?}", ops);
        prop_assert!(count(State::Pending) <= 1, "{:?}", ops);
        prop_assert_eq!(sweep(&keys, &policy, now), vec![], "a second sweep finds nothing");
        for key in before.iter().filter(|k| !keys.iter().any(|kept| kept.kid == k.kid)) {
            prop_assert!(key.state != State::Active, "an active key was deleted: {:?}", key);
            let ended = now.0 - key.since.0 >= milliseconds(policy.serve_after);
            prop_assert!(key.state == State::Pending || ended, "{:?} may still be needed", key);
        }
        prop_assert!(ops.iter().all(|op| !op.why.is_empty()));
    }

    /// A whole course of time, with sweeps at any moments, also long after they were due.
    #[test]
    fn every_token_verifies_until_it_ends_by_a_key_that_verifiers_could_know(
        pauses in prop::collection::vec(1i64..200, 1..400),
        rotate in 60i64..400,
        forced in prop::collection::btree_set(0usize..400, 0..4),
    ) {
        let (policy, mut now, mut made) = (policy(rotate), Timestamp(0), 0);
        let mut keys = Vec::new();
        let mut published = BTreeMap::new();
        let mut tokens: Vec<(String, Timestamp)> = Vec::new();
        for (index, pause) in pauses.into_iter().enumerate() {
            if forced.contains(&index) && !keys.iter().any(|k: &Key| k.state == State::Pending) {
                made += 1;
                keys.push(Key { kid: format!("new{made}"), state: State::Pending, since: now });
            }
            let ops = sweep(&keys, &policy, now);
            apply(&mut keys, &ops, now, &mut made);
            for key in &keys {
                published.entry(key.kid.clone()).or_insert(now);
            }
            let signer = keys.iter().find(|k| k.state == State::Active).unwrap();
            let known_for = now.0 - published[&signer.kid].0;
            // The first key of all signs at once: nobody knew another.
            prop_assert!(
                known_for >= milliseconds(policy.publish_before) || signer.kid == "new1",
                "{} signs after {} ms", signer.kid, known_for,
            );
            tokens.push((signer.kid.clone(), now));
            tokens.retain(|(_, signed)| now.0 < signed.0 + TOKEN);
            for (kid, signed) in &tokens {
                prop_assert!(
                    keys.iter().any(|k| k.kid == *kid),
                    "a token of {} by {} cannot be verified at {}", signed, kid, now,
                );
            }
            prop_assert!(keys.len() <= 4, "keys pile up: {:?}", keys);
            now = now.plus(pause * MINUTE / 10);
        }
    }
}

#[test]
fn a_rotation_step_by_step() {
    let (policy, mut made) = (policy(600), 0);
    let mut keys = Vec::new();
    let mut at = |keys: &mut Vec<Key>, minute: i64| -> Vec<What> {
        let now = Timestamp(minute * MINUTE);
        let ops = sweep(keys, &policy, now);
        apply(keys, &ops, now, &mut made);
        ops.into_iter().map(|op| op.what).collect()
    };
    assert_eq!(at(&mut keys, 0), [What::Create(State::Active)], "the first signs at once");
    assert_eq!(at(&mut keys, 594), []);
    assert_eq!(at(&mut keys, 595), [What::Create(State::Pending)], "published before it is due");
    assert_eq!(at(&mut keys, 599), [], "not before verifiers had time to hear of it");
    let swap = [What::Retire("new1".into()), What::Activate("new2".into())];
    assert_eq!(at(&mut keys, 600), swap);
    assert_eq!(at(&mut keys, 616), [], "tokens of the first may still be good");
    assert_eq!(at(&mut keys, 617), [What::Delete("new1".into())]);
    assert_eq!(keys.len(), 1);
}

#[test]
fn a_clock_that_went_back_neither_deletes_nor_rotates() {
    let key = |kid: &str, state, hour: i64| Key {
        kid: kid.into(),
        state,
        since: Timestamp(hour * 60 * MINUTE),
    };
    let keys = [key("a", State::Active, 100), key("r", State::Retired, 100)];
    assert_eq!(sweep(&keys, &policy(600), Timestamp(0)), []);
}
