//! What somebody gets who writes and has no route.

use crate::house::{House, chat, message};
use proto::{Daemon, onbod::AdmissionState};

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_hears_nothing_and_leaves_no_row() {
    let house = House::new(&[]).await;
    house.write(1, "m1").await;
    house.write(2, "m1").await;
    house.told().await;
    assert_eq!(house.count("onbod", "SELECT count(*) FROM admissions"), 0);
    assert_eq!(house.count("onbod", "SELECT count(*) FROM notices"), 0);
    assert_eq!(house.count("routd", "SELECT count(*) FROM messages WHERE outbound = 1"), 0);
    assert_eq!(house.count("routd", "SELECT count(*) FROM messages"), 2, "they are kept");
    assert_eq!(house.adapter.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_greeted_once_for_each_link_and_not_for_ever() {
    let mut house = House::timeless(&[("ONBOARDING_POLICY", "greet")]).await;
    for id in ["m1", "m2", "m3"] {
        house.write(7, id).await;
        house.told().await;
    }
    let first = house.link(7, 1).await;
    // The link's time is over: whoever writes again gets another, and three in all.
    for (id, lines) in [("m4", 2), ("m5", 3)] {
        house.pass(601).await;
        house.write(7, id).await;
        assert_ne!(house.link(7, lines).await, first);
    }
    house.pass(601).await;
    house.write(7, "m6").await;
    house.told().await;
    assert_eq!(house.count("onbod", "SELECT count(*) FROM notices"), 3);
    assert_eq!(house.adapter.got(&chat(7)).len(), 3, "no fourth greeting");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_instance_addresses_so_many_strangers_an_hour() {
    let settings = [("ONBOARDING_POLICY", "greet"), ("ONBOARDING_GREETINGS_PER_HOUR", "3")];
    let mut house = House::timeless(&settings).await;
    for user in 1..=6 {
        house.write(user, "m1").await;
        house.told().await;
    }
    assert_eq!(house.count("onbod", "SELECT count(*) FROM admissions"), 3);
    assert_eq!(house.lines(3, 1).await.len(), 1);
    // An hour later the next are heard, when they write again.
    house.pass(3_601).await;
    house.write(6, "m2").await;
    house.lines(6, 1).await;
    assert_eq!(house.adapter.count(), 4);
    assert!(house.adapter.got(&chat(5)).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_webhooks_and_chats_with_a_route_are_nobodys_to_pair() {
    let house = House::new(&[("ONBOARDING_POLICY", "greet")]).await;
    let mut group = message(1, "m1");
    group.is_group = true;
    house.post(&group).await;
    // Who joined, or took the agent out of the chat, said nothing.
    for verb in ["join", "membership", "react"] {
        let mut event = message(5, verb);
        event.verb = Some(verb.into());
        house.post(&event).await;
    }
    let mut hook = message(2, "m1");
    hook.chat_jid = "hook:nobody/ci".parse().unwrap();
    hook.sender = "hook:ci".into();
    house.post(&hook).await;
    // A route, or a folder that is out of service, is an operator's word.
    let operator = house.authority.operator();
    let group = proto::routd::NewGroup {
        folder: "gone".parse().unwrap(),
        jid: Some(chat(3).parse().unwrap()),
        harness: None,
        command: Vec::new(),
        model: None,
    };
    house.call(Daemon::Routd, &proto::routd::ADD_GROUP, &group, &operator).await.unwrap();
    let gone = proto::routd::RemoveGroup { folder: "gone".parse().unwrap() };
    house.call(Daemon::Routd, &proto::routd::REMOVE_GROUP, &gone, &operator).await.unwrap();
    house.write(3, "m1").await;
    // One who is greeted, so that the others' turn has come.
    house.write(4, "m1").await;
    house.lines(4, 1).await;
    house.told().await;
    assert_eq!(house.count("onbod", "SELECT count(*) FROM admissions"), 1);
    assert_eq!(house.adapter.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_onbod_is_down_is_answered_when_it_is_back() {
    let mut house = House::new(&[("ONBOARDING_POLICY", "greet")]).await;
    house.stop_onbod().await;
    house.write(1, "m1").await;
    house.write(1, "m2").await;
    assert_eq!(house.count("routd", "SELECT count(*) FROM knocks"), 1, "the newest of the chat");
    // routd forgets nothing either.
    house.stop_routd().await;
    house.start_routd().await;
    house.start_onbod().await;
    house.lines(1, 1).await;
    house.told().await;
    house.until(1, AdmissionState::Greeted).await;
    assert_eq!(house.adapter.count(), 1);
}
