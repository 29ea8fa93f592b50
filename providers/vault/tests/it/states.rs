//! What the server can be in, each told as what it is; and that none of it takes a value away.

use crate::bao::{A, Bao, CANARY, LIMIT, value};
use secrets::testing;
use serde_json::{Value, json};
use std::sync::Arc;

#[tokio::test]
async fn seals_kills_and_deletions_take_nothing_from_a_running_daemon() {
    let Some(mut bao) = Bao::start().await else { return };
    bao.put(json!({"A": CANARY})).await;
    let source = Arc::new(bao.source("kv/az"));
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

    bao.ok("PUT", "sys/seal", Value::Null).await;
    still("it is sealed").await;
    bao.unseal().await;
    assert_eq!(value(&*source, "A").await.unwrap(), CANARY);

    bao.kill();
    still("connection was refused").await;
    bao.run().await;
    still("it is sealed").await;
    bao.unseal().await;
    assert_eq!(value(&*source, "A").await.unwrap(), CANARY);

    bao.ok("DELETE", "kv/data/az", Value::Null).await;
    still("version 1 of it is deleted").await;
    bao.ok("POST", "kv/undelete/az", json!({"versions": [1]})).await;
    assert_eq!(value(&*source, "A").await.unwrap(), CANARY);
    bao.ok("PUT", "kv/destroy/az", json!({"versions": [1]})).await;
    still("version 1 of it is destroyed").await;
    bao.ok("DELETE", "kv/metadata/az", Value::Null).await;
    still("missing").await;

    // An entry that is made anew begins with version 1 again, and is another one all the same.
    bao.put(json!({"A": "canary-made-anew"})).await;
    keeper.refresh("test").await;
    let anew = tokio::time::timeout(LIMIT, async {
        while watched.current().as_str() != "canary-made-anew" {
            watched.changed().await;
        }
    });
    anew.await.unwrap();
    bao.assert_unsaid(&["canary-made-anew"]);
}

#[tokio::test]
async fn what_an_operator_must_put_right_is_told_apart() {
    let Some(bao) = Bao::start().await else { return };
    bao.put(json!({"A": CANARY})).await;
    bao.ok("POST", "old/az", json!({"A": CANARY})).await;
    bao.policy("other", "path \"kv/data/other\" { capabilities = [\"read\"] }").await;
    bao.policy("half", "path \"kv/metadata/az\" { capabilities = [\"read\"] }").await;
    let root = format!("auth=token&token_file={}", bao.file("root", &bao.root).display());
    let with = async |policy: &str| {
        format!("auth=token&token_file={}", bao.token(policy, "1h").await.display())
    };
    let wrong = format!("auth=token&token_file={}", bao.file("wrong", "s.nobodys").display());
    let broken = format!("auth=token&token_file={}", bao.file("broken", "s.b\u{7}").display());
    let absent = "auth=token&token_file=/nowhere/token".to_owned();
    for (entry, query, expected) in [
        ("kv/az", with("other").await, "denied: not allowed to read"),
        ("kv/az", with("other").await, "permission denied (403) for read kv/metadata/az"),
        ("kv/az", with("half").await, "permission denied (403) for read kv/data/az"),
        ("kv/az", wrong, "permission denied (403)"),
        ("kv/az", broken, "cannot stand in a header"),
        ("kv/az", absent, "/nowhere/token cannot be used for a login: it is not there"),
        ("kv/none", root.clone(), "missing"),
        ("nothing/az", root.clone(), "refused: "),
        ("nothing/az", root.clone(), "nothing is mounted at nothing"),
        ("kv/az", format!("{root}&namespace=none"), "nothing is mounted at auth/token"),
        ("old/az", root.clone(), "KV engine of the other version"),
        ("kv/az", format!("{root}&kv=1"), "KV engine of the other version"),
    ] {
        let error = value(&bao.at(&bao.base(), entry, &query), "A").await.unwrap_err();
        assert!(error.contains(expected), "{entry} {query}: {error}");
    }
    bao.assert_unsaid(&["s.nobodys"]);
}
