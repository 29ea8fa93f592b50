//! A pairing link: who may use it, and how often.

use crate::house::{House, chat, mark_of};
use proto::{
    Daemon,
    onbod::{AdmissionState, Gate, SET_GATE},
    routd::{CHECK_ACL, CheckAcl, EXPLAIN_ROUTE, ExplainRoute, FEED, FeedQuery, LIST_GROUPS},
};

const ANN: &str = "user:oidc|ann";
const BOB: &str = "user:oidc|bob";

async fn open_house() -> House {
    let house = House::timeless(&[("ONBOARDING_POLICY", "greet")]).await;
    house.ask(&SET_GATE, &Gate { pattern: "*".into(), per_day: 100 }).await.unwrap();
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_only_looked_at_stays_good_and_makes_a_folder_when_it_is_used() {
    let house = open_house().await;
    house.write(1, "m1").await;
    let link = house.link(1, 1).await;
    let (ann, nobody) = (house.browser(Some(ANN)), house.browser(None));
    for _ in 0..50 {
        assert_eq!(nobody.open(&link).await.status, 401);
        let page = ann.open(&link).await;
        assert!(page.status == 200 && page.text.contains("telegram:user/1"), "{page:?}");
    }
    assert_eq!(house.admission(1).await.unwrap().state, AdmissionState::Greeted);
    let done = ann.press(&link).await;
    assert_eq!((done.status, done.location.as_str()), (303, "/onboard/"));
    let admission = house.until(1, AdmissionState::Admitted).await;
    let folder = admission.folder.unwrap();
    assert_eq!(house.folders().await, [folder.to_string()]);
    assert!(folder.as_str().starts_with("people/p-"));
    let home = ann.open("/onboard/").await;
    assert!(home.text.contains(folder.as_str()) && home.text.contains("You are in"), "{home:?}");
    // The chat goes there now, and says so.
    let said = house.lines(1, 2).await;
    assert!(said[1].contains("this chat is yours"), "{said:?}");
    let operator = house.authority.operator();
    let query = ExplainRoute { jid: chat(1).parse().unwrap(), sender: None, verb: None };
    let why = house.call(Daemon::Routd, &EXPLAIN_ROUTE, &query, &operator).await.unwrap();
    assert_eq!(why.folder, Some(folder.clone()));
    // Rights on that folder and on nothing beyond.
    for (action, folder, may) in [
        ("admin", folder.to_string(), true),
        ("admin", format!("{folder}/below"), true),
        ("egress", folder.to_string(), false),
        ("admin", "people".into(), false),
        ("admin", "atlas".into(), false),
        ("admin", "people/p-other".into(), false),
    ] {
        let asked = CheckAcl {
            principal: ANN.into(),
            action: action.into(),
            folder: folder.parse().unwrap(),
        };
        let answer = house.call(Daemon::Routd, &CHECK_ACL, &asked, &operator).await.unwrap();
        assert_eq!(answer.allowed, may, "{action} on {folder}: {}", answer.because);
    }
    // The web chat of the folder, by the button of the page.
    let mark = mark_of(&home).unwrap();
    let chat = ann.submit("/onboard/chat", &mark).await;
    assert!(chat.status == 303 && chat.location.starts_with("/chat/"), "{chat:?}");
    assert_eq!(house.browser(Some(BOB)).submit("/onboard/chat", &mark).await.status, 403);
    // With her own rights she reaches her folder's chats, and nobody else's.
    let scopes: Vec<&str> =
        auth::person_scopes(Daemon::Routd).iter().map(auth::Scope::as_str).collect();
    let token = house.authority.token(ANN, &[Daemon::Routd], auth::Kind::User, &scopes);
    for (of, status) in [(folder.as_str(), None), ("atlas", Some(403)), ("people", Some(403))] {
        let query = FeedQuery {
            chat_jid: format!("web:{of}").parse().unwrap(),
            after: None,
            limit: None,
            wait_seconds: 0,
        };
        let read = house.call(Daemon::Routd, &FEED, &query, &token).await;
        assert_eq!(read.map(drop).map_err(|no| no.status).err(), status, "{of}");
    }
    let groups = house.call(Daemon::Routd, &LIST_GROUPS, &proto::Nothing {}, &token).await.unwrap();
    assert_eq!(groups.groups.len(), 1, "{groups:?}");
    assert_eq!(house.count("routd", "SELECT count(*) FROM links"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_good_once_for_ten_minutes_and_for_whoever_was_first() {
    let house = open_house().await;
    house.write(1, "m1").await;
    let link = house.link(1, 1).await;
    let browsers: Vec<_> =
        (0..8).map(|n| house.browser(Some(&format!("user:oidc|racer-{n}")))).collect();
    let mut marks = Vec::new();
    for browser in &browsers {
        marks.push(mark_of(&browser.open(&link).await).unwrap());
    }
    let racing = browsers.iter().zip(&marks).map(|(browser, mark)| browser.submit(&link, mark));
    let outcomes: Vec<u16> = futures_join(racing).await;
    assert_eq!(outcomes.iter().filter(|status| **status == 303).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|status| **status == 410).count(), 7, "{outcomes:?}");
    let winner = outcomes.iter().position(|status| *status == 303).unwrap();
    // Whoever was first is answered alike again; the others, and those who only look, are told.
    assert_eq!(browsers[winner].submit(&link, &marks[winner]).await.status, 303);
    assert_eq!(browsers[winner].open(&link).await.status, 303);
    assert_eq!(house.browser(Some(BOB)).open(&link).await.status, 410);
    assert_eq!(house.browser(None).open(&link).await.status, 410);
    house.until(1, AdmissionState::Admitted).await;
    assert_eq!(house.folders().await.len(), 1);
    assert_eq!(house.count("routd", "SELECT count(*) FROM admissions"), 1);

    house.write(2, "m1").await;
    let late = house.link(2, 1).await;
    let ann = house.browser(Some(ANN));
    let mark = mark_of(&ann.open(&late).await).unwrap();
    house.clock.advance(std::time::Duration::from_secs(600));
    assert_eq!(ann.submit(&late, &mark).await.status, 404);
    assert_eq!(ann.open(&late).await.status, 404);
    for wrong in ["/pair/x", &late[..late.len() - 1], &format!("/pair/{}", "A".repeat(43))] {
        assert_eq!(ann.open(wrong).await.status, 404, "{wrong}");
        assert_eq!(ann.submit(wrong, &mark).await.status / 100, 4, "{wrong}");
    }
    assert_eq!(house.folders().await.len(), 1, "nobody came by any of these");
}

async fn futures_join(
    all: impl Iterator<Item = impl Future<Output = crate::house::Shown>>,
) -> Vec<u16> {
    let mut set = Vec::new();
    for one in all {
        set.push(Box::pin(one));
    }
    let mut statuses = Vec::new();
    // Polled together, so that all are under way at once.
    let mut results: Vec<Option<u16>> = set.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (slot, future) in results.iter_mut().zip(set.iter_mut()) {
            if slot.is_none()
                && let std::task::Poll::Ready(shown) = future.as_mut().poll(cx)
            {
                *slot = Some(shown.status);
            }
        }
        if results.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    statuses.extend(results.into_iter().flatten());
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_counts_only_from_our_own_page_and_for_who_is_logged_in() {
    let house = open_house().await;
    house.write(1, "m1").await;
    let link = house.link(1, 1).await;
    let (ann, bob) = (house.browser(Some(ANN)), house.browser(Some(BOB)));
    let mark = mark_of(&ann.open(&link).await).unwrap();
    assert_eq!(ann.submit(&link, "").await.status, 403, "no mark");
    assert_eq!(bob.submit(&link, &mark).await.status, 403, "another's mark");
    assert_eq!(ann.submit_from(&link, &mark, "cross-site").await.status, 403, "another site");
    assert_eq!(house.browser(None).submit(&link, &mark).await.status, 401, "nobody");
    // Who is not the edge says nothing about who is logged in.
    let direct = kit::http_client().unwrap();
    let url = ann.base();
    let answer = direct.get(format!("{url}{link}")).header("x-user-subject", ANN).send().await;
    assert_eq!(answer.unwrap().status(), 401);
    assert_eq!(house.admission(1).await.unwrap().state, AdmissionState::Greeted);
    assert_eq!(house.count("onbod", "SELECT count(*) FROM links WHERE spent_at IS NOT NULL"), 0);
    assert_eq!(ann.submit(&link, &mark).await.status, 303, "the link is as good as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_one_folder_however_many_chats_and_nobody_elses() {
    let house = open_house().await;
    for (user, who) in [(1, ANN), (2, ANN), (3, BOB)] {
        house.write(user, "m1").await;
        let link = house.link(user, 1).await;
        assert_eq!(house.browser(Some(who)).press(&link).await.status, 303);
        house.until(user, AdmissionState::Admitted).await;
    }
    let folder = |user| {
        let house = &house;
        async move { house.admission(user).await.unwrap().folder.unwrap() }
    };
    let (first, second, bobs) = (folder(1).await, folder(2).await, folder(3).await);
    assert_eq!(first, second);
    assert!(!first.contains(&bobs) && !bobs.contains(&first));
    assert_eq!(house.folders().await.len(), 2);
    let home = house.browser(Some(BOB)).open("/onboard/").await.text;
    assert!(home.contains(bobs.as_str()) && !home.contains(first.as_str()));
    assert!(!home.contains("telegram:user/1"), "another's chat: {home}");
    // onbod never has the token on the disk, and no row of routd has it once it is sent.
    let token = house.adapter.got(&chat(1))[0].rsplit('/').next().unwrap().to_owned();
    for ending in ["db", "db-wal"] {
        let path = house.dir.path().join(format!("store/onbod.{ending}"));
        let bytes = std::fs::read(path).unwrap_or_default();
        let found = bytes.windows(token.len()).any(|window| window == token.as_bytes());
        assert!(!found, "onbod.{ending} has the token");
    }
    let outbox = "SELECT count(*) FROM outbox WHERE text IS NOT NULL";
    assert_eq!(house.count("routd", outbox), 0);
    let sql = format!("SELECT count(*) FROM messages WHERE content LIKE '%{token}%'");
    assert_eq!(house.count("routd", &sql), 0);
}
