use super::*;
use serde_json::json;

fn by_oidc(claims: Value) -> Vouched {
    Vouched::by_oidc("https://id.example", "s1", claims.as_object().unwrap(), "groups")
}

fn list(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn an_id_is_the_providers_own_word_and_never_an_address() {
    let claims = json!({ "email": "ada@Example.ORG", "email_verified": true });
    let ada = by_oidc(claims.clone());
    assert!(ada.identity.starts_with("oidc:") && ada.identity.ends_with(":s1"));
    assert!(!ada.identity.contains("ada"));
    assert_eq!(ada.domain.as_deref(), Some("example.org"));
    let elsewhere =
        Vouched::by_oidc("https://other.example", "s1", claims.as_object().unwrap(), "groups");
    assert_ne!(ada.identity, elsewhere.identity, "each provider has an s1 of its own");
    assert_eq!(Vouched::by_github(12345, "ada", Vec::new()).identity, "github:12345");
}

#[test]
fn an_address_that_is_not_verified_opens_nothing() {
    let policy = Policy { domains: list(&["example.org"]), ..Policy::default() };
    for (claims, admitted) in [
        (json!({ "email": "a@example.org", "email_verified": true }), true),
        (json!({ "email": "a@example.org", "email_verified": "true" }), true),
        (json!({ "email": "a@example.org", "email_verified": false }), false),
        (json!({ "email": "a@example.org" }), false),
        (json!({ "email": "a@example.org.evil.net", "email_verified": true }), false),
        (json!({ "email": "a@sub.example.org", "email_verified": true }), false),
        (json!({ "email": "a@example.org@evil.net", "email_verified": true }), false),
        (json!({ "email": "@example.org", "email_verified": true }), false),
        (json!({}), false),
    ] {
        assert_eq!(policy.admits(&by_oidc(claims.clone())).is_some(), admitted, "{claims}");
    }
}

#[test]
fn operators_are_those_that_are_named_and_nobody_else() {
    let policy = Policy {
        groups: list(&["staff"]),
        operators: list(&["s1"]),
        operator_groups: list(&["admins"]),
        ..Policy::default()
    };
    let s1 = policy.admits(&by_oidc(json!({}))).unwrap();
    assert_eq!((s1.is_operator, s1.rule.as_str()), (true, "oidc operator s1"));
    let other = |groups: Value| {
        let claims = json!({ "groups": groups });
        policy.admits(&Vouched::by_oidc("i", "s2", claims.as_object().unwrap(), "groups"))
    };
    assert!(other(json!(["admins", "staff"])).unwrap().is_operator);
    assert!(!other(json!(["staff"])).unwrap().is_operator);
    assert!(!other(json!("staff")).unwrap().is_operator, "one group may be a text");
    assert_eq!(other(json!(["Staff", "admin", 7])), None);
    let open = Policy::default().admits(&by_oidc(json!({ "groups": ["admins"] }))).unwrap();
    assert!(!open.is_operator && open.rule == "oidc anyone");
}

#[test]
fn a_rule_that_is_gone_keeps_nobody() {
    let before = Policy {
        domains: list(&["example.org"]),
        groups: list(&["staff members"]),
        operators: list(&["s1"]),
        ..Policy::default()
    };
    for rule in ["oidc domain example.org", "oidc group staff members", "oidc operator s1"] {
        assert!(before.keeps(Provider::Oidc, rule), "{rule}");
        assert!(!before.keeps(Provider::Github, rule), "{rule}");
        assert!(!Policy::default().keeps(Provider::Oidc, rule), "{rule}");
    }
    assert!(!before.keeps(Provider::Oidc, "oidc anyone"), "there are lists now");
    assert!(Policy::default().keeps(Provider::Oidc, "oidc anyone"));
    for rule in ["", "oidc", "oidc anyone else", "anyone"] {
        assert!(!Policy::default().keeps(Provider::Oidc, rule), "{rule:?}");
    }
}

#[test]
fn an_organisation_is_the_same_however_it_is_written() {
    let policy = Policy { groups: list(&["Acme", "42"]), ignores_case: true, ..Policy::default() };
    let of = |orgs: &[&str]| policy.admits(&Vouched::by_github(7, "ada", list(orgs)));
    assert_eq!(of(&["acme"]).unwrap().rule, "github group Acme");
    assert!(of(&["x", "42"]).is_some());
    assert!(of(&["acme-evil"]).is_none());
}
