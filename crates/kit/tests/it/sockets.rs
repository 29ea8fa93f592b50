//! Private Unix sockets.

use axum::extract::ConnectInfo;
use kit::{Api, Peer, PeerCred, testing};
use proto::{Daemon, Nothing, authd::LOGIN_LINK, authd::LoginLink, kit::HEALTH};
use std::os::unix::fs::PermissionsExt;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_socket_is_its_owners_alone_and_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    // As a process that was killed leaves it.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (context, _) = testing::Rig::new(Daemon::Authd, dir.path()).build().await;
    let mut api = Api::on_socket(&context);
    api.mount(LOGIN_LINK, (), |(), _, _| async {
        Ok(LoginLink { path: "/x".into(), expires_at: proto::Timestamp(0) })
    });
    let who = axum::routing::get(|ConnectInfo(peer): ConnectInfo<PeerCred>| async move {
        axum::Json(proto::kit::Health {
            status: format!("{:?}", peer.uid),
            daemon: Daemon::Authd,
            version: String::new(),
            pid: 0,
            started_at: proto::Timestamp(0),
        })
    });
    api.raw(HEALTH.route, who);
    let stop = CancellationToken::new();
    let socket = kit::bind_unix(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let served = tokio::spawn(socket.serve(api.into_router(), stop.clone()));

    let peer = Peer::on_socket("authd", &path).unwrap();
    assert_eq!(peer.call(&LOGIN_LINK, &Nothing {}).await.unwrap().path, "/x");
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(peer.call(&HEALTH, &Nothing {}).await.unwrap().status, format!("Some({uid})"));

    stop.cancel();
    drop(peer);
    tokio::time::timeout(std::time::Duration::from_secs(20), served).await.unwrap().unwrap();
    assert!(!path.exists(), "the socket's file is left behind");
}

#[tokio::test]
async fn what_needs_a_socket_is_not_served_over_tcp() {
    let dir = tempfile::tempdir().unwrap();
    let (context, authority) = testing::Rig::new(Daemon::Authd, dir.path()).build().await;
    let mut api = Api::new(&context);
    api.mount(LOGIN_LINK, (), |(), _, _| async {
        Ok(LoginLink { path: "/x".into(), expires_at: proto::Timestamp(0) })
    });
    let serving = testing::serve_daemon(&context, api.into_router()).await;
    let urls = [(Daemon::Authd, serving.url.clone())].into();
    let peers = kit::Peers::with_token(kit::http_client().unwrap(), urls, &authority.operator());
    let error = peers.get(Daemon::Authd).call(&LOGIN_LINK, &Nothing {}).await.unwrap_err();
    assert_eq!(error.status(), Some(403));
}

#[tokio::test]
async fn a_path_that_no_socket_can_have_is_refused_with_what_to_do() {
    let long = std::path::Path::new("/tmp").join("x".repeat(120));
    let error = kit::bind_unix(&long).unwrap_err();
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("--data-dir"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("precious");
    std::fs::write(&file, "mine").unwrap();
    assert!(kit::bind_unix(&file).is_err());
    assert_eq!(std::fs::read(&file).unwrap(), b"mine", "what is no socket was touched");
}

#[tokio::test]
async fn whoever_stops_late_leaves_the_socket_of_whoever_came_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let late = kit::bind_unix(&path).unwrap();
    let next = kit::bind_unix(&path).unwrap();
    drop(late);
    assert!(path.exists(), "the next one's socket is gone");
    drop(next);
    assert!(!path.exists(), "its own socket is left behind");
}
