use super::*;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

const STRICT: Rules<'_> = Rules { is_plaintext: false, subject_host: None };
const LOCAL: Rules<'_> = Rules { is_plaintext: true, subject_host: None };

fn file() -> Value {
    json!({
        "type": "external_account",
        "universe_domain": "googleapis.com",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/az@p.iam.gserviceaccount.com:generateAccessToken",
        "credential_source": {"file": "/var/run/token", "format": {"type": "text"}},
        "token_info_url": "https://sts.googleapis.com/v1/introspect",
    })
}

fn parse(file: &Value, rules: Rules<'_>) -> Result<ExternalAccount, &'static str> {
    ExternalAccount::parse(file.to_string().as_bytes(), rules)
}

#[test]
fn what_gcloud_writes_is_taken_as_it_is() {
    let account = parse(&file(), STRICT).unwrap();
    assert_eq!(account.token_url, "https://sts.googleapis.com/v1/token");
    assert_eq!(account.subject, Subject::File("/var/run/token".into()));
    assert_eq!(account.impersonation.as_ref().unwrap().lifetime, LIFETIME);
    assert_eq!(account.subject_token("aa.bb.cc\n").unwrap(), "aa.bb.cc");

    let mut url = file();
    url["credential_source"] = json!({
        "url": "https://tokens.example:8443/id?audience=x", "headers": {"Authorization": "bearer t"},
        "format": {"type": "json", "subject_token_field_name": "value"},
    });
    let rules = Rules { subject_host: Some("tokens.example:8443"), ..STRICT };
    let account = parse(&url, rules).unwrap();
    assert_eq!(account.subject_token(r#"{"value":"aa.bb.cc"}"#).unwrap(), "aa.bb.cc");
    let Subject::Url(_, headers) = &account.subject else { panic!() };
    assert!(headers["authorization"].is_sensitive());
    assert!(!format!("{account:?}").contains("bearer t"));
}

#[test]
fn hosts_are_those_of_the_service_and_no_others() {
    for host in [
        "sts.googleapis.com",
        "sts.mtls.googleapis.com",
        "us-east1.sts.googleapis.com",
        "sts.us-east1.googleapis.com",
        "us-east1-sts.googleapis.com",
        "sts-mine.p.googleapis.com",
        "sts.us-east1.rep.googleapis.com",
    ] {
        assert!(is_google(host, "sts"), "{host}");
    }
    for host in [
        "googleapis.com",
        "evilsts.googleapis.com",
        "-sts.googleapis.com",
        "sts-.p.googleapis.com",
        "sts.googleapis.com.evil.example",
        "sts.evil.example",
        "evilgoogleapis.com",
        "storage.googleapis.com",
        "bucket.storage.googleapis.com",
        "iamcredentials.googleapis.com",
        "a.b.sts.googleapis.com",
        "sts.a.b.rep.googleapis.com",
        ".sts.googleapis.com",
        "127.0.0.1",
        "",
    ] {
        assert!(!is_google(host, "sts"), "{host}");
    }
}

#[test]
fn urls_that_lead_elsewhere_are_refused_in_every_part() {
    let token = "token_url";
    let become_ = "service_account_impersonation_url";
    for (key, value, reason) in [
        (token, "http://sts.googleapis.com/v1/token", "token_url"),
        (token, "https://sts.googleapis.com:8443/v1/token", "token_url"),
        (token, "https://user:pw@sts.googleapis.com/v1/token", "token_url"),
        (token, "https://sts.googleapis.com@evil.example/v1/token", "token_url"),
        (token, "https://sts.googleapis.com/v1/token#x", "token_url"),
        (token, "https://sts.googleapis.com/v1/token?a=b", "token_url"),
        (token, "https://sts.googleapis.com/other", "token_url"),
        (token, "https://sts.googleapis.com\\@evil.example/v1/token", "token_url"),
        (token, "http://127.0.0.1:1/v1/token", "token_url"),
        (token, "file:///v1/token", "token_url"),
        (become_, "https://sts.googleapis.com/v1/token", "impersonation_url"),
        (
            become_,
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a/../../x:generateAccessToken",
            "impersonation_url",
        ),
        (
            become_,
            "https://evil.example/v1/projects/-/serviceAccounts/a@b:generateAccessToken",
            "impersonation_url",
        ),
        (
            "audience",
            "//iam.googleapis.com/locations/global/workforcePools/p/providers/q",
            "audience",
        ),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:saml2", "subject_token_type"),
        ("type", "authorized_user", "type"),
        ("universe_domain", "evil.example", "universe_domain"),
        ("client_id", "x", "pool of people"),
    ] {
        let mut file = file();
        file[key] = json!(value);
        let error = parse(&file, STRICT).unwrap_err();
        assert!(error.contains(reason), "{key} {value}: {error}");
        assert!(!error.contains("evil"), "it quotes the file: {error}");
    }
}

#[test]
fn sources_that_run_programs_or_reach_where_nobody_said_are_refused() {
    for (source, reason) in [
        (json!({"executable": {"command": "/bin/sh -c id"}}), "a program, and none is run"),
        (json!({"executable": {"command": "x"}, "file": "/t"}), "a program, and none is run"),
        (json!({"environment_id": "aws1", "url": "http://169.254.169.254/x"}), "neither a file"),
        (json!({"certificate": {}}), "neither a file nor a url"),
        (json!({}), "neither a file nor a url"),
        (json!({"file": "token"}), "absolute path"),
        (json!({"file": "/t", "url": "https://tokens.example/"}), "neither a file nor a url"),
        (json!({"url": "https://elsewhere.example/"}), "subject_host="),
        (json!({"url": "http://tokens.example/"}), "subject_host="),
        (json!({"url": "https://tokens.example:1/"}), "subject_host="),
        (json!({"url": "https://tokens.example@elsewhere.example/"}), "subject_host="),
        (json!({"url": "http://169.254.169.254/metadata"}), "subject_host="),
        (json!({"url": "http://127.0.0.1:1/"}), "subject_host="),
        (json!({"url": "https://tokens.example/", "headers": {"Host": "x"}}), "headers"),
        (json!({"url": "https://tokens.example/", "headers": {"A": "b\nc"}}), "headers"),
        (json!({"file": "/t", "format": {"type": "xml"}}), "format"),
        (json!({"file": "/t", "format": {"type": "json"}}), "format"),
    ] {
        let mut file = file();
        file["credential_source"] = source.clone();
        let rules = Rules { subject_host: Some("tokens.example"), ..STRICT };
        let error = parse(&file, rules).unwrap_err();
        assert!(error.contains(reason), "{source}: {error}");
    }
    let mut local = file();
    local["token_url"] = json!("http://127.0.0.1:1/v1/token");
    local["credential_source"] = json!({"url": "http://127.0.0.1:1/subject"});
    assert!(parse(&local, LOCAL).is_ok(), "where plaintext=yes was said");
    local["token_url"] = json!("http://10.0.0.1/v1/token");
    assert!(parse(&local, LOCAL).is_err(), "only this machine");
}

#[test]
fn nothing_but_a_jwt_is_ever_sent_away() {
    let account = parse(&file(), STRICT).unwrap();
    for found in [
        "root:x:0:0:root:/root:/bin/sh\n",
        "-----BEGIN PRIVATE KEY-----\nabc\n",
        "one.two",
        "a.b.c.d",
        "a..c",
        "a.b.c d",
        "",
    ] {
        let error = account.subject_token(found).unwrap_err();
        assert!(error.ends_with("is not a JWT"), "{found}: {error}");
    }
}

/// What URLs are made of, and what is put into them to lead elsewhere.
const PIECES: [&str; 22] = [
    "https://",
    "http://",
    "https:/",
    "sts",
    "iamcredentials",
    ".",
    "-",
    "googleapis.com",
    "@",
    ":pw@",
    "evil.example",
    "/v1/token",
    "/",
    "\\",
    "#",
    "?",
    ":443",
    ":1",
    "%2e",
    "\t",
    ".mtls",
    ".p",
];

proptest! {
    #[test]
    fn whatever_url_is_taken_leads_to_google(pieces in vec(select(&PIECES[..]), 0..10)) {
        let text = pieces.concat();
        if let Some(url) = google(&text, "sts", STRICT) {
            let host = url.host_str().unwrap();
            prop_assert_eq!(url.scheme(), "https");
            prop_assert!(host.ends_with(".googleapis.com") && host.contains("sts"), "{}", text);
            prop_assert!(url.port().is_none() && url.username().is_empty() && url.password().is_none());
        }
    }

    #[test]
    fn whatever_is_sent_away_has_the_letters_of_a_jwt(found in any::<String>()) {
        let account = parse(&file(), STRICT).unwrap();
        if let Ok(token) = account.subject_token(&found) {
            prop_assert!(token.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)));
        }
    }

    #[test]
    fn any_file_is_taken_or_refused_with_a_reason_of_ours(text in any::<Vec<u8>>()) {
        prop_assert!(ExternalAccount::parse(&text, STRICT).is_err());
    }
}
