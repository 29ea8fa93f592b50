//! An operator, somebody with one folder, somebody with none: each sees what is theirs, and does nothing else.

use crate::{
    pages::PAGES,
    rig::{ANN, BOB, Dash, OPERATOR},
};
use proto::{
    Daemon, Method, Nothing, Route,
    onbod::{CREATE_INVITE, NewInvite, SET_GATE},
    routd::{
        ADD_ROUTE, ADD_SCHEDULE, ISSUE_LINK, IssueLink, LIST_LINKS, LIST_ROUTES, LIST_SCHEDULES,
        LinkKind, ListSchedules, Missed, NewRoute, NewSchedule,
    },
};

/// A word for each folder's things, which is on no page of somebody else's.
const WORDS: [(&str, &str); 2] = [("corp/eng", "zephyr"), ("corp/ops", "quartz")];

async fn filled() -> Dash {
    let dash = Dash::new().await;
    for (folder, word) in WORDS {
        dash.say(&format!("web:{folder}~{word}"), word, &format!("{word} is said")).await;
        let new = NewSchedule {
            folder: folder.parse().unwrap(),
            chat_jid: None,
            topic: proto::Topic::default(),
            when: "@daily".into(),
            zone: None,
            missed: Missed::Once,
            content: format!("{word} every day"),
        };
        dash.call(&ADD_SCHEDULE, &new).await;
        let (pattern, target) = (format!("sender={word}"), folder.to_owned());
        dash.call(&ADD_ROUTE, &NewRoute { seq: 0, pattern, target }).await;
        let source = Some(word.to_owned());
        let link = IssueLink::unsigned(LinkKind::Hook, folder.parse().unwrap(), source);
        dash.call(&ISSUE_LINK, &link).await;
    }
    dash.say("telegram:group/7", "lost", "nobody answers").await;
    dash
}

/// Pages of folders' things.
const THEIRS: &[&str] = &[
    "/dash/chats",
    "/dash/messages",
    "/dash/messages?words=said",
    "/dash/turns",
    "/dash/schedules",
    "/dash/routes",
    "/dash/links",
];

#[tokio::test(flavor = "multi_thread")]
async fn each_sees_what_is_theirs_and_nothing_else() {
    let dash = filled().await;
    for path in THEIRS {
        for (subject, sees) in [(OPERATOR, [true, true]), (ANN, [true, false]), (BOB, [false; 2])] {
            let (status, page) = dash.get(path, subject).await;
            assert_eq!(status, 200, "{subject} {path}");
            for ((folder, word), sees) in WORDS.iter().zip(sees) {
                let there = page.contains(word) || page.contains(&format!(">{folder}<"));
                assert_eq!(there, sees, "{subject} {path} {folder}: {page}");
            }
            let lost = page.contains("nobody answers");
            assert!(!lost || subject == OPERATOR, "{subject} sees what went to no folder");
        }
    }
    let (_, folders) = dash.get("/dash/folders", ANN).await;
    assert!(folders.contains("corp/eng/sre") && !folders.contains("corp/ops"), "{folders}");
    let (_, first) = dash.get("/dash/", ANN).await;
    assert!(first.contains("corp/eng") && !first.contains("corp/ops"), "{first}");
    assert!(!first.contains("/dash/secrets") && !first.contains("/dash/audit"), "no such menu");
    let (_, first) = dash.get("/dash/", BOB).await;
    assert!(first.contains("No folder is yours yet") && !first.contains("corp"), "{first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_folders_names_and_ids_open_nothing() {
    let dash = filled().await;
    let all = dash.call(&LIST_SCHEDULES, &ListSchedules::default()).await.schedules;
    let of_ops = all.iter().find(|one| one.folder.as_str() == "corp/ops").unwrap().id.to_string();
    let links = dash.call(&LIST_LINKS, &Nothing {}).await.links;
    let link = links.iter().find(|one| one.folder.as_str() == "corp/ops").unwrap().id.to_string();
    let reads = [
        "/dash/folders/one?folder=corp/ops".to_owned(),
        "/dash/chats?folder=corp/ops".to_owned(),
        "/dash/messages?folder=corp/ops".to_owned(),
        "/dash/turns?folder=corp/ops".to_owned(),
        "/dash/trace?id=quartz".to_owned(),
        "/dash/schedules?folder=corp/ops".to_owned(),
        format!("/dash/schedules/one?id={of_ops}"),
        format!("/dash/schedules/remove?id={of_ops}"),
        format!("/dash/links/revoke?id={link}"),
        "/dash/usage?folder=corp/ops".to_owned(),
    ];
    for path in &reads {
        for subject in [ANN, BOB] {
            let (status, page) = dash.get(path, subject).await;
            assert!(matches!(status, 403 | 404), "{subject} {path}: {status}");
            assert!(!page.contains("quartz is said") && !page.contains("every day"), "{page}");
        }
        assert!(dash.get(path, OPERATOR).await.0 == 200, "{path}");
    }
    let chat = dash.get("/dash/messages?chat=web:corp/ops~quartz", ANN).await;
    assert!(chat.0 == 200 && !chat.1.contains("is said"), "a chat of somebody else is empty");
    let row = dash.call(&LIST_ROUTES, &Nothing {}).await.routes;
    let row = row.iter().find(|row| row.target == "corp/ops").unwrap().id.to_string();
    let key = ("key", "k1");
    let writes: [(&str, Vec<(&str, &str)>); 10] = [
        ("/dash/usage/cap", vec![("whose", "instance"), ("name", ""), ("daily_dollars", "1")]),
        ("/dash/schedules/do", vec![("id", &of_ops), ("what", "pause"), key]),
        ("/dash/schedules/do", vec![("id", &of_ops), ("what", "run"), key]),
        ("/dash/schedules/remove", vec![("id", &of_ops)]),
        ("/dash/links/revoke", vec![("id", &link)]),
        ("/dash/links", vec![("kind", "chat"), ("folder", "corp/ops")]),
        ("/dash/routes", vec![("match", ""), ("target", "corp/ops")]),
        ("/dash/routes/remove", vec![("id", &row)]),
        ("/dash/folders/remove", vec![("folder", "corp/ops")]),
        ("/dash/folders/cap", vec![("folder", "corp/ops"), ("daily_dollars", "1")]),
    ];
    let count = |page: &str| page.matches("role=\"row\"").count();
    let lists = ["/dash/schedules", "/dash/links", "/dash/routes", "/dash/folders", "/dash/usage"];
    let mut before = Vec::new();
    for path in lists {
        before.push(count(&dash.get(path, OPERATOR).await.1));
    }
    for (path, fields) in &writes {
        for subject in [ANN, BOB] {
            let (status, said) = dash.post(path, subject, fields).await;
            // Ending what one cannot see answers as ending nothing.
            let quiet = path.ends_with("/remove") || path.ends_with("/revoke");
            assert!(
                matches!(status, 403 | 404) || (quiet && status == 303),
                "{path} {status} {said}"
            );
        }
    }
    let active = dash.call(&LIST_SCHEDULES, &ListSchedules::default()).await.schedules;
    assert!(active.iter().all(|one| one.state == proto::routd::ScheduleState::Active));
    for (path, before) in lists.into_iter().zip(before) {
        assert_eq!(count(&dash.get(path, OPERATOR).await.1), before, "{path} is as it was");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_the_instance_is_for_operators() {
    let dash = filled().await;
    let whole = ["/dash/secrets", "/dash/services", "/dash/audit", "/dash/outbox", "/dash/runs"];
    for path in PAGES.iter().filter(|path| whole.iter().any(|whole| path.starts_with(whole))) {
        for subject in [ANN, BOB] {
            let (status, page) = dash.get(path, subject).await;
            assert_eq!(status, 403, "{subject} {path}: {page}");
            assert!(!page.contains("quartz") && !page.contains("127.0.0.1"), "{page}");
        }
    }
    for path in ["/dash/audit/export", "/dash/audit/verify"] {
        assert_eq!(dash.get(path, ANN).await.0, 403, "{path}");
    }
    for path in ["/dash/secrets/now", "/dash/now"] {
        let (_, stream) = dash.get(path, ANN).await;
        assert!(!stream.contains("data:"), "{path}: {stream}");
    }
    let refused = dash.post("/dash/secrets/refresh", ANN, &[]).await;
    assert_eq!(refused.0, 403, "{}", refused.1);
    let refused = dash.post("/dash/secrets/forget", ANN, &[("name", "CHANNEL_SECRET")]).await;
    assert_eq!(refused.0, 403, "{}", refused.1);
}

/// The query or the form of a route, about the other folder's things; `None` where there is nothing to say.
fn about(route: &Route, ids: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
    let id = |of: &str| ids.iter().find(|(name, _)| *name == of).unwrap().1.clone();
    let text = |pairs: &[(&'static str, &str)]| {
        pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect::<Vec<_>>()
    };
    match (route.method, route.path.trim_start_matches("/dash/")) {
        (_, "{*path}") => Vec::new(),
        (Method::Post, "gates") => text(&[("pattern", "*"), ("per_day", "9")]),
        (_, "" | "now" | "services" | "secrets" | "secrets/now" | "secrets/refresh") => Vec::new(),
        (_, "outbox" | "audit" | "audit/export" | "audit/verify" | "people" | "gates")
        | (Method::Get, "invites" | "sessions" | "newcomers" | "newcomers/now") => Vec::new(),
        (_, "runs" | "runs/now") => Vec::new(),
        (_, "services/figures") => text(&[("daemon", "routd")]),
        (_, "secrets/one" | "secrets/forget") => text(&[("name", "CHANNEL_SECRET")]),
        (_, "runs/one" | "runs/one/now" | "runs/stop") => text(&[("id", "r-1")]),
        (_, "trace") => text(&[("id", "quartz"), ("chat", "web:corp/ops~quartz")]),
        (Method::Get, "chats" | "messages" | "turns" | "schedules" | "usage")
        | (_, "folders/one" | "folders/remove" | "folders/model") => {
            text(&[("folder", "corp/ops")])
        }
        (Method::Get, "folders" | "links") => text(&[("part", "ops")]),
        (Method::Post, "folders") => text(&[("folder", "corp/ops"), ("harness", "offline")]),
        (Method::Get, "approvals") => text(&[("folder", "corp/ops")]),
        // No agent calls anything here, so nothing is held.
        (_, "approvals/one" | "approvals/approve" | "approvals/deny") => {
            text(&[("id", "ap-0123456789abcdef")])
        }
        (_, "usage/cap") => {
            text(&[("whose", "folder"), ("name", "corp/ops"), ("daily_dollars", "1")])
        }
        (_, "folders/persona") => {
            text(&[("folder", "corp/ops"), ("content", "an intruder was here")])
        }
        (_, "folders/cap") => text(&[("folder", "corp/ops"), ("daily_dollars", "1")]),
        (Method::Post, "schedules") => {
            text(&[("folder", "corp/ops"), ("when", "@daily"), ("content", "an intruder was here")])
        }
        (_, "schedules/one" | "schedules/remove") => vec![("id", id("schedule"))],
        (_, "schedules/do") => {
            vec![("id", id("schedule")), ("what", "run".into()), ("key", "k1".into())]
        }
        (Method::Get, "routes" | "routes/which") => text(&[("jid", "telegram:quartz")]),
        (Method::Post, "routes") => text(&[("match", "sender=x"), ("target", "corp/ops")]),
        (_, "routes/remove") => vec![("id", id("route"))],
        (Method::Get, "access" | "access/may") => {
            text(&[("who", "folder:corp/ops"), ("what", "mcp:send"), ("folder", "corp/ops")])
        }
        (_, "access" | "access/remove") => text(&[
            ("principal", "folder:corp/ops"),
            ("action", "mcp:send"),
            ("scope", "corp/ops"),
            ("effect", "allow"),
        ]),
        (Method::Post, "links") => text(&[("kind", "chat"), ("folder", "corp/ops")]),
        (_, "links/revoke") => vec![("id", id("link"))],
        (_, "newcomers/one" | "newcomers/approve" | "newcomers/refuse") => {
            vec![("id", id("newcomer"))]
        }
        (Method::Post, "invites") => text(&[("uses", "1"), ("days", "1")]),
        (_, "invites/revoke") => vec![("id", id("invite"))],
        (_, "gates/close") => text(&[("pattern", "*")]),
        (_, "sessions/end") => text(&[("id", "7"), ("subject", ANN)]),
        (method, path) => panic!("say here what {} {path} would be asked", method.name()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_and_every_form_knows_whose_things_they_are() {
    let dash = filled().await;
    let knocks = dash.knock("telegram:user/7", "quartz", "quartz is said").await;
    let gate = proto::onbod::Gate { pattern: "*".into(), per_day: 0 };
    dash.ask(Daemon::Onbod, &SET_GATE, &gate).await;
    let invite = NewInvite { folder_template: None, uses: None, expires_in: None };
    let invite = dash.ask(Daemon::Onbod, &CREATE_INVITE, &invite).await.invite;
    let schedules = dash.call(&LIST_SCHEDULES, &ListSchedules::default()).await.schedules;
    let routes = dash.call(&LIST_ROUTES, &Nothing {}).await.routes;
    let links = dash.call(&LIST_LINKS, &Nothing {}).await.links;
    let ids = [
        (
            "schedule",
            schedules.iter().find(|s| s.folder.as_str() == "corp/ops").unwrap().id.to_string(),
        ),
        ("route", routes.iter().find(|r| r.target == "corp/ops").unwrap().id.to_string()),
        ("link", links.iter().find(|l| l.folder.as_str() == "corp/ops").unwrap().id.to_string()),
        ("newcomer", knocks.id.to_string()),
        ("invite", invite.id.to_string()),
    ];
    let before = dash.everything().await;
    let pages = dashd::ROUTES.iter().filter(|route| !route.path.contains("/assets/"));
    let mut tried = 0;
    for route in pages {
        let fields = about(route, &ids);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
        for subject in [ANN, BOB] {
            let (status, page) = match route.method {
                Method::Get => {
                    let query = serde_urlencoded::to_string(&fields).unwrap();
                    let path = route.path.replace("{*path}", "corp/ops");
                    dash.get(&format!("{path}?{query}"), subject).await
                }
                _ => dash.post(route.path, subject, &fields).await,
            };
            let place =
                format!("{subject} {} {}: {status} {page}", route.method.name(), route.path);
            // Ending what one cannot see answers as ending nothing.
            let quiet = route.path.ends_with("/remove") || route.path.ends_with("/revoke");
            // Nobody runs agents here, and who asks for runs learns that.
            let away = route.path.starts_with("/dash/runs") && status == 503;
            let fine = away
                || match route.method {
                    Method::Get => matches!(status, 200 | 403 | 404),
                    _ => matches!(status, 403 | 404) || (quiet && status == 303),
                };
            assert!(fine, "{place}");
            assert!(!page.contains("quartz is said") && !page.contains("quartz every"), "{place}");
            // The page that asks before a right is taken away repeats the question, and knows nothing.
            let repeats = route.path == "/dash/access/remove";
            assert!(repeats || !page.contains(&format!(">{}<", "corp/ops")), "{place}");
            tried += 1;
        }
    }
    assert_eq!(tried, 2 * (dashd::ROUTES.len() - 1), "each once for each person");
    assert_eq!(dash.everything().await, before, "nothing was done");
}
