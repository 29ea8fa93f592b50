//! People log in through the edge, by an OpenID provider that others wrote.

use crate::harness::Suite;
use reqwest::{Client, StatusCode, header};
use std::collections::BTreeMap;
use stores::provider::Provider;

/// A browser: cookies, and redirects that are followed by hand.
struct Browser {
    http: Client,
    edge: String,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new(edge: &str) -> Self {
        let http = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { http: http.build().unwrap(), edge: edge.into(), cookies: BTreeMap::new() }
    }

    /// A page of the edge: its status, where it leads, and what it shows.
    async fn get(&mut self, path: &str) -> (StatusCode, String, String) {
        let jar: Vec<_> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let request = self.http.get(format!("{}{path}", self.edge));
        let answer = request.header(header::COOKIE, jar.join("; ")).send().await.unwrap();
        for set in answer.headers().get_all(header::SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.into(), value.into());
        }
        self.cookies.retain(|_, value| !value.is_empty());
        let location = answer.headers().get(header::LOCATION);
        let location = location.map(|to| to.to_str().unwrap().to_owned()).unwrap_or_default();
        (answer.status(), location, answer.text().await.unwrap())
    }

    async fn log_in(&mut self, provider: &Provider, name: &str) -> StatusCode {
        let (status, address, html) = self.get("/auth/begin/oidc").await;
        assert_eq!(status, 303, "{html}");
        let answer = provider.answer(name, &address).await;
        self.get(&format!("/auth/callback/oidc?{answer}")).await.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_through_the_edge_and_a_new_client_secret_needs_no_restart() {
    let mut suite = Suite::made();
    let edge = suite.edge();
    let host = edge.strip_prefix("http://").unwrap().to_owned();
    let back = format!("{edge}/auth/callback/oidc");
    let Some(provider) = Provider::start(&back).await else { return };
    suite.edit_dotenv(&[("OIDC_CLIENT_SECRET", "not-yet-the-right-one-0000000000000")]);
    suite.set("WEB_HOST", &host);
    suite.set("OIDC_ISSUER", &provider.issuer());
    suite.set("OIDC_CLIENT_ID", &provider.client);
    suite.set("OIDC_SCOPES", "openid email groups");
    suite.set("OIDC_ALLOWED_GROUPS", "staff");
    suite.start_apart();
    let pids = suite.pids();

    let mut browser = Browser::new(&edge);
    assert_eq!(browser.log_in(&provider, "bob").await, 502, "the provider knows no such secret");
    suite.edit_dotenv(&[("OIDC_CLIENT_SECRET", &provider.secret)]);
    assert_eq!(browser.log_in(&provider, "bob").await, 303);
    let (_, _, page) = browser.get("/auth/").await;
    assert!(page.contains("user:p") && page.contains("bob@example.org"), "{page}");
    let mut stranger = Browser::new(&edge);
    assert_eq!(stranger.log_in(&provider, "eve").await, 403);
    assert!(stranger.cookies.is_empty(), "{:?}", stranger.cookies.keys());

    let keys = suite.json(&["keys", "rotate"]);
    let state = |wanted: &str| {
        let all = keys["keys"].as_array().unwrap();
        all.iter().filter(|key| key["state"] == wanted).count()
    };
    assert_eq!((state("active"), state("pending")), (1, 1), "{keys}");
    assert!(suite.ok(&["keys", "list"]).contains("pending"));
    let (_, _, page) = browser.get("/auth/").await;
    assert!(page.contains("user:p"), "a session is no matter of keys: {page}");
    assert_eq!(suite.pids(), pids, "nothing was started again");

    // What no page of the edge may show.
    for daemon in ["authd", "proxyd"] {
        let log = suite.process(daemon).log_text();
        let session = &browser.cookies["arizuko_session"];
        assert!(!log.contains(session.as_str()), "{daemon} logs a cookie");
        assert!(!log.contains(&provider.secret), "{daemon} logs the client's secret");
        assert!(!log.contains("bob@example.org"), "{daemon} logs an address");
    }
    let (status, _, _) = browser.get("/v1/sessions").await;
    assert_eq!(status, 404, "the edge serves no daemon's own endpoints");
}
