//! What a secret and a server can be in, each told as what it is; and that none of it takes a value away.

use crate::source::{assert_unsaid, source, through};
use secrets::testing;
use serde_json::json;
use std::sync::Arc;
use stores::{
    LIMIT,
    moto::Moto,
    proxy::{Mode, Proxy},
    reading::{A, CANARY, value},
};

#[tokio::test]
async fn an_outage_and_deletions_take_nothing_from_a_running_daemon() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let proxy = Proxy::before(moto.port()).await;
    let source = Arc::new(through(&proxy, &moto, "az"));
    let keeper = testing::keep(vec![source.clone()], testing::policy());
    let secrets = keeper.for_daemon("d");
    let mut watched = secrets.watch(&A).await.unwrap();
    let live = watched.clone();
    let still = async |expected: &str| {
        keeper.refresh("test").await;
        let error = value(&*source, "A").await.unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert_eq!(live.current().as_str(), CANARY, "{expected} took a value away");
    };
    let sm = "secretsmanager";
    proxy.mode(Mode::Reset);
    still("the connection broke").await;
    proxy.mode(Mode::Pass);
    assert_eq!(value(&*source, "A").await.unwrap(), CANARY);

    moto.ok(sm, "delete_secret", &json!({"SecretId": "az", "RecoveryWindowInDays": 7}));
    still("az is scheduled for deletion; restore it").await;
    moto.ok(sm, "restore_secret", &json!({"SecretId": "az"}));
    assert_eq!(value(&*source, "A").await.unwrap(), CANARY);

    moto.put_secret_value("az", "canary-no-json-object");
    still("refused: ").await;
    still("does not hold a JSON object").await;

    moto.ok(sm, "delete_secret", &json!({"SecretId": "az", "ForceDeleteWithoutRecovery": true}));
    still("missing").await;

    // A secret that is made anew under its name is another one.
    moto.put_secret_value("az", &json!({"A": "canary-made-anew"}).to_string());
    keeper.refresh("test").await;
    let anew = tokio::time::timeout(LIMIT, async {
        while watched.current().as_str() != "canary-made-anew" {
            watched.changed().await;
        }
    });
    anew.await.unwrap();
    assert_unsaid(&["canary-made-anew", "canary-no-json-object"]);
}

#[tokio::test]
async fn a_rotation_function_that_got_stuck_leaves_what_is_current() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    // Its label is on a version that holds nothing.
    let ask =
        json!({"SecretId": "az", "ClientRequestToken": "0f8fad5b-d9cb-469f-a165-70867728950e"});
    moto.ok("secretsmanager", "rotate_secret", &ask);
    let source = source(&moto, "az");
    let now = value(&source, "A").await;
    // moto calls that version current, which AWS does not; either way nothing is made up.
    assert!(
        now.as_deref() == Ok(CANARY)
            || now.as_ref().is_err_and(|said| said.contains("keep changing")),
        "{now:?}"
    );
    assert_unsaid(&[]);
}
