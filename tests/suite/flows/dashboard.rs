//! The dashboard through the edge of a real suite, with a real login, in a real browser where there is one.
//!
//! `DASHBOARD_PICTURES`, a directory, keeps a picture of each page at each width and in each scheme.

use crate::harness::{Browser, LIMIT, Suite};
use std::{fs, path::PathBuf};

/// The pages, as an operator goes through them.
const PAGES: &[&str] = &[
    "",
    "secrets",
    "secrets/one?name=CHANNEL_SECRET",
    "secrets/forget?name=CHANNEL_SECRET",
    "services",
    "services/figures?daemon=routd",
    "chats",
    "messages",
    "turns",
    "outbox",
    "runs",
    "approvals",
    "schedules",
    "folders",
    "folders/one?folder=main",
    "folders/remove?folder=main",
    "routes?jid=telegram:group/7",
    "access?who=folder:main&what=admin&folder=main",
    "links",
    "newcomers",
    "newcomers?state=all",
    "people",
    "invites",
    "gates",
    "sessions",
    "usage",
    "audit",
    "audit/verify",
];

/// A suite with something to see.
fn filled() -> Suite {
    let suite = Suite::up();
    suite.ok(&["group", "add", "corp/eng"]);
    suite.ok(&["route", "add", "--match", "platform=telegram", "--target", "corp/eng"]);
    suite.ok(&["ask", "hello"]);
    suite.ok(&["ask", "--folder", "corp/eng", "how are you?"]);
    suite.ok(&["task", "add", "@daily", "what is new?"]);
    suite.ok(&["token", "issue", "--kind", "chat", "--folder", "main"]);
    suite
}

/// A link that logs one browser in.
fn link(suite: &Suite) -> String {
    let said = suite.ok(&["login"]);
    said.lines().find(|line| line.starts_with("http")).unwrap().to_owned()
}

/// The state of each daemon that has the secret, as one event of the page tells it.
fn generations(event: &str) -> Option<usize> {
    let (_, rest) = event.split_once("CHANNEL_SECRET, on each daemon")?;
    let (table, _) = rest.split_once("</table>")?;
    Some(table.matches("both accepted").count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_seen_on_every_daemon_by_whoever_is_logged_in_and_by_nobody_else() {
    kit::testing::install_crypto();
    let suite = Suite::up();
    let edge = suite.edge();
    let build = || reqwest::Client::builder().no_proxy().timeout(LIMIT);
    let http = build().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let page = format!("{edge}/dash/secrets");
    let forged = http.get(&page).header("x-user-subject", "operator:local");
    let answer = forged.header("x-user-act", "made-up").send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(!answer.text().await.unwrap().contains("CHANNEL_SECRET"));

    let answer = http.post(link(&suite)).header("sec-fetch-site", "same-origin").send().await;
    let answer = answer.unwrap();
    let cookie =
        answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let get = |path: &str| http.get(format!("{edge}/dash/{path}")).header("cookie", &cookie);
    assert_eq!(get("secrets").send().await.unwrap().status(), 200);
    let mut stream = get("secrets/now").send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let before = suite.dotenv("CHANNEL_SECRET");
    suite.ok(&["secrets", "rotate", "CHANNEL_SECRET"]);
    let mut text = String::new();
    let seen = async {
        while let Some(chunk) = stream.chunk().await.unwrap() {
            text.push_str(&String::from_utf8_lossy(&chunk));
            let newest = text.rsplit("\n\n").find(|event| generations(event).is_some());
            if newest.and_then(generations) == Some(4) {
                return true;
            }
        }
        false
    };
    assert_eq!(tokio::time::timeout(LIMIT, seen).await, Ok(true), "all take the new value");
    for value in [before, suite.dotenv("CHANNEL_SECRET"), suite.dotenv("SECRETS_KEY")] {
        assert!(!text.contains(&value), "a value is on the page");
    }
    drop(stream);
    assert_eq!(http.get(format!("{edge}/dash")).send().await.unwrap().status(), 308);
    let log_out = http.post(format!("{edge}/auth/logout")).header("cookie", &cookie);
    log_out.header("sec-fetch-site", "same-origin").send().await.unwrap();
    let over = async {
        while get("secrets").send().await.unwrap().status() != 401 {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(LIMIT, over).await.expect("a logout ends the dashboard too");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_and_can_be_read_at_three_widths_in_light_and_dark() {
    let suite = filled();
    let pictures = std::env::var_os("DASHBOARD_PICTURES").map(PathBuf::from);
    let mut found = Vec::new();
    for (width, is_dark) in [(360, false), (768, false), (1280, false), (360, true), (1280, true)] {
        let Some(browser) = Browser::start(width, is_dark).await else {
            return;
        };
        browser.open(&link(&suite)).await;
        browser.run("document.querySelector('form button').click()").await;
        browser
            .until("the login", "return document.body.innerText.includes('operator:local')")
            .await;
        let scheme = if is_dark { "dark" } else { "light" };
        for page in PAGES {
            browser.open(&format!("{}/dash/{page}", suite.edge())).await;
            let place = format!("{page} at {width} in {scheme}");
            let faults = browser.faults().await;
            found.extend(faults.iter().map(|fault| format!("{place}: {fault}")));
            let titled =
                "return document.title.endsWith('· test') && !!document.querySelector('main h1')";
            assert_eq!(browser.run(titled).await, true, "{place}");
            if let Some(dir) = &pictures {
                let name = page.split('?').next().unwrap().replace('/', "-");
                let name = if name.is_empty() { "overview" } else { &name };
                fs::create_dir_all(dir).unwrap();
                let path = dir.join(format!("{name}-{width}-{scheme}.png"));
                fs::write(path, browser.picture().await).unwrap();
            }
        }
        let complaints = browser.complaints().await;
        found.extend(complaints.iter().map(|line| format!("{width} in {scheme}: {line}")));
        browser.end().await;
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_follows_a_rotation_and_answers_while_one_types() {
    let suite = filled();
    let Some(browser) = Browser::start(1280, false).await else {
        return;
    };
    browser.open(&link(&suite)).await;
    browser.run("document.querySelector('form button').click()").await;
    browser.until("the login", "return document.body.innerText.includes('operator:local')").await;
    browser.open(&format!("{}/dash/secrets", suite.edge())).await;
    browser.run("window.sameDocument = true").await;
    suite.ok(&["secrets", "rotate", "CHANNEL_SECRET"]);
    let taken = "return document.body.innerText.split('both accepted').length === 5";
    browser.until("all four take the new value", taken).await;
    assert_eq!(browser.run("return window.sameDocument === true").await, true, "without a reload");
    browser.open(&format!("{}/dash/routes", suite.edge())).await;
    browser.type_into("#jid", "telegram:group/7").await;
    let told = "return document.querySelector('#verdict').innerText.includes('corp/eng')";
    browser.until("which rule takes it", told).await;
    let address = browser.run("return location.search").await;
    assert_eq!(address, "", "nothing was sent");
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
    browser.end().await;
}
