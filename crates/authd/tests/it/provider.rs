//! Logging in by a real OpenID provider: the one of OpenBao.

use crate::{
    browser::{Browser, HOST, Shown},
    rig::{Authd, World},
    user_token,
};
use auth::Kind;
use kit::Clock;
use proto::Daemon;
use reqwest::StatusCode;
use stores::provider;
use url::Url;

/// The provider, and what a browser does with it.
pub struct Provider(provider::Provider);

impl Provider {
    pub async fn start() -> Option<Self> {
        // Before the server's own listening, so that what authd logs is found here.
        crate::leaks::capture_logs();
        let back = format!("http://{HOST}/auth/callback/oidc");
        provider::Provider::start(&back).await.map(Self)
    }

    /// A world that logs people in here. Its time is the provider's, until it is moved.
    pub fn world(&self, settings: &[(&'static str, &str)]) -> World {
        let mut world = World::new();
        world.clock = Clock::manual(Clock::real().now());
        world.source.set_silently([("OIDC_CLIENT_SECRET", self.0.secret.as_str())]);
        world.settings = vec![
            ("WEB_HOST", HOST.into()),
            ("OIDC_ISSUER", self.0.issuer()),
            ("OIDC_CLIENT_ID", self.0.client.clone()),
            ("OIDC_SCOPES", "openid email groups".into()),
        ];
        world.settings.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        world
    }

    /// Where the provider sends the browser, once `name` is logged in there.
    pub async fn answer(&self, name: &str, address: &str) -> String {
        format!("/auth/callback/oidc?{}", self.0.answer(name, address).await)
    }

    /// `browser` begins a login; where it is sent.
    pub async fn begin(&self, authd: &Authd, browser: &Browser) -> String {
        let begun = browser.get(authd, "/auth/begin/oidc?next=/dash/").await;
        assert_eq!(begun.status, 303, "{}", begun.html);
        begun.location.unwrap()
    }

    /// `name` logs in.
    pub async fn log_in(&self, authd: &Authd, browser: &Browser, name: &str) -> Shown {
        let address = self.begin(authd, browser).await;
        let answer = self.answer(name, &address).await;
        browser.get(authd, &answer).await
    }
}

/// Who is logged in under a browser's cookie.
pub async fn subject(authd: &Authd, browser: &Browser) -> Option<String> {
    let cookie = browser.session()?;
    user_token::find(authd, &cookie, None).await.ok().map(|session| session.subject)
}

fn instead(address: &str, name: &str, value: &str) -> String {
    let url = Url::parse(address).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let mut other = url;
    other.query_pairs_mut().clear().extend_pairs(
        pairs.iter().map(|(known, old)| (known, if known == name { value } else { old.as_str() })),
    );
    other.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_and_is_the_same_person_the_next_time() {
    let Some(provider) = Provider::start().await else { return };
    let world = provider.world(&[]);
    let authd = world.start().await;
    let browser = Browser::default();
    let page = browser.get(&authd, "/auth/?next=/dash/").await;
    assert!(page.html.contains("/auth/begin/oidc?next=%2Fdash%2F"), "{}", page.html);
    let shown = provider.log_in(&authd, &browser, "ada").await;
    assert_eq!((shown.status, shown.location.as_deref()), (StatusCode::SEE_OTHER, Some("/dash/")));
    assert!(!browser.cookies().contains_key("arizuko_login"), "it is over");
    let ada = subject(&authd, &browser).await.unwrap();
    assert!(ada.starts_with("user:p") && !ada.contains("ada"), "{ada}");
    let page = browser.get(&authd, "/auth/").await.html;
    assert!(page.contains("ada@example.org") && page.contains(&ada), "{page}");

    let cookie = browser.session().unwrap();
    let act = user_token::find(&authd, &cookie, Some(Daemon::Dashd)).await.unwrap().act.unwrap();
    let token = user_token::ask(&authd, Daemon::Dashd, &act, "routd").await.unwrap();
    let caller = authd.verify(&token.token, "routd", Kind::User).await.unwrap();
    assert_eq!(caller.subject().as_str(), ada);
    assert!(caller.may("groups:read") && !caller.may("audit:read") && !caller.reaches_all());
    let elsewhere = user_token::ask(&authd, Daemon::Dashd, &act, "runed").await.unwrap();
    assert_eq!(elsewhere.scope, Vec::<String>::new(), "a person has rights at routd alone");

    let (other, third) = (Browser::default(), Browser::default());
    provider.log_in(&authd, &other, "ada").await;
    assert_eq!(subject(&authd, &other).await.as_ref(), Some(&ada));
    provider.log_in(&authd, &third, "dan").await;
    let dan = subject(&authd, &third).await.unwrap();
    assert_ne!(dan, ada, "an address that two have makes them one by no means");
    let actions = authd.actions().await;
    let count = |action: &str| actions.iter().filter(|known| *known == action).count();
    assert_eq!((count("person.add"), count("login")), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_once_in_time_and_for_what_was_asked() {
    let Some(provider) = Provider::start().await else { return };
    let world = provider.world(&[]);
    let authd = world.start().await;
    let refused = async |browser: &Browser, path: &str, what: &str, why: &str| {
        let shown = browser.get(&authd, path).await;
        assert_eq!(shown.status, 400, "{why}: {}", shown.html);
        assert!(shown.html.contains(what), "{why}: {}", shown.html);
        assert!(browser.session().is_none(), "{why}");
    };
    let (over, unbelieved) = ("This login is over", "The login did not succeed");
    let browser = Browser::default();
    refused(&browser, "/auth/callback/oidc", over, "nothing was begun").await;

    let address = provider.begin(&authd, &browser).await;
    let jar = browser.cookies();
    let answer = provider.answer("ada", &address).await;
    let other = Browser::default();
    refused(&other, &answer, over, "another browser").await;
    let (code, state) = answer.split_once("&state=").unwrap();
    let wrong = format!("{code}&state={}", state.chars().rev().collect::<String>());
    refused(&browser, &wrong, over, "another state").await;
    assert!(browser.cookies().is_empty(), "what failed is not tried again");
    browser.set_cookies(jar.clone());
    assert_eq!(browser.get(&authd, &answer).await.status, 303);
    assert!(subject(&authd, &browser).await.is_some());
    browser.set_cookies(jar);
    let again = browser.get(&authd, &answer).await;
    assert_eq!(again.status, 400, "the provider has given for the code what it had");

    let fresh = Browser::default();
    let address = provider.begin(&authd, &fresh).await;
    let state = Url::parse(&address).unwrap();
    let state = state.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    refused(&fresh, &format!("{code}&state={state}"), unbelieved, "a code of before").await;

    for (name, value) in [
        ("nonce", "0123456789012345678901234567890123456789012"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
    ] {
        let browser = Browser::default();
        let address = provider.begin(&authd, &browser).await;
        let answer = provider.answer("ada", &instead(&address, name, value)).await;
        refused(&browser, &answer, unbelieved, name).await;
    }
    let browser = Browser::default();
    let answer = provider.answer("ada", &provider.begin(&authd, &browser).await).await;
    let other = format!("{answer}&iss=https%3A%2F%2Fevil.example");
    refused(&browser, &other, unbelieved, "another provider's").await;

    let browser = Browser::default();
    let answer = provider.answer("ada", &provider.begin(&authd, &browser).await).await;
    world.advance_minutes(10);
    refused(&browser, &answer, over, "ten minutes are over").await;
    let denied = Browser::default();
    let address = provider.begin(&authd, &denied).await;
    let state = Url::parse(&address).unwrap();
    let state = state.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let path = format!("/auth/callback/oidc?error=access_denied&state={state}");
    refused(&denied, &path, unbelieved, "the person said no").await;
    assert_eq!(denied.get(&authd, "/auth/begin/github").await.status, 404);
    assert_eq!(authd.actions().await.iter().filter(|action| *action == "login").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_whom_a_rule_lets_in_gets_in_and_no_longer_than_the_rule_stands() {
    let Some(provider) = Provider::start().await else { return };
    let world = provider
        .world(&[("OIDC_ALLOWED_DOMAINS", "example.org"), ("OIDC_OPERATOR_GROUPS", "admins")]);
    let authd = world.start().await;
    let (ada, bob, eve) = (Browser::default(), Browser::default(), Browser::default());
    provider.log_in(&authd, &ada, "ada").await;
    provider.log_in(&authd, &bob, "bob").await;
    let shown = provider.log_in(&authd, &eve, "eve").await;
    assert_eq!((shown.status, eve.session()), (StatusCode::FORBIDDEN, None), "{}", shown.html);
    let refusals: Vec<_> =
        authd.audit().await.into_iter().filter(|row| row.action == "login.refuse").collect();
    assert_eq!(refusals.len(), 1);
    assert!(refusals[0].target.ends_with(provider.0.subject("eve")), "{refusals:?}");
    assert!(subject(&authd, &ada).await.unwrap().starts_with("operator:p"));
    assert!(subject(&authd, &bob).await.unwrap().starts_with("user:p"));
    authd.stop().await;

    let mut world = world;
    world.settings.retain(|(name, _)| !name.starts_with("OIDC_O"));
    world.settings.push(("OIDC_ALLOWED_GROUPS", "nobody".into()));
    let authd = world.start().await;
    assert_eq!(subject(&authd, &ada).await, None, "admins are no operators any more");
    assert!(subject(&authd, &bob).await.is_some(), "the domain is still there");
    provider.log_in(&authd, &ada, "ada").await;
    assert!(subject(&authd, &ada).await.unwrap().starts_with("user:p"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_client_secret_counts_with_the_next_login() {
    let Some(provider) = Provider::start().await else { return };
    let world = provider.world(&[]);
    let wrong = "not-the-providers-0000000000000000000000";
    world.source.set_silently([("OIDC_CLIENT_SECRET", wrong)]);
    let authd = world.start().await;
    let browser = Browser::default();
    let shown = provider.log_in(&authd, &browser, "ada").await;
    assert_eq!(shown.status, 502, "{}", shown.html);
    assert!(!shown.html.contains(wrong) && browser.session().is_none());

    // Nobody says that there is another: the refusal has authd look.
    world.source.set_silently([("OIDC_CLIENT_SECRET", provider.0.secret.as_str())]);
    assert_eq!(provider.log_in(&authd, &browser, "ada").await.status, 303);

    // authd hears of the next one before the provider does.
    world.source.set([("OIDC_CLIENT_SECRET", "of-tomorrow-000000000000000000000000000")]);
    crate::rig::until("the new secret is live", || async {
        let status = authd.context.secrets.status();
        status.iter().any(|one| {
            one.name.as_str() == "OIDC_CLIENT_SECRET" && one.previous_accepted_until.is_some()
        })
    })
    .await;
    let other = Browser::default();
    assert_eq!(provider.log_in(&authd, &other, "bob").await.status, 303);
}
