//! One book that closes, and one mutation for each way in which it must not.

use super::*;

const WEB: &str = "web:a~l1";
const PLATFORM: &str = "telegram:chaos/a";

fn sent(id: &str, chat: &str, number: u64, text: &str) -> Sent {
    Sent { id: id.into(), chat: chat.into(), sender: chat.len(), number, text: text.into() }
}

fn known(state: MessageState, turn: &str, replies: &[&str]) -> Known {
    let replies = replies.iter().map(|text| (*text).to_owned()).collect();
    Known { state: Some(state), turn: Some(turn.into()), replies, doubts: Vec::new() }
}

fn person(id: &str) -> Line {
    Line::Person { id: id.into() }
}

fn agent(id: &str, text: &str) -> Line {
    Line::Agent { reply_to: Some(id.into()), text: text.into() }
}

fn done(turn: &str) -> Line {
    Line::Done { turn: turn.into() }
}

fn shown(key: &str, id: &str, text: &str) -> Shown {
    Shown { key: key.into(), chat: PLATFORM.into(), reply_to: Some(id.into()), text: text.into() }
}

const TWO: &str = "You said: one\nYou said: two";

/// Two messages that one turn answers, one that is met with silence, and two at a platform.
fn good() -> Books {
    let mut books = Books {
        sent: vec![
            sent("m1", WEB, 1, "one"),
            sent("m2", WEB, 2, "two"),
            sent("m3", WEB, 3, "silent"),
            sent("p1", PLATFORM, 1, "pone"),
            sent("p2", PLATFORM, 2, "ptwo"),
        ],
        shown: vec![shown("o1", "p1", "You said: pone"), shown("o2", "p2", "You said: ptwo")],
        platform_chats: [PLATFORM.to_owned()].into(),
        ..Books::default()
    };
    let web =
        vec![person("m1"), person("m2"), agent("m2", TWO), done("t1"), person("m3"), done("t2")];
    books.chats.insert(WEB.into(), web);
    let platform = vec![
        person("p1"),
        person("p2"),
        agent("p1", "You said: pone"),
        done("t3"),
        agent("p2", "You said: ptwo"),
        done("t4"),
    ];
    books.chats.insert(PLATFORM.into(), platform);
    for (id, state, turn, replies) in [
        ("m1", MessageState::Answered, "t1", &[TWO][..]),
        ("m2", MessageState::Answered, "t1", &[TWO]),
        ("m3", MessageState::Silent, "t2", &[]),
        ("p1", MessageState::Answered, "t3", &["You said: pone"]),
        ("p2", MessageState::Answered, "t4", &["You said: ptwo"]),
    ] {
        books.known.insert(id.into(), known(state, turn, replies));
    }
    books
}

/// The only row that a mutation of the good books leads to.
fn found(mutate: impl FnOnce(&mut Books)) -> (String, Verdict) {
    let mut books = good();
    mutate(&mut books);
    let verdicts = close(&books);
    assert_eq!(verdicts.counts.values().sum::<usize>(), books.sent.len(), "each is judged once");
    let rows: Vec<_> = verdicts.rows.iter().map(|row| (row.id.clone(), row.verdict)).collect();
    assert!(!rows.is_empty(), "the mutation was not found");
    rows.into_iter().max_by_key(|(_, verdict)| *verdict).unwrap()
}

fn is(id: &str, verdict: Verdict) -> (String, Verdict) {
    (id.to_owned(), verdict)
}

#[test]
fn books_in_order_close() {
    let verdicts = close(&good());
    assert!(verdicts.rows.is_empty(), "{:?}", verdicts.rows);
    assert_eq!(verdicts.count(Verdict::Answered), 4);
    assert_eq!(verdicts.count(Verdict::Silent), 1);
}

#[test]
fn two_messages_of_one_turn_may_say_the_same() {
    let alike = |said: &str| {
        let mut books = good();
        books.sent[0].text = "silent".into();
        books.sent[1].text = "silent".into();
        books.chats.get_mut(WEB).unwrap()[2] = agent("m2", said);
        for id in ["m1", "m2"] {
            books.known.get_mut(id).unwrap().replies = vec![said.into()];
        }
        close(&books)
    };
    let line = "You said: silent";
    assert_eq!(alike(&[line, line].join("\n")).rows.len(), 0);
    assert_eq!(alike(line).count(Verdict::Lost), 2);
    assert_eq!(alike(&[line, line, line].join("\n")).count(Verdict::Doubled), 2);
}

#[test]
fn a_lost_message_is_found() {
    let web = |books: &mut Books, line: usize| drop(books.chats.get_mut(WEB).unwrap().remove(line));
    // The suite does not know it; it is not in its chat; its turn's end, or its answer, is not.
    assert_eq!(found(|b| drop(b.known.remove("m3"))), is("m3", Verdict::Lost));
    assert_eq!(found(|b| web(b, 4)), is("m3", Verdict::Lost));
    assert_eq!(found(|b| web(b, 5)), is("m3", Verdict::Lost));
    assert_eq!(found(|b| web(b, 2)).1, Verdict::Lost);
    // It never ended.
    let running = |b: &mut Books| {
        b.known.get_mut("m3").unwrap().state = Some(MessageState::Running);
    };
    assert_eq!(found(running), is("m3", Verdict::Lost));
    // Its turn's answer leaves it out.
    let left_out = |b: &mut Books| {
        b.chats.get_mut(WEB).unwrap()[2] = agent("m2", "You said: two");
        for id in ["m1", "m2"] {
            b.known.get_mut(id).unwrap().replies = vec!["You said: two".into()];
        }
    };
    assert_eq!(found(left_out), is("m1", Verdict::Lost));
    // It was answered, and the platform never showed that.
    assert_eq!(found(|b| drop(b.shown.pop())), is("p2", Verdict::Lost));
}

#[test]
fn a_doubled_reply_is_found() {
    let web = |books: &mut Books, line: Line| books.chats.get_mut(WEB).unwrap().push(line);
    assert_eq!(found(|b| web(b, agent("m3", "hello"))), is("m3", Verdict::Doubled));
    assert_eq!(found(|b| web(b, done("t2"))), is("m3", Verdict::Doubled));
    assert_eq!(found(|b| web(b, person("m3"))), is("m3", Verdict::Doubled));
    let twice = |b: &mut Books| {
        b.chats.get_mut(WEB).unwrap().push(agent("m2", TWO));
        for id in ["m1", "m2"] {
            b.known.get_mut(id).unwrap().replies.push(TWO.into());
        }
    };
    assert_eq!(found(twice).1, Verdict::Doubled, "also where the suite says so itself");
    // The platform showed it twice: under one key, and under another.
    for key in ["o2", "o9"] {
        let again = |b: &mut Books| b.shown.push(shown(key, "p2", "You said: ptwo"));
        assert_eq!(found(again), is("p2", Verdict::Doubled));
    }
    assert_eq!(found(|b| b.shown.push(shown("o9", "p2", "x"))), is("p2", Verdict::Doubled));
    let elsewhere = |b: &mut Books| b.shown[1].chat = "telegram:chaos/b".into();
    assert_eq!(found(elsewhere), is("p2", Verdict::Doubled), "shown to other people");
    // In doubt, and shown twice, is doubled.
    let doubtful = |b: &mut Books| {
        b.known.get_mut("p2").unwrap().doubts = vec![("o2".into(), Some("a kill".into()))];
        b.shown.push(shown("o2", "p2", "You said: ptwo"));
    };
    assert_eq!(found(doubtful), is("p2", Verdict::Doubled));
}

#[test]
fn what_is_out_of_order_is_found() {
    let swap = |books: &mut Books, chat: &str, one: usize, other: usize| {
        books.chats.get_mut(chat).unwrap().swap(one, other);
    };
    assert_eq!(found(|b| swap(b, WEB, 0, 1)).1, Verdict::OutOfOrder);
    assert_eq!(found(|b| swap(b, PLATFORM, 2, 4)).1, Verdict::OutOfOrder);
    assert_eq!(found(|b| b.shown.swap(0, 1)), is("p1", Verdict::OutOfOrder));
}

#[test]
fn doubt_is_good_only_with_its_fault() {
    for (why, explained) in [(Some("kill:routd".to_owned()), true), (None, false)] {
        let mut books = good();
        books.known.get_mut("p2").unwrap().doubts = vec![("o2".into(), why)];
        books.shown.pop();
        let verdicts = close(&books);
        assert_eq!(verdicts.count(Verdict::Ambiguous), 1);
        assert_eq!(verdicts.rows[0].explained, explained, "{:?}", verdicts.rows);
    }
}

#[test]
fn a_turn_that_was_cut_off_has_its_line_and_at_most_one_reply() {
    let cut = |replies: &[&str]| {
        let mut books = good();
        books.known.insert("m3".into(), known(MessageState::Interrupted, "t2", replies));
        let lines = books.chats.get_mut(WEB).unwrap();
        lines.extend(replies.iter().map(|text| agent("m3", text)));
        close(&books)
    };
    assert_eq!(cut(&["This was cut off."]).count(Verdict::Interrupted), 1);
    assert_eq!(cut(&["a", "This was cut off."]).count(Verdict::Interrupted), 1);
    assert_eq!(cut(&[]).count(Verdict::Lost), 1);
    assert_eq!(cut(&["a", "a", "This was cut off."]).count(Verdict::Doubled), 1);
}
