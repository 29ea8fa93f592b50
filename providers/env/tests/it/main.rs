//! The environment as a source.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use provider_env::Env;
use secrets::{
    Answer, Bundle, Name, Need, Role, SecretSource, WatchError,
    testing::{conforms, keep, policy},
};
use std::{fs, path::Path, sync::Arc, time::Duration};
use tokio::time::timeout;

const KEY: Name = Name::literal("CHANNEL_SECRET");
const OTHER: Name = Name::literal("SLACK_BOT_TOKEN");
const ABSENT: Name = Name::literal("OPENAI_API_KEY");

static ONE: Bundle<String> = Bundle {
    needs: &[Need::required(KEY, "channels prove themselves with it")],
    role: Role::Checks,
    parse: |values| Ok(values.require(&KEY)?.text()?.to_owned()),
};

fn env<const N: usize>(variables: [(&str, &str); N]) -> Env {
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Env::new(variables, Duration::from_millis(20))
}

async fn one(env: &Env, name: &Name) -> Answer {
    env.read(std::slice::from_ref(name)).await.unwrap().remove(0)
}

fn reason(answer: Answer) -> String {
    match answer {
        Answer::Rejected(reason) => reason.to_string(),
        other => panic!("expected a rejection: {other:?}"),
    }
}

fn replace(path: &Path, content: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, content).unwrap();
    fs::rename(&beside, path).unwrap();
}

#[tokio::test]
async fn it_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "xoxb-1\n").unwrap();
    let env = env([
        ("CHANNEL_SECRET", "hunter2"),
        ("SLACK_BOT_TOKEN_FILE", path.to_str().unwrap()),
        ("PATH", "/bin"),
    ]);
    conforms(&env, (&KEY, b"hunter2"), (&OTHER, b"xoxb-1"), &ABSENT).await;
}

#[tokio::test]
async fn a_variable_is_static_and_a_file_is_not() {
    let env = env([
        ("CHANNEL_SECRET", "a"),
        ("SLACK_BOT_TOKEN_FILE", "/nowhere"),
        ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"),
    ]);
    one(&env, &KEY).await;
    assert!(env.is_static(), "no file was asked for");
    one(&env, &OTHER).await;
    assert!(!env.is_static());
    assert!(env.is_static_for(&KEY) && !env.is_static_for(&OTHER));
    let Answer::Found(versions) = one(&env, &KEY).await else { panic!("it is set") };
    assert_eq!(versions.id, "static");

    let plain = Env::new([("CHANNEL_SECRET".to_owned(), "a".to_owned())], provider_env::POLL);
    assert!(plain.is_static());
    let hint = timeout(Duration::from_millis(50), plain.changed()).await;
    assert!(hint.is_err(), "it never changes");
}

#[tokio::test]
async fn what_cannot_be_a_secret_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().to_str().unwrap();
    let env = env([
        ("CHANNEL_SECRET", "a"),
        ("CHANNEL_SECRET_FILE", "/b"),
        ("SLACK_BOT_TOKEN_FILE", here),
        ("OPENAI_API_KEY", ""),
        ("GITHUB_CLIENT_SECRET_FILE", "/nowhere/at/all"),
    ]);
    assert_eq!(
        reason(one(&env, &KEY).await),
        "CHANNEL_SECRET and CHANNEL_SECRET_FILE are both set; remove one of them"
    );
    assert_eq!(
        reason(one(&env, &OTHER).await),
        format!("{here}, which SLACK_BOT_TOKEN_FILE names: it is a directory")
    );
    assert_eq!(reason(one(&env, &ABSENT).await), "it is empty");
    let github = Name::literal("GITHUB_CLIENT_SECRET");
    assert_eq!(
        reason(one(&env, &github).await),
        "/nowhere/at/all, which GITHUB_CLIENT_SECRET_FILE names, is not there"
    );
    assert!(env.writer().is_none(), "there is nothing to write to");
}

#[tokio::test]
async fn a_secret_that_is_nowhere_is_an_error_that_says_how_to_set_it() {
    let secrets = keep(vec![Arc::new(env([]))], policy()).for_daemon("routd");
    let error = secrets.watch(&ONE).await.unwrap_err();
    assert!(matches!(error, WatchError::Missing { .. }));
    let error = error.to_string();
    for part in ["CHANNEL_SECRET", "the environment (set NAME or NAME_FILE)", "it has no"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[tokio::test]
async fn a_file_that_changes_is_a_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    fs::write(&path, "one\n").unwrap();
    let env = env([("CHANNEL_SECRET_FILE", path.to_str().unwrap())]);
    let secrets = keep(vec![Arc::new(env)], policy()).for_daemon("routd");
    let mut watched = secrets.watch(&ONE).await.unwrap();
    for (round, value) in ["two", "three"].into_iter().enumerate() {
        replace(&path, value);
        let generation = u64::try_from(round).unwrap() + 2;
        timeout(Duration::from_secs(10), watched.reached(generation)).await.expect("noticed");
        assert_eq!(*watched.current(), value);
    }
    fs::remove_file(&path).unwrap();
    secrets.refresh().await;
    assert_eq!(*watched.current(), "three", "a file that vanishes takes nothing away");
    assert!(secrets.status()[0].error.as_deref().unwrap().contains("is not there"));
}

#[tokio::test]
async fn a_change_between_two_calls_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    fs::write(&path, "one").unwrap();
    let env = env([("CHANNEL_SECRET_FILE", path.to_str().unwrap())]);
    one(&env, &KEY).await;
    // The first read is settled by one more.
    timeout(Duration::from_secs(5), env.changed()).await.expect("settles");
    one(&env, &KEY).await;
    assert!(timeout(Duration::from_millis(100), env.changed()).await.is_err(), "then it is quiet");
    replace(&path, "two");
    timeout(Duration::from_secs(5), env.changed()).await.expect("it changed while nobody listened");
    one(&env, &KEY).await;
    // It may have been written again within the same tick of the file system's clock.
    timeout(Duration::from_secs(5), env.changed()).await.expect("a change settles too");
    one(&env, &KEY).await;
    assert!(timeout(Duration::from_millis(100), env.changed()).await.is_err(), "then it is quiet");
}
