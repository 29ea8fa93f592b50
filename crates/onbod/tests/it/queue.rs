//! The queue, gates, and an operator's word.

use crate::house::{Browser, House, chat, mark_of};
use proto::{
    Daemon,
    onbod::{
        APPROVE, AdmissionState, CREATE_INVITE, Decide, GET_ADMISSION, Gate, GetAdmission,
        LIST_ADMISSIONS, LIST_GATES, LIST_INVITES, LIST_PEOPLE, ListAdmissions, NewInvite, Page,
        REFUSE, SET_GATE,
    },
};

fn decide(id: &proto::Opaque, note: Option<&str>) -> Decide {
    Decide { id: id.clone(), note: note.map(str::to_owned) }
}

/// The subject of a person, as authd makes them.
fn person(user: u32) -> String {
    format!("user:p{user:024x}")
}

/// Somebody writes, logs in, and stands where that leads.
async fn comes(house: &House, user: u32) -> String {
    let subject = person(user);
    house.write(user, "m1").await;
    let link = house.link(user, 1).await;
    assert_eq!(house.browser(Some(&subject)).press(&link).await.status, 303);
    subject
}

/// Somebody waits in the queue and has the page of an invite open: their browser, its path, and its form's mark.
async fn waits_with_an_invite(house: &House, user: u32) -> (Browser, String, String) {
    let browser = house.browser(Some(&comes(house, user).await));
    house.until(user, AdmissionState::Waiting).await;
    let wanted = NewInvite { folder_template: None, uses: Some(1), expires_in: Some(600) };
    let path = house.ask(&CREATE_INVITE, &wanted).await.unwrap().path;
    let mark = mark_of(&browser.open(&path).await).unwrap();
    (browser, path, mark)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logged_in_waits_sees_the_place_and_is_approved_or_refused_with_a_note() {
    let house = House::new(&[("ONBOARDING_POLICY", "greet")]).await;
    let mut subjects = Vec::new();
    for user in 1..=3 {
        subjects.push(comes(&house, user).await);
        house.until(user, AdmissionState::Waiting).await;
    }
    let page = house.browser(Some(&subjects[1])).open("/onboard/").await.text;
    assert!(page.contains("<strong>2</strong> of 3 in the queue"), "{page}");
    let told = house.lines(3, 2).await;
    assert!(told[1].contains("number 3 in the queue"), "{told:?}");
    assert!(house.folders().await.is_empty(), "nobody is in yet");

    let first = house.admission(1).await.unwrap();
    for _ in 0..2 {
        house.ask(&APPROVE, &decide(&first.id, Some("Welcome, Ann."))).await.unwrap();
    }
    house.until(1, AdmissionState::Admitted).await;
    let told = house.lines(1, 3).await;
    assert!(told[2].starts_with("Welcome, Ann.\n\nYou are in"), "{told:?}");
    let page = house.browser(Some(&subjects[1])).open("/onboard/").await.text;
    assert!(page.contains("<strong>1</strong> of 2 in the queue"), "{page}");

    let second = house.admission(2).await.unwrap();
    for _ in 0..2 {
        house.ask(&REFUSE, &decide(&second.id, Some("Not this year."))).await.unwrap();
    }
    let told = house.lines(2, 3).await;
    assert_eq!(told[2], "Not this year.\n\nYou were not let in.");
    let page = house.browser(Some(&subjects[1])).open("/onboard/").await.text;
    assert!(page.contains("You were not let in") && page.contains("Not this year."), "{page}");
    // Who is in is not refused here, and who was refused does not come in by another chat.
    let late = house.ask(&REFUSE, &decide(&first.id, None)).await.unwrap_err();
    assert_eq!(late.status, 409);
    house.ask(&SET_GATE, &Gate { pattern: "*".into(), per_day: 9 }).await.unwrap();
    house.until(3, AdmissionState::Admitted).await;
    house.write(22, "m1").await;
    let link = house.link(22, 1).await;
    assert_eq!(house.browser(Some(&subjects[1])).press(&link).await.status, 303);
    house.until(22, AdmissionState::Refused).await;
    house.write(2, "m2").await;
    house.told().await;
    assert_eq!(house.adapter.got(&chat(2)).len(), 3, "nothing more is said to them");
    assert_eq!(house.folders().await.len(), 2);
    let people = house.ask(&LIST_PEOPLE, &Page::default()).await.unwrap().people;
    let names: Vec<&str> = people.iter().map(|person| person.subject.as_str()).collect();
    assert_eq!(names, [subjects[0].as_str(), subjects[2].as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_queued_first_gets_the_link_by_an_operators_word() {
    let house = House::new(&[("ONBOARDING_POLICY", "queue"), ("ONBOARDING_QUEUE_MAX", "2")]).await;
    for user in 1..=3 {
        house.write(user, "m1").await;
        house.told().await;
    }
    let told = house.lines(2, 1).await;
    assert!(told[0].contains("number 2 in the queue") && !told[0].contains("/pair/"), "{told:?}");
    assert_eq!(house.count("onbod", "SELECT count(*) FROM admissions"), 2, "the queue is full");
    let second = house.admission(2).await.unwrap();
    assert_eq!(second.excerpt, "hello from 2");
    house.ask(&APPROVE, &decide(&second.id, None)).await.unwrap();
    let link = house.link(2, 2).await;
    // No gate is open: it is the word that counts.
    assert_eq!(house.browser(Some("user:oidc|x")).press(&link).await.status, 303);
    house.until(2, AdmissionState::Admitted).await;
    let first = house.admission(1).await.unwrap();
    house.ask(&REFUSE, &decide(&first.id, None)).await.unwrap();
    assert_eq!(house.lines(1, 2).await[1], "You were not let in.");
    assert!(house.adapter.got(&chat(3)).is_empty(), "who was passed over heard nothing");
    assert_eq!(house.folders().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_lets_in_so_many_a_day_and_the_others_when_the_next_begins() {
    let mut house = House::timeless(&[("ONBOARDING_POLICY", "greet")]).await;
    for (pattern, per_day) in [("*", 2), (&*person(3), 0)] {
        house.ask(&SET_GATE, &Gate { pattern: pattern.into(), per_day }).await.unwrap();
    }
    for user in 1..=6 {
        comes(&house, user).await;
    }
    for (user, state) in [
        (1, AdmissionState::Admitted),
        (2, AdmissionState::Admitted),
        (3, AdmissionState::Waiting),
        (4, AdmissionState::Waiting),
        (5, AdmissionState::Waiting),
        (6, AdmissionState::Waiting),
    ] {
        house.until(user, state).await;
    }
    let gates = house.ask(&LIST_GATES, &proto::Nothing {}).await.unwrap().gates;
    let today: Vec<(&str, u32)> = gates.iter().map(|g| (g.pattern.as_str(), g.today)).collect();
    assert_eq!(today, [("*", 2), (&*person(3), 0)]);
    house.pass(24 * 60 * 60).await;
    house.until(4, AdmissionState::Admitted).await;
    house.until(5, AdmissionState::Admitted).await;
    house.until(3, AdmissionState::Waiting).await;
    // Those of one day are let in together, and are still no more than so many.
    house.until(6, AdmissionState::Waiting).await;
    assert_eq!(house.folders().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_refused_does_not_come_in_by_an_invite() {
    let house = House::new(&[("ONBOARDING_POLICY", "greet")]).await;
    let (browser, path, mark) = waits_with_an_invite(&house, 1).await;
    let entry = house.admission(1).await.unwrap();
    house.ask(&REFUSE, &decide(&entry.id, None)).await.unwrap();
    assert_eq!(browser.submit(&path, &mark).await.status, 303);
    house.until(1, AdmissionState::Refused).await;
    let invites = house.ask(&LIST_INVITES, &Page::default()).await.unwrap().invites;
    assert_eq!(invites[0].uses, 0, "it is there for somebody else");
    assert!(house.folders().await.is_empty());
    // An operator may think again.
    house.ask(&APPROVE, &decide(&entry.id, None)).await.unwrap();
    house.until(1, AdmissionState::Admitted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_only_greeted_hears_of_a_refusal_where_there_is_something_to_say() {
    let house = House::new(&[("ONBOARDING_POLICY", "greet")]).await;
    for (user, note) in [(1, Some("Not this year.")), (2, None)] {
        house.write(user, "m1").await;
        house.lines(user, 1).await;
        let entry = house.admission(user).await.unwrap();
        house.ask(&REFUSE, &decide(&entry.id, note)).await.unwrap();
        house.until(user, AdmissionState::Refused).await;
    }
    assert_eq!(house.lines(1, 2).await[1], "Not this year.\n\nYou were not let in.");
    house.told().await;
    assert_eq!(house.adapter.got(&chat(2)).len(), 1, "nothing was to be said");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_where_they_ended_and_show_nothing_to_who_has_no_right() {
    let house = House::new(&[("ONBOARDING_POLICY", "queue")]).await;
    for user in 1..=5 {
        house.write(user, "m1").await;
        house.told().await;
    }
    let mut seen = Vec::new();
    let mut query = ListAdmissions {
        state: Some(AdmissionState::Waiting),
        limit: Some(2),
        ..ListAdmissions::default()
    };
    loop {
        let page = house.ask(&LIST_ADMISSIONS, &query).await.unwrap();
        assert_eq!(page.waiting, 5);
        seen.extend(page.admissions.into_iter().map(|one| (one.position.unwrap(), one.sender)));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    let expected: Vec<_> = (1..=5).map(|n| (n, chat(u32::try_from(n).unwrap()))).collect();
    assert_eq!(seen, expected);
    for daemon in [Daemon::Routd, Daemon::Webd, Daemon::Teled, Daemon::Onbod] {
        let token = house.authority.service(daemon);
        let asked = house.call(Daemon::Onbod, &LIST_ADMISSIONS, &query, &token).await;
        assert_eq!(asked.unwrap_err().status, 403, "{daemon}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_nobody_can_come_in_by_is_refused_and_says_what_would_do() {
    let house = House::new(&[("ONBOARDING_POLICY", "greet")]).await;
    for pattern in ["user:github|*", "user:p*", "user:github|7", "telegram:*", ""] {
        let gate = Gate { pattern: pattern.into(), per_day: 5 };
        let refused = house.ask(&SET_GATE, &gate).await.unwrap_err();
        assert_eq!(refused.status, 400, "{pattern}");
        let told = &refused.detail;
        assert!(told.contains("`*` for everybody") && told.contains("user:p0123"), "{told}");
    }
    assert!(house.ask(&LIST_GATES, &proto::Nothing {}).await.unwrap().gates.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_admission_is_found_by_its_id_and_by_nobody_without_the_right() {
    let house = House::new(&[("ONBOARDING_POLICY", "queue")]).await;
    house.write(1, "m1").await;
    house.told().await;
    let listed = house.admission(1).await.unwrap();
    let one = GetAdmission { id: listed.id.clone() };
    assert_eq!(house.ask(&GET_ADMISSION, &one).await.unwrap(), listed);
    let none = GetAdmission { id: "a-none".parse().unwrap() };
    assert_eq!(house.ask(&GET_ADMISSION, &none).await.unwrap_err().status, 404);
    let token = house.authority.service(Daemon::Webd);
    let asked = house.call(Daemon::Onbod, &GET_ADMISSION, &one, &token).await;
    assert_eq!(asked.unwrap_err().status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_comes_in_by_an_invite_with_the_chat_that_waits() {
    let house = House::new(&[("ONBOARDING_POLICY", "greet")]).await;
    let (browser, path, mark) = waits_with_an_invite(&house, 1).await;
    assert_eq!(browser.submit(&path, &mark).await.status, 303);
    house.until(1, AdmissionState::Admitted).await;
    assert_eq!(house.folders().await.len(), 1, "one person, one folder");
}
