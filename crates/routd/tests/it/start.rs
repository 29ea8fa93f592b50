//! Starting, and who may call what.

use crate::stage::Stage;
use axum::{body::Body, http::Request};
use kit::testing::Rig;
use proto::{Daemon, Method, Needs, routd::ROUTES};
use tower::ServiceExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_whose_sockets_would_have_too_long_a_path_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(90));
    let (context, _) = Rig::new(Daemon::Routd, &deep)
        .secret("CHANNEL_SECRET", crate::stage::CHANNEL_SECRET)
        .secret("SECRETS_KEY", crate::stage::KEY)
        .build()
        .await;
    let error = routd::start(context).await.expect_err("its sockets could not be bound");
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("shorter --data-dir"), "{error}");
    assert!(!deep.join("store").exists(), "nothing was begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_routd_on_the_same_data_is_refused() {
    let stage = Stage::new().await;
    let (context, _) =
        Rig::new(Daemon::Routd, stage.dir.path()).source(&stage.source).build().await;
    let error = routd::start(context).await.expect_err("the data is in use");
    assert_eq!(error.exit_code(), 75, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_to_whoever_proves_nothing() {
    let stage = Stage::unstarted();
    let (_context, router) = stage.try_start().await;
    let router = router.unwrap();
    for route in ROUTES {
        assert!(!matches!(route.needs, Needs::Nobody), "{}", route.path);
        let method = match route.method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        };
        let path = route.path.replace("{id}", "1");
        for credential in [None, Some("Bearer eyJhbGciOiJub25lIn0.e30."), Some("Basic eDp5")] {
            let mut request = Request::builder().method(method).uri(&path);
            if let Some(credential) = credential {
                request = request.header("authorization", credential);
            }
            let request = request.body(Body::from("{}")).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), 401, "{method} {path} {credential:?}");
            let kind = answer.headers()["content-type"].to_str().unwrap();
            assert_eq!(kind, "application/problem+json");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_means_nothing_is_refused_at_the_start() {
    for (name, value) in [
        ("APPROVAL_LIFETIME", "soon"),
        ("APPROVAL_LIFETIME", "30s"),
        ("APPROVAL_LIFETIME", "91d"),
        ("MODEL_UNPRICED", "yes"),
    ] {
        let stage = Stage::unstarted().setting(name, value);
        let (_context, started) = stage.try_start().await;
        let error = started.expect_err("it means nothing");
        let told = kit::chain(&error);
        assert!(told.contains(name) && told.contains(value), "{told}");
        assert_eq!(error.exit_code(), 78, "{told}");
    }
}
