//! The admin socket.

use crate::rig::World;
use auth::Kind;
use proto::{Endpoint, Needs, Nothing, authd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

#[tokio::test]
async fn the_operator_gets_a_token_of_five_minutes_for_every_daemon() {
    let world = World::new();
    let authd = world.start().await;
    let token = authd.admin().call(&authd::OPERATOR_TOKEN, &Default::default()).await.unwrap();
    assert_eq!((token.expires_in, token.scope.as_slice()), (300, ["*:*".to_owned()].as_slice()));
    assert_eq!(token.fingerprint_key, None, "it is for services");
    for daemon in ["routd", "runed", "authd"] {
        let caller = authd.verify(&token.token, daemon, Kind::Operator).await.unwrap();
        assert_eq!(caller.subject().as_str(), "operator:local");
        assert!(caller.may("secrets:write"));
    }
    let rows = authd.audit().await;
    let row = rows.iter().find(|row| row.action == "token.operator").unwrap();
    assert!(row.detail.contains(&format!("process {}", std::process::id())), "{row:?}");
}

#[tokio::test]
async fn the_socket_is_this_users_alone_and_serves_nothing_else() {
    let world = World::new();
    let authd = world.start().await;
    let path = authd.context.run_dir().join("admin.sock");
    let found = std::fs::metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let run = std::fs::metadata(authd.context.run_dir()).unwrap();
    assert_eq!(run.permissions().mode() & 0o777, 0o700);

    let others: [Endpoint<Nothing, serde_json::Value>; 4] = [
        Endpoint::post("/v1/service-token", Needs::Nobody, ""),
        Endpoint::get("/v1/audit", Needs::Nobody, ""),
        Endpoint::post("/v1/secrets/forget", Needs::Nobody, ""),
        Endpoint::get("/openapi.json", Needs::Nobody, ""),
    ];
    for other in others {
        let refused = authd.admin().call(&other, &Nothing {}).await.unwrap_err();
        assert_eq!(refused.status(), Some(404), "{}", other.route.path);
    }
    let get: Endpoint<Nothing, serde_json::Value> =
        Endpoint::get("/v1/operator-token", Needs::Nobody, "");
    assert_eq!(authd.admin().call(&get, &Nothing {}).await.unwrap_err().status(), Some(405));
    // And the other way round: what the socket serves is nowhere else.
    for route in authd::ADMIN_ROUTES {
        let status = authd.post(route.path).json(&Nothing {}).send().await.unwrap().status();
        assert_eq!(status, 404, "{}", route.path);
    }
    authd.stop().await;
    assert!(!path.exists(), "the socket goes with its daemon");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_refused_with_the_way_out() {
    let mut world = World::new();
    let deep = world.dir.path().join("d".repeat(110));
    std::fs::create_dir(&deep).unwrap();
    world.dir = tempfile::TempDir::new_in(&deep).unwrap();
    let Err(error) = world.try_start().await else { panic!("it started") };
    assert_eq!(error.exit_code(), 78);
    let text = error.to_string();
    assert!(text.contains("admin.sock") && text.contains("--data-dir"), "{text}");
}

#[tokio::test]
async fn a_second_authd_leaves_the_first_its_socket() {
    let world = World::new();
    let authd = world.start().await;
    let Err(error) = world.try_start().await else { panic!("two authds share a database") };
    assert_eq!(error.exit_code(), 75);
    assert!(!authd.operator().await.is_empty(), "the first goes on");
}
