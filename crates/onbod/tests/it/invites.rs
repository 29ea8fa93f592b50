//! Invites.

use crate::house::{House, mark_of};
use proto::onbod::{
    CREATE_INVITE, IssuedInvite, LIST_INVITES, LIST_PEOPLE, NewInvite, Page, REMOVE_GATE,
    REVOKE_INVITE, RemoveGate, RevokeInvite,
};
use std::time::Duration;

async fn invite(house: &House, uses: u32) -> IssuedInvite {
    let wanted = NewInvite {
        folder_template: Some("team/guests/{person}".into()),
        uses: Some(uses),
        expires_in: Some(600),
    };
    house.ask(&CREATE_INVITE, &wanted).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_lets_in_as_many_as_it_says_and_no_more_at_once() {
    let house = House::new(&[]).await;
    let issued = invite(&house, 3).await;
    let browsers: Vec<_> =
        (0..10).map(|n| house.browser(Some(&format!("user:oidc|guest-{n}")))).collect();
    let mut racing = tokio::task::JoinSet::new();
    for browser in browsers.clone() {
        let path = issued.path.clone();
        racing.spawn(async move {
            let page = browser.open(&path).await;
            // Who comes after the last sees no button.
            match mark_of(&page) {
                Some(mark) => browser.submit(&path, &mark).await.status,
                None => page.status,
            }
        });
    }
    let outcomes = racing.join_all().await;
    assert_eq!(outcomes.iter().filter(|status| **status == 303).count(), 3, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|status| **status == 404).count(), 7, "{outcomes:?}");
    let people = crate::house::eventually("three are in", || async {
        let people = house.ask(&LIST_PEOPLE, &Page::default()).await.unwrap().people;
        (people.len() == 3).then_some(people)
    })
    .await;
    for person in &people {
        assert!(person.folder.as_str().starts_with("team/guests/p-"), "{person:?}");
    }
    assert_eq!(house.folders().await.len(), 3);
    let listed = house.ask(&LIST_INVITES, &Page::default()).await.unwrap().invites;
    assert_eq!((listed[0].uses, listed[0].uses_max), (3, 3));
    assert_eq!(house.adapter.count(), 0, "nobody wrote to anybody");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_uses_nothing_up_and_an_invite_ends() {
    let house = House::timeless(&[]).await;
    let issued = invite(&house, 2).await;
    let ann = house.browser(Some("user:oidc|ann"));
    let mark = mark_of(&ann.open(&issued.path).await).unwrap();
    for _ in 0..3 {
        assert_eq!(ann.submit(&issued.path, &mark).await.status, 303);
    }
    crate::house::eventually("she is in", || async {
        ann.open("/onboard/").await.text.contains("You are in").then_some(())
    })
    .await;
    assert_eq!(ann.open(&issued.path).await.status, 303, "it leads her home");
    let uses =
        || async { house.ask(&LIST_INVITES, &Page::default()).await.unwrap().invites[0].uses };
    assert_eq!(uses().await, 1);

    let bob = house.browser(Some("user:oidc|bob"));
    let mark = mark_of(&bob.open(&issued.path).await).unwrap();
    for _ in 0..2 {
        let wanted = RevokeInvite { id: issued.invite.id.clone() };
        house.ask(&REVOKE_INVITE, &wanted).await.unwrap();
    }
    assert_eq!(bob.submit(&issued.path, &mark).await.status, 404);
    let other = invite(&house, 2).await;
    let mark = mark_of(&bob.open(&other.path).await).unwrap();
    assert_eq!(ann.submit(&other.path, &mark).await.status, 403, "it is bob's form");
    house.clock.advance(Duration::from_secs(600));
    assert_eq!(bob.submit(&other.path, &mark).await.status, 404, "its time is over");
    assert_eq!(bob.open(&other.path).await.status, 404);
    assert_eq!(house.folders().await.len(), 1);
    // The token was shown once and is nowhere.
    let listed = house.ask(&LIST_INVITES, &Page::default()).await.unwrap();
    assert!(!serde_json::to_string(&listed).unwrap().contains(&issued.token));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_invite_is_refused() {
    let house = House::new(&[]).await;
    for wanted in [
        NewInvite { folder_template: Some("atlas".into()), uses: None, expires_in: None },
        NewInvite { folder_template: Some("../{person}".into()), uses: None, expires_in: None },
        NewInvite { folder_template: None, uses: Some(0), expires_in: None },
        NewInvite { folder_template: None, uses: Some(10_001), expires_in: None },
        NewInvite { folder_template: None, uses: None, expires_in: Some(59) },
        NewInvite { folder_template: None, uses: None, expires_in: Some(u64::MAX) },
    ] {
        let refused = house.ask(&CREATE_INVITE, &wanted).await.unwrap_err();
        assert_eq!(refused.status, 400, "{wanted:?}");
    }
    // Nor does a mistyped name look like something that was shut.
    let unknown = RevokeInvite { id: "none".parse().unwrap() };
    assert_eq!(house.ask(&REVOKE_INVITE, &unknown).await.unwrap_err().status, 404);
    let unknown = RemoveGate { pattern: "none*".into() };
    assert_eq!(house.ask(&REMOVE_GATE, &unknown).await.unwrap_err().status, 404);
    let listed = house.ask(&LIST_INVITES, &Page::default()).await.unwrap().invites;
    assert!(listed.is_empty());
}
