//! The queue, invites and gates: an operator's, by way of the dashboard, and nobody else's.

use crate::rig::{ANN, BOB, Dash, OPERATOR};
use proto::{
    Daemon, Nothing,
    onbod::{
        AdmissionState, GET_ADMISSION, GetAdmission, LIST_GATES, LIST_INVITES, Page, SET_GATE,
    },
};

/// The pages, and the forms with what they would need.
const PAGES: [&str; 8] = [
    "/dash/newcomers",
    "/dash/newcomers?state=all",
    "/dash/people",
    "/dash/invites",
    "/dash/gates",
    "/dash/gates/close?pattern=*",
    "/dash/sessions",
    "/dash/sessions/end?id=7&subject=user:ann",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_seen_and_let_in_or_refused_by_an_operator_with_a_note() {
    let dash = Dash::new().await;
    let eve = dash.knock("telegram:user/7", "Eve", "may I come in?").await;
    let mel = dash.knock("telegram:user/8", "Mel", "hello").await;
    let (_, list) = dash.get("/dash/newcomers", OPERATOR).await;
    assert!(list.contains("2 wait.") && list.contains("Eve") && list.contains("may I come in?"));
    let (_, overview) = dash.get("/dash/", OPERATOR).await;
    assert!(overview.contains("<strong>2</strong><span>newcomers waiting"), "{overview}");
    let one = format!("/dash/newcomers/one?id={}", eve.id);
    let (status, page) = dash.get(&one, OPERATOR).await;
    assert!(status == 200 && page.contains("Their chat gets a pairing link"), "{page}");
    let ask = format!("/dash/newcomers/refuse?id={}", mel.id);
    let (status, page) = dash.get(&ask, OPERATOR).await;
    assert!(status == 200 && page.contains("Refuse Mel?"), "{page}");
    let of = |id: &proto::Opaque| {
        let (dash, id) = (&dash, id.clone());
        async move { dash.ask(Daemon::Onbod, &GET_ADMISSION, &GetAdmission { id }).await }
    };
    assert_eq!(of(&mel.id).await.state, AdmissionState::Waiting, "asking is not doing");

    for subject in [ANN, BOB] {
        for (path, id) in [("approve", &eve.id), ("refuse", &mel.id)] {
            let path = format!("/dash/newcomers/{path}");
            let (status, said) = dash.post(&path, subject, &[("id", id.as_str())]).await;
            assert_eq!(status, 403, "{subject} {path}: {said}");
        }
    }
    let fields = [("id", eve.id.as_str()), ("note", " Welcome. ")];
    let (status, place) = dash.post("/dash/newcomers/approve", OPERATOR, &fields).await;
    assert_eq!((status, place), (303, format!("{one}&done=let-in")));
    let known = of(&eve.id).await;
    assert_eq!((known.state, known.note.as_deref()), (AdmissionState::Greeted, Some("Welcome.")));
    assert_eq!(known.decided_by.as_deref(), Some(OPERATOR));
    let fields = [("id", mel.id.as_str()), ("note", "")];
    dash.post("/dash/newcomers/refuse", OPERATOR, &fields).await;
    let known = of(&mel.id).await;
    assert_eq!((known.state, known.note), (AdmissionState::Refused, None));
    let (_, list) = dash.get("/dash/newcomers", OPERATOR).await;
    assert!(list.contains("Nobody waits.") && !list.contains("Mel"), "{list}");
    let (_, refused) = dash.get("/dash/newcomers?state=refused", OPERATOR).await;
    assert!(refused.contains("Mel") && !refused.contains("Eve"), "{refused}");
    assert_eq!(dash.get("/dash/newcomers/one?id=a-none", OPERATOR).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_is_shown_once_and_ended_after_a_question() {
    let dash = Dash::new().await;
    let fields = [("uses", "3"), ("days", "2"), ("template", "team/{person}")];
    let (status, page) = dash.post("/dash/invites", OPERATOR, &fields).await;
    assert_eq!(status, 200, "{page}");
    let (_, rest) = page.split_once("/onboard/invite/").unwrap();
    let token = rest.split('<').next().unwrap().to_owned();
    assert!(token.len() > 20, "{token}");
    let invites =
        || async { dash.ask(Daemon::Onbod, &LIST_INVITES, &Page::default()).await.invites };
    let made = invites().await.remove(0);
    assert_eq!((made.uses_max, made.folder_template.as_str()), (3, "team/{person}"));
    assert_eq!(made.expires_at.0 - made.created_at.0, 2 * 24 * 60 * 60 * 1_000);
    for path in ["/dash/invites", "/dash/audit", "/dash/newcomers"] {
        let (_, page) = dash.get(path, OPERATOR).await;
        assert!(!page.contains(&token), "{path} shows it again");
    }
    let ask = format!("/dash/invites/revoke?id={}", made.id);
    assert_eq!(dash.get(&ask, OPERATOR).await.0, 200);
    assert_eq!(invites().await[0].revoked_at, None, "asking is not doing");
    let fields = [("id", made.id.as_str())];
    assert_eq!(dash.post("/dash/invites/revoke", ANN, &fields).await.0, 403);
    assert_eq!(invites().await[0].revoked_at, None);
    assert_eq!(dash.post("/dash/invites/revoke", OPERATOR, &fields).await.0, 303);
    assert!(invites().await[0].revoked_at.is_some());
    for wrong in [[("uses", "0"), ("days", "2")], [("uses", "1"), ("days", "9999")]] {
        assert_eq!(dash.post("/dash/invites", OPERATOR, &wrong).await.0, 400, "{wrong:?}");
    }
    assert_eq!(invites().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_is_set_changed_and_closed_and_one_that_nobody_can_use_is_refused() {
    let dash = Dash::new().await;
    let gates = || async { dash.ask(Daemon::Onbod, &LIST_GATES, &Nothing {}).await.gates };
    let gate = |pattern: &'static str, per_day: &'static str| {
        let dash = &dash;
        async move {
            let fields = [("pattern", pattern), ("per_day", per_day)];
            dash.post("/dash/gates", OPERATOR, &fields).await
        }
    };
    let (status, said) = gate("user:github|*", "5").await;
    assert!(status == 400 && said.contains("nobody could come in by that gate"), "{said}");
    assert!(gates().await.is_empty());
    assert_eq!(gate("*", "5").await.0, 303);
    assert_eq!(gate("*", "2").await.0, 303);
    let known = gates().await;
    assert_eq!((known.len(), known[0].per_day), (1, 2));
    let (_, page) = dash.get("/dash/gates", OPERATOR).await;
    assert!(page.contains("everybody"), "{page}");
    assert_eq!(dash.get("/dash/gates/close?pattern=*", OPERATOR).await.0, 200);
    assert_eq!(dash.get("/dash/gates/close?pattern=x", OPERATOR).await.0, 404);
    assert_eq!(dash.post("/dash/gates/close", ANN, &[("pattern", "*")]).await.0, 403);
    assert_eq!(gates().await.len(), 1, "neither a question nor somebody else closed it");
    assert_eq!(dash.post("/dash/gates/close", OPERATOR, &[("pattern", "*")]).await.0, 303);
    assert!(gates().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomers_are_nobodys_business_but_an_operators() {
    let dash = Dash::new().await;
    dash.knock("telegram:user/7", "zephyr", "quartz").await;
    let gate = proto::onbod::Gate { pattern: "*".into(), per_day: 3 };
    dash.ask(Daemon::Onbod, &SET_GATE, &gate).await;
    for path in PAGES {
        for subject in [ANN, BOB] {
            let (status, page) = dash.get(path, subject).await;
            assert_eq!(status, 403, "{subject} {path}: {page}");
            assert!(!page.contains("zephyr") && !page.contains("quartz"), "{path}: {page}");
            assert!(!page.contains("href=\"/dash/newcomers\""), "{path}: no such menu");
        }
    }
    let (_, stream) = dash.get("/dash/newcomers/now", ANN).await;
    assert!(!stream.contains("data:"), "{stream}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_ended_after_a_question_by_an_operator_alone() {
    let dash = Dash::new().await;
    let (_, page) = dash.get("/dash/sessions", OPERATOR).await;
    assert!(page.contains("192.0.2.7") && page.contains("oidc domain example.org"), "{page}");
    let ask = "/dash/sessions/end?id=7&subject=user:ann";
    let (status, page) = dash.get(ask, OPERATOR).await;
    assert!(status == 200 && page.contains("The login of <code>user:ann</code>"), "{page}");
    assert_eq!(dash.get("/dash/sessions/end?id=8&subject=user:ann", OPERATOR).await.0, 404);
    assert_eq!(dash.post("/dash/sessions/end", BOB, &[("id", "7")]).await.0, 403);
    assert!(dash.ended.lock().unwrap().is_empty(), "neither a question nor somebody else ended it");
    let (status, place) = dash.post("/dash/sessions/end", OPERATOR, &[("id", "7")]).await;
    assert_eq!((status, place.as_str()), (303, "/dash/sessions?done=loggedout"));
    assert_eq!(*dash.ended.lock().unwrap(), [7]);
}
