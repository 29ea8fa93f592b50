//! What operators see.

use crate::stage::{KEY, MINUTE, ONE, SECOND, WITH_EXTRA, handle, pass, reach, with_key};
use secrets::testing::{ScriptedSource, policy, wall_begin};

#[tokio::test(start_paused = true)]
async fn the_status_has_every_field_an_operator_needs_and_no_value() {
    let (source, secrets, mut watched) = with_key().await;
    source.set_silently([("KEY", "k-2")]);
    source.set_changed_at("KEY", wall_begin() - 12 * SECOND);
    secrets.refresh().await;
    reach(&mut watched, 2).await;
    let status = serde_json::to_value(secrets.status()).unwrap();
    assert_eq!(
        status,
        serde_json::json!([{
            "name": "KEY",
            "source": "scripted",
            "version": "v2",
            "generation": 2,
            "fingerprint": null,
            "age_seconds": 12,
            "changed_at": "2029-12-31T23:59:48Z",
            // A look later: what changes together is taken together.
            "taken_at": "2030-01-01T00:00:00.05Z",
            "previous_accepted_until": "2030-01-01T00:05:00Z",
            "last_checked": "2030-01-01T00:00:00Z",
            "static": false,
            "required": true,
            "error": null,
        }])
    );
}

#[tokio::test(start_paused = true)]
async fn fingerprints_compare_daemons_that_share_a_key() {
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "k-1"), ("EXTRA", "k-1")]);
    let handle = handle(&[&source], policy());
    let daemons = ["routd", "webd", "dashd"].map(|daemon| handle.for_daemon(daemon));
    let mut watched = Vec::new();
    for (daemon, key) in daemons.iter().zip([[1; 32], [1; 32], [2; 32]]) {
        watched.push(daemon.watch(&ONE).await.unwrap());
        assert_eq!(daemon.status()[0].fingerprint, None);
        daemon.set_fingerprint_key(key);
    }
    let [routd, webd, dashd] =
        daemons.map(|daemon| daemon.status()[0].fingerprint.clone().unwrap());
    assert_eq!(routd, webd);
    assert_ne!(routd, dashd);
    assert_eq!(routd.len(), 8, "32 bits");
    let _watched = equal_values_under_two_names(&handle).await;
    let before = routd;
    source.set([("KEY", "k-2")]);
    reach(&mut watched[0], 2).await;
    assert_ne!(handle.for_daemon("routd").status()[0].fingerprint, Some(before));
}

/// Two names with the same value do not show that they have it.
async fn equal_values_under_two_names(handle: &secrets::KeeperHandle) -> secrets::Watched<String> {
    let both = handle.for_daemon("both");
    both.set_fingerprint_key([1; 32]);
    let watched = both.watch(&WITH_EXTRA).await.unwrap();
    let status = both.status();
    assert_eq!(status.len(), 2);
    assert_ne!(status[0].fingerprint, status[1].fingerprint);
    watched
}

#[tokio::test(start_paused = true)]
async fn the_metrics_have_their_documented_names() {
    let (source, secrets, mut watched) = with_key().await;
    let mut registry = prometheus_client::registry::Registry::default();
    secrets.register_metrics(&mut registry);
    pass(10 * SECOND).await;
    source.set_silently([("KEY", "k-2")]);
    source.set_changed_at("KEY", wall_begin() + 8 * SECOND);
    secrets.refresh().await;
    reach(&mut watched, 2).await;
    secrets.forget(&KEY).await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "arizuko_secret_generation{name=\"KEY\"} 2",
        "arizuko_secret_age_seconds{name=\"KEY\"} 2",
        "arizuko_secret_error{name=\"KEY\"} 0",
        "arizuko_secret_source_last_ok_timestamp_seconds{source=\"scripted\",place=\"the scripted script\"} 1893456010",
        "arizuko_secret_propagation_seconds_count{name=\"KEY\"} 1",
        "arizuko_secret_propagation_seconds_bucket{le=\"2.0\",name=\"KEY\"} 1",
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "{line} is not in:\n{text}");
    }
    assert!(!text.contains("k-1") && !text.contains("k-2"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn age_counts_from_the_change_and_survives_polls() {
    let (_source, secrets, _watched) = with_key().await;
    pass(5 * MINUTE).await;
    let status = &secrets.status()[0];
    assert_eq!(status.age_seconds, Some(300));
    assert_eq!(status.previous_accepted_until, None);
}

#[tokio::test(start_paused = true)]
async fn a_value_keeps_its_age_when_only_its_file_changes() {
    let (source, secrets, _watched) = with_key().await;
    source.set_changed_at("KEY", wall_begin() - MINUTE);
    secrets.refresh().await;
    let age = || secrets.status()[0].age_seconds;
    // An undated value that turns out to be dated keeps the time since it was taken.
    assert_eq!(age(), Some(0));
    source.set_changed_at("KEY", wall_begin() + MINUTE);
    pass(2 * MINUTE).await;
    assert_eq!(age(), Some(120));
}
