//! Every endpoint of every daemon, tried by somebody who may not.

use crate::harness::Suite;
use proto::{Daemon, Method, Needs, Route, authd, kit, routd, runed};

const EVERYWHERE: &[Route] = &[
    kit::HEALTH.route,
    kit::READY.route,
    kit::SECRETS.route,
    kit::REFRESH_SECRETS.route,
    kit::FORGET_SECRET.route,
];

fn routes(daemon: Daemon) -> Vec<Route> {
    let own: &[Route] = match daemon {
        Daemon::Authd => authd::ROUTES,
        Daemon::Routd => routd::ROUTES,
        Daemon::Runed => runed::ROUTES,
        _ => &[],
    };
    EVERYWHERE.iter().chain(own).copied().collect()
}

/// What a stranger might present: nothing, a guess, and tokens that are well formed and not ours.
fn credentials() -> Vec<Option<String>> {
    let stranger = ::kit::testing::TestAuthority::new(::kit::Clock::real());
    let none =
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", "eyJzdWIiOiJvcGVyYXRvcjpsb2NhbCJ9");
    vec![None, Some("guess-guess-guess-guess".into()), Some(stranger.operator()), Some(none)]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_refuses_who_may_not() {
    ::kit::testing::install_crypto();
    let suite = Suite::up();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let status = suite.json(&["status"]);
    let mut tried = 0;
    for of in status["daemons"].as_array().unwrap() {
        let daemon: Daemon = of["daemon"].as_str().unwrap().parse().unwrap();
        let address = of["address"].as_str().unwrap();
        for route in routes(daemon).iter().filter(|route| route.needs != Needs::Nobody) {
            let path: String = route.path.replace("{id}", "x1");
            let method = match route.method {
                Method::Get => reqwest::Method::GET,
                Method::Post => reqwest::Method::POST,
                Method::Put => reqwest::Method::PUT,
                Method::Delete => reqwest::Method::DELETE,
            };
            for credential in credentials() {
                let mut request = http.request(method.clone(), format!("{address}{path}"));
                if let Some(credential) = &credential {
                    request = request.bearer_auth(credential);
                }
                let answer = request.body(r#"{"daemon":"routd"}"#).send().await.unwrap();
                let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
                let place = format!("{daemon} {} {path}", route.method.name());
                assert_eq!(status, 401, "{place} with {credential:?}: {text}");
                assert!(text.contains("\"code\""), "{place} says why: {text}");
                tried += 1;
            }
        }
        // Nothing is served that its document does not list.
        let document = http.get(format!("{address}/openapi.json")).send().await.unwrap();
        let document: serde_json::Value = document.json().await.unwrap();
        for route in routes(daemon) {
            let listed = &document["paths"][route.path][route.method.name().to_lowercase()];
            assert!(listed.is_object(), "{daemon} does not list {}", route.path);
        }
    }
    assert!(tried > 100, "only {tried} refusals were tried");
    // The suite still works, and nothing that was asked for was done.
    assert_eq!(suite.ok(&["ask", "hello"]).trim(), "You said: hello");
    assert_eq!(suite.json(&["group", "list"])["groups"].as_array().unwrap().len(), 1);
}
