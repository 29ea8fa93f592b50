//! SECRETS_KEY rotates: while authd runs, across a restart, and with nothing to open the database.

use crate::rig::{Authd, SECRETS_KEY, SERVICE_KEY, World, until};
use auth::Kind;
use kit::StartError;
use std::{path::Path, time::Duration};

const NEWER: &str = "planted-newer-secrets-key-00000000000000000";

fn wraps(path: &Path) -> i64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    conn.query_row("SELECT count(*) FROM wraps", [], |row| row.get(0)).unwrap()
}

/// Every row of the database, as text.
fn rows(path: &Path) -> Vec<String> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    let mut rows = Vec::new();
    for table in ["wraps", "signing_keys", "sealed_values", "epochs", "sessions", "audit"] {
        let mut all = conn.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).unwrap();
        let columns = all.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let values = (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at));
            values.collect::<Result<Vec<_>, _>>()
        };
        let found = all.query_map([], row).unwrap();
        rows.extend(found.map(|values| format!("{table} {:?}", values.unwrap())));
    }
    rows
}

/// Why authd does not start, once an earlier one has let go of the database.
async fn refusal(world: &World) -> StartError {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        match world.try_start().await {
            Ok(_) => panic!("authd opened a database without its key"),
            Err(error) if error.exit_code() == 75 && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return error,
        }
    }
}

async fn works(authd: &Authd, token: &str, what: &str) {
    assert!(authd.verify(token, "routd", Kind::Service).await.is_ok(), "{what}");
    let fresh = authd.token("webd", SERVICE_KEY).await.token;
    assert!(authd.verify(&fresh, "routd", Kind::Service).await.is_ok(), "{what}");
}

#[tokio::test]
async fn a_running_authd_wraps_its_key_anew_and_starts_with_the_new_one_alone() {
    let world = World::new();
    let authd = world.start().await;
    let token = authd.token("webd", SERVICE_KEY).await.token;
    world.source.set([("SECRETS_KEY", NEWER)]);
    until("both wraps are there", || async { wraps(&world.database()) == 2 }).await;
    works(&authd, &token, "the rotation changes nothing for callers").await;
    authd.stop().await;

    let authd = world.start().await;
    works(&authd, &token, "the new key alone opens it").await;
    assert_eq!(wraps(&world.database()), 2, "the earlier wrap stays for the overlap");
    authd.stop().await;

    world.source.set_silently([("SECRETS_KEY", SECRETS_KEY)]);
    let authd = world.start().await;
    works(&authd, &token, "so going back works").await;
    let actions = authd.actions().await;
    assert_eq!(actions.iter().filter(|action| *action == "wrap.add").count(), 2, "{actions:?}");
}

#[tokio::test]
async fn going_back_with_a_restart_in_between_leaves_the_other_key_its_overlap() {
    let world = World::new();
    let authd = world.start().await;
    // The wrap under the first key is older than any overlap when it becomes the current one again.
    world.advance_minutes(2 * 24 * 60);
    world.source.set([("SECRETS_KEY", NEWER)]);
    until("both wraps are there", || async { wraps(&world.database()) == 2 }).await;
    world.advance_minutes(24 * 60);
    world.source.set([("SECRETS_KEY", SECRETS_KEY)]);
    until("the way back is in the log", || async {
        authd.actions().await.iter().filter(|action| *action == "wrap.add").count() == 3
    })
    .await;
    authd.stop().await;
    let authd = world.start().await;
    let token = authd.token("webd", SERVICE_KEY).await.token;
    works(&authd, &token, "the first key opens it").await;
    authd.stop().await;
    world.source.set_silently([("SECRETS_KEY", NEWER)]);
    let authd = world.start().await;
    works(&authd, &token, "so does the one that it took over from, for one overlap").await;
}

#[tokio::test]
async fn the_earlier_wrap_goes_when_the_overlap_has_ended() {
    let world = World::with_short_overlap();
    let authd = world.start().await;
    world.source.set([("SECRETS_KEY", NEWER)]);
    until("both wraps are there", || async { wraps(&world.database()) == 2 }).await;
    let rotated = tokio::time::Instant::now();
    until("the overlap of the keeper ends", || async { rotated.elapsed() > world.overlap }).await;
    // A rotation of signing keys has authd look at once; its own timer would in time.
    world.advance_minutes(30 * 24 * 60);
    until("one wrap is left", || async {
        authd.jwks().await;
        wraps(&world.database()) == 1
    })
    .await;
    assert_eq!(authd.status_of_token("webd", SERVICE_KEY).await, 200);
    authd.stop().await;

    world.source.set_silently([("SECRETS_KEY", SECRETS_KEY)]);
    let refused = refusal(&world).await;
    assert_eq!(refused.exit_code(), 78, "the first key opens nothing any more: {refused}");
}

#[tokio::test]
async fn a_rotation_while_authd_was_down_needs_the_earlier_key_once() {
    let world = World::new();
    let authd = world.start().await;
    let token = authd.token("webd", SERVICE_KEY).await.token;
    until("the first values are in the log", || async {
        authd.actions().await.iter().filter(|action| *action == "secret.load").count() == 2
    })
    .await;
    authd.stop().await;
    world.source.set_silently([("SECRETS_KEY", NEWER)]);
    let before = rows(&world.database());
    assert!(before.len() > 4, "{before:?}");

    let error = refusal(&world).await;
    assert_eq!(error.exit_code(), 78);
    let text = kit::chain(&error);
    assert!(text.contains("SECRETS_KEY_PREVIOUS") && text.contains("authd.db"), "{text}");
    assert!(!text.contains("planted"), "{text}");
    assert_eq!(rows(&world.database()), before, "no row was touched");

    world.source.set_silently([("SECRETS_KEY_PREVIOUS", SECRETS_KEY)]);
    let authd = world.start().await;
    works(&authd, &token, "with the earlier key beside it").await;
    authd.stop().await;
    world.source.remove("SECRETS_KEY_PREVIOUS");
    let authd = world.start().await;
    works(&authd, &token, "it was needed once").await;
}

#[tokio::test]
async fn forgetting_the_earlier_key_leaves_nothing_that_it_opens() {
    let world = World::new();
    let authd = world.start().await;
    let token = authd.token("webd", SERVICE_KEY).await;
    let kid = authd.jwks().await.keys.remove(0).kid;
    world.source.set([("SECRETS_KEY", NEWER)]);
    until("both wraps are there", || async { wraps(&world.database()) == 2 }).await;

    let operator = authd.operator().await;
    let body = serde_json::json!({ "name": "SECRETS_KEY" });
    let forget = authd.post("/v1/secrets/forget").bearer_auth(operator).json(&body);
    assert_eq!(forget.send().await.unwrap().status(), 200);
    until("another key signs", || async {
        let keys = authd.jwks().await.keys;
        keys.len() == 1 && keys[0].kid != kid
    })
    .await;
    assert_eq!(wraps(&world.database()), 1);
    assert!(authd.verify(&token.token, "routd", Kind::Service).await.is_err(), "its key is gone");
    let fresh = authd.token("webd", SERVICE_KEY).await;
    assert!(authd.verify(&fresh.token, "routd", Kind::Service).await.is_ok());
    assert_eq!(fresh.fingerprint_key, token.fingerprint_key, "what is sealed was sealed anew");
    authd.stop().await;
    world.source.set_silently([("SECRETS_KEY", SECRETS_KEY)]);
    let refused = refusal(&world).await;
    assert_eq!(refused.exit_code(), 78, "{refused}");
}

#[tokio::test]
async fn a_new_data_key_changes_every_sealed_row_and_no_token() {
    let world = World::new();
    let authd = world.start().await;
    let token = authd.token("webd", SERVICE_KEY).await;
    let sealed = || {
        let mut rows = rows(&world.database());
        rows.retain(|row| !row.starts_with("audit"));
        rows
    };
    let before = sealed();
    let operator = authd.operator().await;
    let rekey = |leaked: bool, bearer: &str| {
        let body = serde_json::json!({ "leaked": leaked });
        authd.post("/v1/secrets/rekey").bearer_auth(bearer).json(&body).send()
    };
    assert_eq!(rekey(true, &token.token).await.unwrap().status(), 403, "the operator's alone");
    assert_eq!(sealed(), before);

    assert_eq!(rekey(false, &operator).await.unwrap().status(), 200);
    let after = sealed();
    assert_eq!(after.len(), before.len());
    assert!(after.iter().all(|row| !before.contains(row)), "each row is sealed anew: {after:?}");
    works(&authd, &token.token, "nobody notices").await;
    let fresh = authd.token("webd", SERVICE_KEY).await;
    assert_eq!(fresh.fingerprint_key, token.fingerprint_key);

    assert_eq!(rekey(true, &operator).await.unwrap().status(), 200);
    assert!(authd.verify(&token.token, "routd", Kind::Service).await.is_err(), "its key is gone");
    assert_eq!(authd.status_of_token("webd", SERVICE_KEY).await, 200);
    authd.stop().await;
    let authd = world.start().await;
    let fresh = authd.token("webd", SERVICE_KEY).await;
    assert!(
        authd.verify(&fresh.token, "routd", Kind::Service).await.is_ok(),
        "after a restart too"
    );
}
