//! Forms: from our own pages alone, asked before what cannot be taken back, and done by the owner.

use crate::rig::{ANN, BOB, Dash, HOST, OPERATOR};
use proto::{
    Nothing,
    routd::{
        LIST_CAPS, LIST_GROUPS, LIST_LINKS, LIST_ROUTES, LIST_SCHEDULES, ListSchedules, PERSONA,
        PersonaOf, ScheduleState,
    },
    turn::Harness,
};

async fn routes(dash: &Dash) -> usize {
    dash.call(&LIST_ROUTES, &Nothing {}).await.routes.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_one_of_our_pages_did_not_send_does_nothing() {
    let dash = Dash::new().await;
    let (good, of_ann) = (dash.code(OPERATOR).await, dash.code(ANN).await);
    let before = routes(&dash).await;
    let origin = format!("https://{HOST}");
    for (code, site, from, cookie) in [
        ("", Some("same-origin"), origin.as_str(), None),
        ("x", Some("same-origin"), &origin, None),
        (of_ann.as_str(), Some("same-origin"), &origin, None),
        (good.as_str(), Some("cross-site"), &origin, None),
        (&good, Some("same-site"), &origin, None),
        (&good, Some("none"), &origin, None),
        (&good, Some("same-origin"), "https://evil.example", None),
        (&good, None, "null", None),
        (&good, None, "", None),
        // The right person, in another browser.
        (&good, Some("same-origin"), &origin, Some("0".repeat(32))),
    ] {
        let fields = [("csrf", code), ("match", "platform=x"), ("target", "corp/eng")];
        let mut request = dash.request("POST", "/dash/routes", OPERATOR).form(&fields);
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        if !from.is_empty() {
            request = request.header("origin", from);
        }
        let mut request = request.build().unwrap();
        if let Some(cookie) = &cookie {
            let cookie = format!("arizuko_dash={cookie}").parse().unwrap();
            request.headers_mut().insert("cookie", cookie);
        }
        let answer = reqwest::Client::new().execute(request).await.unwrap();
        assert_eq!(answer.status(), 403, "{code:?} {site:?} {from} {cookie:?}");
    }
    assert_eq!(routes(&dash).await, before, "nothing was added");
    let fields = [("match", "platform=x"), ("target", "corp/eng")];
    let (status, place) = dash.post("/dash/routes", OPERATOR, &fields).await;
    assert_eq!((status, place.as_str()), (303, "/dash/routes?done=added"));
    assert_eq!(routes(&dash).await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_back_asks_first_and_reading_changes_nothing() {
    let dash = Dash::new().await;
    let fields = [("seq", "5"), ("match", "platform=x"), ("target", "corp/eng")];
    dash.post("/dash/routes", OPERATOR, &fields).await;
    let row = dash.call(&LIST_ROUTES, &Nothing {}).await.routes.remove(0);
    let id = row.id.to_string();
    let ask = format!("/dash/routes/remove?id={id}");
    let (status, page) = dash.get(&ask, OPERATOR).await;
    assert!(status == 200 && page.contains("Remove this route?") && page.contains("platform=x"));
    assert!(page.contains("Leave it as it is"), "{page}");
    assert_eq!(routes(&dash).await, 1, "asking is not doing");
    let (status, _) = dash.post("/dash/routes/remove", OPERATOR, &[("id", &id)]).await;
    assert_eq!(status, 303);
    assert_eq!(routes(&dash).await, 0);
    let (status, _) = dash.get(&ask, OPERATOR).await;
    assert_eq!(status, 404);

    dash.get("/dash/folders/remove?folder=other", OPERATOR).await;
    let folders = || async { dash.call(&LIST_GROUPS, &Nothing {}).await.groups.len() };
    let count = folders().await;
    dash.post("/dash/folders/remove", OPERATOR, &[("folder", "other")]).await;
    assert_eq!(folders().await, count - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_shown_once_and_ends_when_it_is_told_to() {
    let dash = Dash::new().await;
    let fields = [("kind", "chat"), ("folder", "corp/eng"), ("source", ""), ("signature", "")];
    let (status, page) = dash.post("/dash/links", OPERATOR, &fields).await;
    assert_eq!(status, 200);
    let (_, rest) = page.split_once("href=\"/chat/").unwrap();
    let token = rest.split('/').next().unwrap().to_owned();
    assert!(token.len() > 20, "{token}");
    for path in ["/dash/links", "/dash/audit", "/dash/"] {
        let (_, page) = dash.get(path, OPERATOR).await;
        assert!(!page.contains(&token), "{path} shows it again");
    }
    let links = dash.call(&LIST_LINKS, &Nothing {}).await.links;
    let id = links[0].id.to_string();
    let (status, _) = dash.get(&format!("/dash/links/revoke?id={id}"), OPERATOR).await;
    assert_eq!(status, 200);
    dash.post("/dash/links/revoke", OPERATOR, &[("id", &id)]).await;
    assert!(dash.call(&LIST_LINKS, &Nothing {}).await.links.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_made_paused_fired_and_removed_by_their_owner() {
    let dash = Dash::new().await;
    let fields = [
        ("folder", "corp/eng"),
        ("when", "@daily"),
        ("zone", "UTC"),
        ("chat", ""),
        ("missed", "once"),
        ("content", "good\r\nmorning"),
    ];
    let (status, place) = dash.post("/dash/schedules", OPERATOR, &fields).await;
    assert_eq!(status, 303, "{place}");
    let all = || async { dash.call(&LIST_SCHEDULES, &ListSchedules::default()).await.schedules };
    let made = all().await.remove(0);
    assert_eq!(made.content, "good\nmorning");
    let id = made.id.to_string();
    let change = |what: &'static str, key: &'static str| {
        let (dash, id) = (&dash, id.clone());
        async move {
            let fields = [("id", id.as_str()), ("what", what), ("key", key)];
            dash.post("/dash/schedules/do", OPERATOR, &fields).await
        }
    };
    assert_eq!(change("pause", "").await.0, 303);
    assert_eq!(all().await[0].state, ScheduleState::Paused);
    assert_eq!(change("resume", "").await.0, 303);
    assert_eq!(all().await[0].state, ScheduleState::Active);
    assert_eq!(change("run", "once").await.0, 303);
    assert_eq!(change("run", "once").await.0, 303, "pressed twice");
    let (_, page) = dash.get(&format!("/dash/schedules/one?id={id}"), OPERATOR).await;
    assert_eq!(page.matches("fired by hand").count(), 1, "{page}");
    assert_eq!(change("explode", "").await.0, 400);
    let ask = format!("/dash/schedules/remove?id={id}");
    let (status, page) = dash.get(&ask, OPERATOR).await;
    assert!(status == 200 && page.contains("Remove this schedule?"), "{page}");
    assert_eq!(all().await.len(), 1, "asking is not doing");
    dash.post("/dash/schedules/remove", BOB, &[("id", &id)]).await;
    assert_eq!(all().await.len(), 1, "nor is it somebody else's to remove");
    assert_eq!(dash.post("/dash/schedules/remove", OPERATOR, &[("id", &id)]).await.0, 303);
    assert!(all().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn caps_are_set_by_their_owner() {
    let dash = Dash::new().await;
    let fields = [
        ("folder", "corp/eng"),
        ("daily_dollars", "2.50"),
        ("monthly_dollars", ""),
        ("daily_tokens", ""),
        ("monthly_tokens", "1000"),
    ];
    dash.post("/dash/folders/cap", OPERATOR, &fields).await;
    let cap = dash.call(&LIST_CAPS, &Nothing {}).await.caps.remove(0);
    assert_eq!(cap.limits.daily_micro_dollars, Some(2_500_000));
    assert_eq!((cap.limits.monthly_micro_dollars, cap.limits.daily_tokens), (None, None));
    assert_eq!(cap.limits.monthly_tokens, Some(1_000));
    let (_, page) = dash.get("/dash/folders/one?folder=corp/eng", OPERATOR).await;
    assert!(page.contains("$0.0000 of $2.5000"), "{page}");

    for (whose, name, of) in
        [("person", "telegram:user/42", "person:telegram:user/42"), ("instance", "", "instance")]
    {
        let fields = [("whose", whose), ("name", name), ("daily_dollars", "1")];
        assert_eq!(dash.post("/dash/usage/cap", OPERATOR, &fields).await.0, 303);
        let caps = dash.call(&LIST_CAPS, &Nothing {}).await.caps;
        assert!(caps.iter().any(|cap| cap.of.to_string() == of), "{caps:?}");
    }
    let (_, page) = dash.get("/dash/usage", OPERATOR).await;
    assert!(page.contains("the whole instance") && page.contains("telegram:user/42"), "{page}");
    let fields = [("whose", "person"), ("name", ""), ("daily_dollars", "1")];
    assert_eq!(dash.post("/dash/usage/cap", OPERATOR, &fields).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_given_denied_and_taken_away_by_their_owner() {
    let dash = Dash::new().await;
    let right = [
        ("principal", "folder:corp/ops"),
        ("action", "mcp:send"),
        ("scope", "corp/eng"),
        ("effect", "allow"),
    ];
    assert_eq!(dash.post("/dash/access", OPERATOR, &right).await.0, 303);
    let may = "/dash/access/may?who=folder:corp/ops&what=mcp:send&folder=corp/eng";
    let (_, answer) = dash.get(may, OPERATOR).await;
    assert!(answer.contains(">yes<"), "{answer}");
    // A row that denies is stronger, and is another row: taken away by itself.
    let denies = [right[0], right[1], right[2], ("effect", "deny")];
    assert_eq!(dash.post("/dash/access", OPERATOR, &denies).await.0, 303);
    let (_, answer) = dash.get(may, OPERATOR).await;
    assert!(answer.contains(">no<"), "{answer}");
    assert_eq!(dash.post("/dash/access/remove", OPERATOR, &denies).await.0, 303);
    let (_, answer) = dash.get(may, OPERATOR).await;
    assert!(answer.contains(">yes<"), "{answer}");
    assert_eq!(dash.post("/dash/access/remove", OPERATOR, &right).await.0, 303);
    let (_, answer) = dash.get(may, OPERATOR).await;
    assert!(answer.contains(">no<"), "{answer}");
    let bad = [("principal", "nobody"), ("action", "x"), ("scope", "corp"), ("effect", "allow")];
    let (status, page) = dash.post("/dash/access", OPERATOR, &bad).await;
    assert!(status == 400 && page.contains("is no principal"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_administers_a_folder_says_there_who_its_agent_is() {
    let dash = Dash::new().await;
    let of = |folder: &str| PersonaOf { folder: folder.parse().unwrap() };
    let post = |subject: &'static str, folder: &'static str, content: &'static str| {
        let dash = &dash;
        async move {
            let fields = [("folder", folder), ("content", content)];
            dash.post("/dash/folders/persona", subject, &fields).await
        }
    };
    let place = "/dash/folders/one?folder=corp%2Feng&done=saved";
    let said = post(ANN, "corp/eng", "\r\nYou are Ann's.\r\nBe <b>brief</b>.\r\n").await;
    assert_eq!(said, (303, place.to_owned()));
    assert_eq!(
        dash.call(&PERSONA, &of("corp/eng")).await.content,
        "You are Ann's.\nBe <b>brief</b>."
    );
    let (_, page) = dash.get("/dash/folders/one?folder=corp/eng", OPERATOR).await;
    let shown = "You are Ann's.\nBe &lt;b&gt;brief&lt;/b&gt;.";
    assert!(page.contains(&format!("tabindex=\"0\">{shown}</pre>")), "{page}");
    // A browser takes the first line end of a text area for none of its own.
    assert!(
        page.contains(&format!("aria-describedby=\"persona-hint\">\n{shown}</textarea>")),
        "{page}"
    );
    assert_eq!(post(ANN, "corp/ops", "a spy").await.0, 403);
    assert_eq!(post(BOB, "corp/eng", "a spy").await.0, 403);
    assert_eq!(dash.call(&PERSONA, &of("corp/ops")).await.content, "");
    assert_eq!(post(OPERATOR, "corp/eng", " ").await.0, 303);
    let (_, page) = dash.get("/dash/folders/one?folder=corp/eng", ANN).await;
    assert!(page.contains("Nothing is said of that.") && !page.contains("Be "), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_gets_a_model_of_its_own_and_the_instances_back() {
    let dash = Dash::new().await;
    let model = || async {
        let groups = dash.call(&LIST_GROUPS, &Nothing {}).await.groups;
        groups.into_iter().find(|group| group.folder.as_str() == "other").and_then(|g| g.model)
    };
    let page = || dash.get("/dash/folders/one?folder=other", OPERATOR);
    let back = "Give it the instance's model back";
    assert!(!page().await.1.contains(back), "it has the instance's");
    let fields = [("folder", "other"), ("harness", ""), ("model", "claude-haiku-5-5")];
    assert_eq!(dash.post("/dash/folders", OPERATOR, &fields).await.0, 303);
    assert_eq!(model().await.as_deref(), Some("claude-haiku-5-5"));
    // What is left blank stays.
    let fields = [("folder", "other"), ("harness", "builtin"), ("model", "")];
    assert_eq!(dash.post("/dash/folders", OPERATOR, &fields).await.0, 303);
    assert_eq!(model().await.as_deref(), Some("claude-haiku-5-5"));
    assert!(page().await.1.contains(back));
    assert_eq!(dash.post("/dash/folders/model", ANN, &[("folder", "other")]).await.0, 404);
    assert_eq!(dash.post("/dash/folders/model", ANN, &[("folder", "corp/eng")]).await.0, 403);
    assert_eq!(model().await.as_deref(), Some("claude-haiku-5-5"));
    assert_eq!(dash.post("/dash/folders/model", OPERATOR, &[("folder", "other")]).await.0, 303);
    assert_eq!(model().await, None);
    assert!(!page().await.1.contains(back));
    let groups = dash.call(&LIST_GROUPS, &Nothing {}).await.groups;
    let other = groups.iter().find(|group| group.folder.as_str() == "other").unwrap();
    assert_eq!(other.harness, Some(Harness::Builtin), "the rest is as it was");
    // One that is out of service does not come back by it.
    dash.post("/dash/folders/remove", OPERATOR, &[("folder", "other")]).await;
    assert_eq!(dash.post("/dash/folders/model", OPERATOR, &[("folder", "other")]).await.0, 404);
    let groups = dash.call(&LIST_GROUPS, &Nothing {}).await.groups;
    assert!(groups.iter().all(|group| group.folder.as_str() != "other"), "{groups:?}");
}
