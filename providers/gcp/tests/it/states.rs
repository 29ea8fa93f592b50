//! What a secret and its project can be in, each told as what it is; and that none of it takes a value away.

use crate::source;
use secrets::testing;
use serde_json::json;
use std::sync::Arc;
use stores::{
    LIMIT,
    gcp::Gcp,
    reading::{A, CANARY, value},
};

#[tokio::test]
async fn nothing_that_happens_to_a_secret_takes_it_from_a_running_daemon() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": CANARY}));
    let source = Arc::new(source(&gcp, "az", ""));
    let keeper = testing::keep(vec![source.clone()], testing::policy());
    let mut watched = keeper.for_daemon("d").watch(&A).await.unwrap();
    let live = watched.clone();
    let still = async |expected: &str| {
        keeper.refresh("test").await;
        let error = value(&*source, "A").await.unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert_eq!(live.current().as_str(), CANARY, "{expected} took a value away");
    };
    let well = async || assert_eq!(value(&*source, "A").await.unwrap(), CANARY);

    gcp.deny("secretmanager.versions.get", "az");
    still("denied: not allowed to read gcp-sm://demo-project/az").await;
    gcp.allow_all();
    well().await;
    gcp.enable_api(false);
    still("the Secret Manager API is not enabled").await;
    gcp.enable_api(true);
    well().await;
    gcp.set_state("az", 1, "DISABLED");
    still("refused: gcp-sm://demo-project/az is refused: version 1, the newest, is disabled").await;
    gcp.set_state("az", 1, "ENABLED");
    well().await;
    gcp.add("az", b"canary-not-json");
    still("version 2 is not a JSON object of names and texts").await;
    gcp.damage("az", true);
    gcp.put("az", &json!({"A": "canary-damaged"}));
    still("the value of version 3 does not match its checksum").await;
    gcp.damage("az", false);
    gcp.set_state("az", 3, "DESTROYED");
    still("version 3, the newest, is destroyed").await;
    gcp.delete("az");
    still("missing").await;

    // A secret that is made anew begins with version 1 again, and is another one all the same.
    gcp.put("az", &json!({"A": "canary-made-anew"}));
    keeper.refresh("test").await;
    let anew = tokio::time::timeout(LIMIT, async {
        while watched.current().as_str() != "canary-made-anew" {
            watched.changed().await;
        }
    });
    anew.await.unwrap();
    gcp.assert_unsaid(&[CANARY, "canary-made-anew", "canary-not-json", "canary-damaged"]);
}

#[tokio::test]
async fn what_an_operator_must_put_right_is_told_apart() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": CANARY}));
    gcp.put("locked", &json!({"A": CANARY}));
    gcp.deny("secretmanager.versions.access", "locked");
    gcp.put("unlisted", &json!({"A": CANARY}));
    gcp.deny("secretmanager.versions.list", "unlisted");
    for (secret, more, expected) in [
        ("none", "", "missing"),
        ("locked", "", "denied: not allowed to read"),
        (
            "locked",
            "",
            "(403): secretmanager.versions.access on projects/demo-project/secrets/locked",
        ),
        (
            "unlisted",
            "",
            "(403): secretmanager.versions.list on projects/demo-project/secrets/unlisted",
        ),
        (
            "az",
            "&auth=service-account&credentials_file=/nowhere/key",
            "/nowhere/key cannot be used for a login: it is not there",
        ),
        ("az", "&calls_per_hour=60&location=europe-west3", "missing"),
    ] {
        let error = value(&source(&gcp, secret, more), "A").await.unwrap_err();
        assert!(error.contains(expected), "{secret} {more}: {error}");
    }
    let elsewhere = gcp.url("az", "").replace("demo-project/az", "other-project/az");
    let error = value(&crate::at(&elsewhere), "A").await.unwrap_err();
    assert!(error.starts_with("denied"), "another project's: {error}");
    gcp.assert_unsaid(&[CANARY]);
}
