use super::*;
use proptest::prelude::*;

fn key(text: &str) -> Arc<SecretsKey> {
    let secret = Secret::new(format!("{text:-<32}").into_bytes()).unwrap();
    Arc::new(SecretsKey::new(&secret).unwrap())
}

/// Does what `unlock` says, as a database does.
fn carry_out(wraps: &mut Vec<Wrap>, accepted: &[Arc<SecretsKey>]) -> DataKey {
    let unlocked = unlock("routd.db", wraps, accepted).unwrap();
    wraps.retain(|wrap| !unlocked.delete.contains(&wrap.key_id));
    wraps.extend(unlocked.write);
    unlocked.key
}

fn ids(wraps: &[Wrap]) -> Vec<&str> {
    wraps.iter().map(|wrap| wrap.key_id.as_str()).collect()
}

proptest! {
    #[test]
    fn what_is_sealed_opens_for_its_row_and_for_no_other(
        plaintext in proptest::collection::vec(any::<u8>(), 0..300),
        row in ".{0,20}",
        at in any::<proptest::sample::Index>(),
    ) {
        let data_key = DataKey::generate().unwrap();
        let sealed = data_key.seal(&plaintext, row.as_bytes()).unwrap();
        prop_assert_eq!(&*data_key.open(&sealed, row.as_bytes()).unwrap(), &plaintext);
        let other_row = format!("{row}x");
        prop_assert_eq!(data_key.open(&sealed, other_row.as_bytes()), Err(SealError::NotOpened));
        let mut altered = sealed.clone();
        altered[at.index(sealed.len())] ^= 1;
        prop_assert!(data_key.open(&altered, row.as_bytes()).is_err());
        let other = DataKey::generate().unwrap();
        prop_assert_eq!(other.open(&sealed, row.as_bytes()), Err(SealError::NotOpened));
    }

    #[test]
    fn rubbish_does_not_open(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(DataKey::generate().unwrap().open(&bytes, b"").is_err());
    }
}

#[test]
fn sealing_twice_never_gives_the_same_bytes() {
    let data_key = DataKey::generate().unwrap();
    assert_ne!(data_key.seal(b"a", b"r").unwrap(), data_key.seal(b"a", b"r").unwrap());
}

#[test]
fn a_rotation_wraps_the_same_data_key_anew_and_keeps_the_old_wrap_for_the_overlap() {
    let (one, two) = (key("one"), key("two"));
    let mut wraps = Vec::new();
    let first = carry_out(&mut wraps, std::slice::from_ref(&one));
    let sealed = first.seal(b"row", b"1").unwrap();
    assert_eq!(ids(&wraps), [one.id()]);

    let second = carry_out(&mut wraps, &[two.clone(), one.clone()]);
    assert_eq!(*second.open(&sealed, b"1").unwrap(), b"row");
    assert_eq!(ids(&wraps), [one.id(), two.id()]);
    let before = wraps.clone();
    carry_out(&mut wraps, &[two.clone(), one.clone()]);
    assert_eq!(wraps, before, "doing it twice changes nothing");

    // Going back works while the overlap lasts.
    let back = carry_out(&mut wraps.clone(), std::slice::from_ref(&one));
    assert_eq!(*back.open(&sealed, b"1").unwrap(), b"row");

    // The overlap ends.
    carry_out(&mut wraps, std::slice::from_ref(&two));
    assert_eq!(ids(&wraps), [two.id()]);
    assert!(unlock("routd.db", &wraps, &[one]).is_err(), "the old key opens nothing any more");
}

#[test]
fn without_the_key_nothing_is_touched_and_the_error_says_what_to_supply() {
    let mut wraps = Vec::new();
    carry_out(&mut wraps, &[key("one")]);
    let error = unlock("routd.db", &wraps, &[key("two")]).unwrap_err();
    let message = error.to_string();
    for part in ["routd.db", "SECRETS_KEY_PREVIOUS", key("one").id(), key("two").id()] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert!(unlock("routd.db", &[], &[]).is_err(), "a new database needs a key too");
}

#[test]
fn a_wrap_belongs_to_its_database_and_a_damaged_one_is_told_apart() {
    let mut wraps = Vec::new();
    carry_out(&mut wraps, &[key("one")]);
    let damaged = |database: &str| UnlockError::Damaged { database: database.into() };
    assert_eq!(unlock("authd.db", &wraps, &[key("one")]).unwrap_err(), damaged("authd.db"));
    wraps[0].bytes[20] ^= 1;
    assert_eq!(unlock("routd.db", &wraps, &[key("one")]).unwrap_err(), damaged("routd.db"));
}

#[test]
fn a_key_is_text_of_at_least_thirty_two_bytes() {
    let parse = |bytes: &[u8]| SecretsKey::new(&Secret::new(bytes.to_vec()).unwrap());
    assert!(parse(&[b'k'; 32]).is_ok());
    assert!(parse(&[b'k'; 31]).unwrap_err().0.contains("shorter than 32 bytes"));
    assert!(parse(&[0xff; 32]).unwrap_err().0.contains("UTF-8"));
    assert_ne!(key("one").id(), key("two").id());
    assert_eq!(key("one").id(), key("one").id());
    assert_eq!(key("one").id().len(), 16);
}

/// Made once by this code. If this fails, databases that exist cannot be opened any more.
#[test]
fn what_was_sealed_before_still_opens() {
    let one = key("one");
    assert_eq!(one.id(), "e6dc1798e526b54d");
    let wrap = "012b0a42c2e421f8c1477d6c83d3f31f74a684838cc6b26eb169afb9efae205ce8fff9921a1f8ce83a4a199265b953bd7acf5c57012cc055fbea872b4e";
    let wraps = [Wrap { key_id: one.id().into(), bytes: hex::decode(wrap).unwrap() }];
    let unlocked = unlock("routd.db", &wraps, &[one]).unwrap();
    assert!(unlocked.write.is_empty() && unlocked.delete.is_empty());
    let row = "012be60c6eff3fe01e1b9ad99177e6ff98d9085e526cc134c7d4313c748ee363";
    let opened = unlocked.key.open(&hex::decode(row).unwrap(), b"row 1").unwrap();
    assert_eq!(*opened, b"abc");
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?} {:?}", key("one"), DataKey::generate().unwrap());
    assert!(shown.contains("DataKey(..)"));
    assert!(!shown.contains("one-"), "{shown}");
}

/// The wraps of keys that became current so many seconds ago.
fn kept(of: &[(&str, u64)]) -> Vec<KeptWrap> {
    let data_key = DataKey::generate().unwrap();
    let one = |(name, age): &(&str, u64)| KeptWrap {
        wrap: data_key.wrap(&key(name), "routd.db").unwrap(),
        age: Duration::from_secs(*age),
    };
    of.iter().map(one).collect()
}

/// What is written, what is deleted, and after how many seconds to look again, after a restart that
/// knows of `current` alone.
fn settled(of: &[(&str, u64)], current: &str) -> (Vec<String>, Vec<String>, Option<u64>) {
    let (kept, current) = (kept(of), key(current));
    let wraps: Vec<Wrap> = kept.iter().map(|kept| kept.wrap.clone()).collect();
    let mut unlocked = unlock("routd.db", &wraps, std::slice::from_ref(&current)).unwrap();
    let again = unlocked.keep_for(Duration::from_secs(100), &kept, &current);
    let named = |id: &String| {
        let name = of.iter().find(|(name, _)| key(name).id() == id);
        name.map_or("another", |(name, _)| *name).to_owned()
    };
    let written = unlocked.write.iter().map(|wrap| named(&wrap.key_id)).collect();
    let deleted = unlocked.delete.iter().map(named).collect();
    (written, deleted, again.map(|again| again.as_secs()))
}

#[test]
fn each_wrap_has_its_overlap_from_when_another_key_took_over() {
    let none: Vec<String> = Vec::new();
    let names = |of: &[&str]| -> Vec<String> { of.iter().map(|name| (*name).to_owned()).collect() };
    // Replaced 30 s ago: 70 s are left, across any number of restarts.
    assert_eq!(settled(&[("a", 900), ("b", 30)], "b"), (none.clone(), none.clone(), Some(70)));
    assert_eq!(settled(&[("a", 900), ("b", 100)], "b"), (none.clone(), names(&["a"]), None));
    // a to b to a: the way back begins now, however old the wrap under a is.
    assert_eq!(settled(&[("a", 900), ("b", 500)], "a"), (names(&["a"]), none.clone(), Some(100)));
    // Written again, a is the newest, and b ends when its time has come.
    assert_eq!(settled(&[("a", 40), ("b", 500)], "a"), (none.clone(), none.clone(), Some(60)));
    assert_eq!(settled(&[("a", 100), ("b", 500)], "a"), (none.clone(), names(&["b"]), None));
    // Each from its own successor: a gave way 120 s ago, b 20 s ago.
    let three = [("a", 900), ("b", 120), ("c", 20)];
    assert_eq!(settled(&three, "c"), (none.clone(), names(&["a"]), Some(80)));
    // As old as each other: the current one is taken for the newest, and nothing is written again.
    assert_eq!(settled(&[("b", 50), ("a", 50)], "a"), (none.clone(), none.clone(), Some(50)));
    assert_eq!(settled(&[("a", 50), ("b", 50)], "a"), (none.clone(), none, Some(50)));
}
