//! Logging in by GitHub, as it answers on loopback.

use crate::{
    browser::{Browser, HOST, Shown},
    provider::subject,
    rig::{Authd, World},
};
use platforms::github::{CLIENT, GitHub};
use reqwest::header;

const SECRET: &str = "github-secret-00000000000000000000000000";

fn world(github: &GitHub, settings: &[(&'static str, &str)]) -> World {
    let mut world = World::new();
    world.source.set_silently([("GITHUB_CLIENT_SECRET", SECRET)]);
    world.settings = vec![
        ("WEB_HOST", HOST.into()),
        ("GITHUB_CLIENT_ID", CLIENT.into()),
        ("GITHUB_URL", github.base().into()),
        ("GITHUB_API_URL", github.api()),
    ];
    world.settings.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
    world
}

/// `name` logs in: to GitHub and back.
async fn log_in(authd: &Authd, github: &GitHub, browser: &Browser, name: &str) -> Shown {
    github.log_in(name);
    let begun = browser.get(authd, "/auth/begin/github").await;
    assert_eq!(begun.status, 303, "{}", begun.html);
    let away = authd.http.get(begun.location.unwrap()).send().await.unwrap();
    assert_eq!(away.status(), 302);
    let back = away.headers()[header::LOCATION].to_str().unwrap().to_owned();
    let path = back.strip_prefix(&format!("http://{HOST}")).expect("back to this host");
    browser.get(authd, path).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_its_number_and_only_members_get_in() {
    let github = GitHub::start(SECRET).await;
    github.account(583_231, "octocat", &[(42, "Acme")]);
    github.account(7, "mallory", &[(43, "acme-evil")]);
    let world = world(&github, &[("GITHUB_ALLOWED_ORGS", "acme"), ("GITHUB_OPERATORS", "1")]);
    let authd = world.start().await;
    let (browser, other) = (Browser::default(), Browser::default());
    assert_eq!(log_in(&authd, &github, &browser, "octocat").await.status, 303);
    let person = subject(&authd, &browser).await.unwrap();
    assert!(person.starts_with("user:p"), "{person}");
    let refused = log_in(&authd, &github, &other, "mallory").await;
    assert_eq!((refused.status.as_u16(), other.session()), (403, None));

    // The name changes hands, and the account does not.
    github.account(583_231, "octocat-renamed", &[(42, "Acme")]);
    github.account(7, "octocat", &[(43, "acme-evil")]);
    let again = Browser::default();
    assert_eq!(log_in(&authd, &github, &again, "octocat-renamed").await.status, 303);
    assert_eq!(subject(&authd, &again).await.as_ref(), Some(&person));
    assert_eq!(log_in(&authd, &github, &other, "octocat").await.status, 403);
    github.account(1, "root", &[]);
    assert_eq!(log_in(&authd, &github, &other, "root").await.status, 303);
    assert!(subject(&authd, &other).await.unwrap().starts_with("operator:p"));
    let rows = authd.audit().await;
    let refused: Vec<_> = rows.iter().filter(|row| row.action == "login.refuse").collect();
    assert!(refused.len() == 2 && refused.iter().all(|row| row.target == "github:7"), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_github_has_replaced_is_found_by_its_refusal() {
    let github = GitHub::start(SECRET).await;
    github.account(583_231, "octocat", &[]);
    let world = world(&github, &[]);
    let authd = world.start().await;
    let browser = Browser::default();
    assert_eq!(log_in(&authd, &github, &browser, "octocat").await.status, 303);
    let next = "github-secret-of-tomorrow-000000000000";
    github.set_secret(next);
    let refused = log_in(&authd, &github, &Browser::default(), "octocat").await;
    assert_eq!(refused.status, 502, "nobody has told authd: {}", refused.html);
    // Silently: it is the refusal that has authd look.
    world.source.set_silently([("GITHUB_CLIENT_SECRET", next)]);
    assert_eq!(log_in(&authd, &github, &browser, "octocat").await.status, 303);
    assert!(subject(&authd, &browser).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_to_log_in_that_lacks_a_setting_is_refused_at_the_start() {
    let github = GitHub::start(SECRET).await;
    for (missing, said) in [
        ("WEB_HOST", "GITHUB_CLIENT_ID is set, and WEB_HOST is not"),
        ("OIDC_CLIENT_ID", "OIDC_ISSUER is set, and OIDC_CLIENT_ID is not"),
    ] {
        let mut world = world(&github, &[]);
        world.settings.retain(|(name, _)| *name != missing);
        if missing == "OIDC_CLIENT_ID" {
            world.settings.push(("OIDC_ISSUER", "https://id.example".into()));
        }
        let error = world.try_start().await.err().expect("it does not start");
        assert_eq!(error.exit_code(), 78);
        assert!(kit::chain(&error).contains(said), "{}", kit::chain(&error));
    }
}
