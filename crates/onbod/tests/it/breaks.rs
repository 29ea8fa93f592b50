//! Whatever breaks off between two steps: one folder, one greeting, one welcome.

use crate::house::{House, chat, eventually};
use proto::{
    Daemon,
    onbod::{AdmissionState, Gate, SET_GATE},
    routd::{ADMIT_PERSON, AdmitPerson, NOTICE, Notice},
};

const ANN: &str = "user:oidc|ann";

/// What stands in the way: at which call, and who dies of it.
const BREAKS: [(&str, Option<Daemon>); 6] = [
    ("/v1/notices", None),
    ("/v1/notices", Some(Daemon::Onbod)),
    ("/v1/notices", Some(Daemon::Routd)),
    ("/v1/people", None),
    ("/v1/people", Some(Daemon::Onbod)),
    ("/v1/people", Some(Daemon::Routd)),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_asked_for_again_and_nothing_is_done_twice() {
    let mut house = House::new(&[("ONBOARDING_POLICY", "greet")]).await;
    house.ask(&SET_GATE, &Gate { pattern: "*".into(), per_day: 100 }).await.unwrap();
    for (user, (path, dies)) in (1u32..).zip(BREAKS) {
        let subject = format!("user:oidc|{user}");
        house.to_routd.lose(path);
        house.to_onbod.lose("/v1/onboarding/knocks");
        house.write(user, "m1").await;
        if path == "/v1/notices" {
            broken(&mut house, dies).await;
        }
        // Whichever try it was that routd took: the one link in the chat is good.
        let link = house.link(user, 1).await;
        assert_eq!(house.browser(Some(&subject)).press(&link).await.status, 303, "{path} {dies:?}");
        if path == "/v1/people" {
            broken(&mut house, dies).await;
        }
        house.until(user, AdmissionState::Admitted).await;
        let said = house.lines(user, 2).await;
        assert!(said[1].contains("You are in"), "{said:?}");
        eventually("nothing is left to say", || async {
            let open = "SELECT count(*) FROM notices WHERE state = 'pending'";
            (house.count("onbod", open) == 0).then_some(())
        })
        .await;
        assert_eq!(house.adapter.got(&chat(user)).len(), 2, "{path} {dies:?}");
    }
    assert!(!house.to_routd.loses() && !house.to_onbod.loses(), "each break was met");
    assert_eq!(house.folders().await.len(), BREAKS.len());
    assert_eq!(house.count("routd", "SELECT count(*) FROM admissions"), 6);
    assert_eq!(house.count("routd", "SELECT count(*) FROM routes"), 6);
    assert_eq!(house.count("routd", "SELECT count(*) FROM acl"), 12);
}

/// Waits until the answer is lost, and has somebody die of it.
async fn broken(house: &mut House, dies: Option<Daemon>) {
    eventually("the answer is lost", || async { (!house.to_routd.loses()).then_some(()) }).await;
    match dies {
        Some(Daemon::Onbod) => {
            house.stop_onbod().await;
            house.start_onbod().await;
        }
        Some(_) => {
            house.stop_routd().await;
            house.start_routd().await;
        }
        None => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_into_what_is_somebodys() {
    let house = House::new(&[]).await;
    house.write(1, "m1").await;
    house.write(2, "m1").await;
    let token = house.authority.service(Daemon::Onbod);
    let admit = |admission: &str, subject: &str, folder: &str, user: Option<u32>| {
        let wanted = AdmitPerson {
            admission: admission.parse().unwrap(),
            subject: subject.into(),
            folder: folder.parse().unwrap(),
            chat_jid: user.map(|user| chat(user).parse().unwrap()),
        };
        let (house, token) = (&house, token.clone());
        async move { house.call(Daemon::Routd, &ADMIT_PERSON, &wanted, &token).await }
    };
    let status = |answer: Result<_, proto::Problem>| answer.map(drop).map_err(|no| no.status);
    // A folder that was there before, and one below which there is more.
    assert_eq!(status(admit("a1", ANN, "atlas", None).await), Err(409));
    assert!(!admit("a1", ANN, "people/p-1", Some(1)).await.unwrap().duplicate);
    assert!(admit("a1", ANN, "people/p-1", Some(1)).await.unwrap().duplicate);
    // The same admission of another, another's folder, another's chat, a chat in which nobody wrote.
    assert_eq!(status(admit("a1", "user:bob", "people/p-1", Some(1)).await), Err(409));
    assert_eq!(status(admit("a2", "user:bob", "people/p-1", None).await), Err(409));
    assert_eq!(status(admit("a2", "user:bob", "people/p-2", Some(1)).await), Err(409));
    assert_eq!(status(admit("a2", "user:bob", "people/p-2", Some(9)).await), Err(404));
    for subject in ["service:routd", "role:operator", "folder:atlas", "nobody", "user:*"] {
        assert_eq!(status(admit("a2", subject, "people/p-2", None).await), Err(400), "{subject}");
    }
    // An operator has led the other chat somewhere, and has taken Ann's folder away.
    let operator = house.authority.operator();
    let route = proto::routd::NewRoute {
        seq: 0,
        pattern: format!("chat_jid={}", chat(2)),
        target: "atlas".into(),
    };
    house.call(Daemon::Routd, &proto::routd::ADD_ROUTE, &route, &operator).await.unwrap();
    assert_eq!(status(admit("a2", "user:bob", "people/p-2", Some(2)).await), Err(409));
    let gone = proto::routd::RemoveGroup { folder: "people/p-1".parse().unwrap() };
    house.call(Daemon::Routd, &proto::routd::REMOVE_GROUP, &gone, &operator).await.unwrap();
    assert_eq!(status(admit("a3", ANN, "people/p-1", None).await), Err(409));
    assert!(house.folders().await.is_empty(), "and nothing was made on the way");
    assert_eq!(
        house.count("routd", "SELECT count(*) FROM acl WHERE principal != 'user:oidc|ann'"),
        0
    );
    // Nobody else may ask, and nobody is written to out of the blue.
    for daemon in [Daemon::Webd, Daemon::Dashd, Daemon::Teled] {
        let other = house.authority.service(daemon);
        let line =
            Notice { chat_jid: chat(1).parse().unwrap(), content: "hello".into(), kept: None };
        let said = house.call(Daemon::Routd, &NOTICE, &line, &other).await;
        assert_eq!(said.unwrap_err().status, 403, "{daemon}");
    }
    for (jid, expected) in [(chat(1), 400), (chat(77), 400), ("web:atlas".into(), 400)] {
        // Without a key it is not said at all.
        let line = Notice { chat_jid: jid.parse().unwrap(), content: "x".into(), kept: None };
        let said = house.call(Daemon::Routd, &NOTICE, &line, &token).await;
        assert_eq!(said.unwrap_err().status, expected, "{jid}");
    }
    assert_eq!(house.adapter.count(), 0);
}
