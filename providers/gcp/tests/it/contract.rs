//! What every provider does, and what is told of versions.

use crate::{at, previous, source, until, versions};
use secrets::{SecretSource, testing::conforms};
use serde_json::json;
use std::process::Command;
use stores::{
    gcp::Gcp,
    proxy::Proxy,
    reading::{CANARY, name, value},
};

const LINES: &str = "canary-line-one\nline two ü";

#[tokio::test]
async fn a_secret_is_a_source_like_any_other_in_either_form() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"FIRST": CANARY, "SECOND": LINES, "lower": "no name"}));
    gcp.add("az-FIRST", CANARY.as_bytes());
    gcp.add("az-SECOND", LINES.as_bytes());
    let (first, second, absent) = (name("FIRST"), name("SECOND"), name("ABSENT"));
    for secret in ["az", "az-*"] {
        let source = source(&gcp, secret, "");
        let values = ((&first, CANARY.as_bytes()), (&second, LINES.as_bytes()));
        conforms(&source, values.0, values.1, &absent).await;
        assert!(source.is_remote() && !source.is_static());
    }
    gcp.assert_unsaid(&[CANARY, "canary-line-one"]);
}

#[tokio::test]
async fn the_version_before_is_the_previous_value_of_what_differs_in_it() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"MOVES": "canary-moves-one", "STAYS": CANARY}));
    let first = source(&gcp, "az", "");
    assert_eq!(versions(&first, "MOVES").await.id, "1");
    gcp.put("az", &json!({"MOVES": "canary-moves-two", "STAYS": CANARY}));
    for source in [&first, &source(&gcp, "az", "")] {
        let (moves, stays) = (versions(source, "MOVES").await, versions(source, "STAYS").await);
        assert_eq!(moves.current.text().unwrap(), "canary-moves-two");
        assert_eq!(previous(&moves), Some("canary-moves-one"));
        assert_eq!(previous(&stays), None, "it did not change");
        assert_eq!((moves.id.as_str(), stays.id.as_str()), ("2", "2"));
        assert!(moves.changed_at.unwrap() > stays.changed_at.unwrap());
    }
    // The one before that is enabled: what is disabled in between is skipped.
    gcp.put("az", &json!({"MOVES": "canary-moves-bad", "STAYS": CANARY}));
    gcp.set_state("az", 3, "DISABLED");
    gcp.put("az", &json!({"MOVES": "canary-moves-four", "STAYS": CANARY}));
    assert_eq!(previous(&versions(&first, "MOVES").await), Some("canary-moves-two"));
    // A version that is disabled or destroyed is nobody's previous value, now and for a new process.
    gcp.set_state("az", 1, "DESTROYED");
    gcp.set_state("az", 2, "DISABLED");
    for source in [&first, &source(&gcp, "az", "")] {
        let moves = versions(source, "MOVES").await;
        assert_eq!(moves.current.text().unwrap(), "canary-moves-four");
        assert_eq!(previous(&moves), None, "what was disabled came back");
    }
    assert_eq!(gcp.count("/versions/3:access"), 0, "a disabled version was read");
    assert_eq!(gcp.count("/versions/latest:access"), 0, "a value was read by another name");
    gcp.assert_unsaid(&[CANARY, "canary-moves-one", "canary-moves-two", "canary-moves-four"]);
}

#[tokio::test]
async fn what_was_replaced_is_told_for_one_overlap_and_not_held_longer() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": "canary-short-one"}));
    let overlap = std::time::Duration::from_millis(1_500);
    let short = provider_gcp::SecretManagerSource::new(&gcp.url("az", ""), overlap).unwrap();
    assert_eq!(previous(&versions(&short, "A").await), None);
    gcp.put("az", &json!({"A": "canary-short-two"}));
    assert_eq!(previous(&versions(&short, "A").await), Some("canary-short-one"));
    until("the overlap ends", async || previous(&versions(&short, "A").await).is_none()).await;
    let (accessed, listed) = (gcp.count(":access"), gcp.count("filter="));
    assert_eq!(versions(&short, "A").await.current.text().unwrap(), "canary-short-two");
    assert_eq!(gcp.count(":access"), accessed, "a value was read once more");
    assert_eq!(gcp.count("filter="), listed, "versions were listed after the overlap");
}

#[tokio::test]
async fn a_latest_that_is_behind_takes_nothing_back() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": "canary-lag-one"}));
    gcp.put("az", &json!({"A": "canary-lag-two"}));
    let source = source(&gcp, "az", "");
    assert_eq!(value(&source, "A").await.unwrap(), "canary-lag-two");
    gcp.lag("az", Some(1));
    assert_eq!(value(&source, "A").await.unwrap(), "canary-lag-two");
    assert_eq!(gcp.count("/versions/1:access"), 1, "as the previous value and never again");
    // A secret that is made anew begins with version 1 again, and is another one.
    gcp.lag("az", None);
    for anew in ["canary-lag-anew", "canary-lag-once-more"] {
        gcp.delete("az");
        gcp.put("az", &json!({"A": anew}));
        assert_eq!(value(&source, "A").await.unwrap(), anew);
    }
}

#[tokio::test]
async fn a_regional_secret_is_asked_for_where_it_is() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": "global"}));
    gcp.put("europe-west3/az", &json!({"A": CANARY}));
    let source = source(&gcp, "az", "&location=europe-west3");
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    assert!(source.place().ends_with("in europe-west3"), "{}", source.place());
    let elsewhere = |call: &String| call.contains("/secrets/az") && !call.contains("/locations/");
    assert!(!gcp.calls().iter().any(elsewhere), "{:?}", gcp.calls());
}

#[tokio::test]
async fn what_is_no_text_is_refused_by_name_and_the_others_go_on() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"TEXT": CANARY, "NUMBER": 7, "NONE": "", "DEEP": {"TEXT": CANARY}}));
    let source = source(&gcp, "az", "");
    assert_eq!(value(&source, "TEXT").await.unwrap(), CANARY);
    assert!(value(&source, "NUMBER").await.unwrap_err().contains("not a text"));
    assert!(value(&source, "DEEP").await.unwrap_err().contains("not a text"));
    assert_eq!(value(&source, "NONE").await.unwrap_err(), "it is empty");
    assert_eq!(value(&source, "ABSENT").await.unwrap_err(), "missing");
    gcp.assert_unsaid(&[CANARY]);
}

#[tokio::test]
async fn variables_of_googles_own_clients_have_no_effect() {
    if std::env::var_os("GCE_METADATA_HOST").is_some() {
        return;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["contract::the_version_before", "logins::"]);
    for (variable, value) in [
        ("GCE_METADATA_HOST", "127.0.0.1:1"),
        ("GCE_METADATA_IP", "127.0.0.1:1"),
        ("GCE_METADATA_ROOT", "127.0.0.1:1"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere"),
        ("GOOGLE_CLOUD_PROJECT", "elsewhere"),
        ("GOOGLE_CLOUD_QUOTA_PROJECT", "elsewhere"),
        ("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "elsewhere.example"),
        ("CLOUDSDK_CONFIG", "/nowhere"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
    ] {
        again.env(variable, value);
    }
    let out = again.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}");
    assert!(said.contains("test result: ok") && !said.contains("ok. 0 passed"), "{said}");
}

#[tokio::test]
async fn the_calls_of_a_look_are_few_and_those_that_cost_fewer() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": CANARY}));
    let proxy = Proxy::before(gcp.port()).await;
    let source = at(&gcp.url_at(&proxy.base(), "az", ""));
    for _ in 0..10 {
        assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    }
    assert_eq!(proxy.count("/token"), 1);
    assert_eq!(proxy.count("/versions/latest"), 10, "{:?}", proxy.requests());
    assert_eq!(proxy.count(":access"), 1, "one value is read once");
    // Where the version is new, which ones are enabled is asked once, and while one before is held.
    assert_eq!(proxy.count("filter="), 1, "{:?}", proxy.requests());
    assert_eq!(proxy.requests().len(), 13);
    // A change is two values, and while the first of them counts, whether it is still enabled.
    gcp.put("az", &json!({"A": "canary-moved"}));
    for _ in 0..5 {
        assert_eq!(value(&source, "A").await.unwrap(), "canary-moved");
    }
    assert_eq!((proxy.count(":access"), proxy.count("filter=")), (3, 6), "{:?}", proxy.requests());
    assert_eq!(proxy.requests().len(), 13 + 5 + 5 + 2);
}
