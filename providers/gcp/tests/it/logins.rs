//! The three ways in, and tokens that end.

use crate::{at, source};
use serde_json::json;
use std::time::Duration;
use stores::{
    gcp::{AUDIENCE, Gcp},
    proxy::{Mode, Proxy, http},
    reading::{CANARY, value},
};

const FIRST: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJwb2QtZmlyc3QifQ.first-signature";
const SECOND: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJwb2Qtc2Vjb25kIn0.second-signature";

fn ready() -> Gcp {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": CANARY}));
    gcp
}

#[tokio::test]
async fn from_the_metadata_server_with_tokens_that_end_and_nobody_notices() {
    let gcp = ready();
    gcp.token_life(Duration::from_secs(2));
    let source = source(&gcp, "az", "");
    // Through several lives: each is replaced before its end.
    crate::until("three tokens were used", async || {
        assert_eq!(value(&source, "A").await.unwrap(), CANARY);
        gcp.count("/token") >= 3
    })
    .await;
    // One that is revoked is replaced, and the call is made again.
    gcp.token_life(Duration::from_secs(3_600));
    crate::until("a long token is used", async || {
        assert_eq!(value(&source, "A").await.unwrap(), CANARY);
        gcp.tokens().len() == gcp.count("/token") && gcp.count("/token") >= 4
    })
    .await;
    gcp.revoke_tokens();
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    // Where the new one is refused as well, no more are asked for: it is something else.
    gcp.revoke_tokens();
    let asked = gcp.count("/token");
    for _ in 0..5 {
        let error = value(&source, "A").await.unwrap_err();
        assert!(error.starts_with("denied") && error.contains("not accepted (401)"), "{error}");
    }
    assert_eq!(gcp.count("/token"), asked, "it asks for tokens again and again");
    gcp.assert_unsaid(&[CANARY]);
}

#[tokio::test]
async fn what_is_wrong_with_the_metadata_server_is_told_apart() {
    let gcp = ready();
    gcp.attach_account(false);
    let error = value(&source(&gcp, "az", ""), "A").await.unwrap_err();
    assert!(
        error.starts_with("denied") && error.contains("gives no access token (404)"),
        "{error}"
    );
    gcp.attach_account(true);
    let proxy = Proxy::before(gcp.port()).await;
    let (base, metadata) = (gcp.base(), proxy.base());
    let url = format!("gcp-sm://demo-project/az?endpoint={base}&metadata_endpoint={metadata}");
    let source = at(&url);
    let token = r#"{"access_token":"ya29.of-somebody-else","expires_in":60,"token_type":"Bearer"}"#;
    let flavor = "metadata-flavor: Google\r\n";
    for (mode, expected) in [
        (http("200 OK", "", token), "what answers as the metadata server is none"),
        (http("200 OK", flavor, "{}"), "cannot be read"),
        (http("200 OK", flavor, &"x".repeat(2 << 20)), "longer than"),
        (
            http("302 Found", "metadata-flavor: Google\r\nlocation: http://127.0.0.1:1/\r\n", ""),
            "sends elsewhere (302)",
        ),
        (http("429 Too Many Requests", flavor, ""), "fewer calls (429)"),
        (http("503 Service Unavailable", flavor, ""), "it answered 503"),
        (Mode::Hang, "no answer within 4 s"),
    ] {
        let shown = format!("{mode:?}").chars().take(60).collect::<String>();
        proxy.mode(mode);
        let error = value(&source, "A").await.unwrap_err();
        assert!(error.contains(expected), "{shown}: {error}");
    }
    assert_eq!(gcp.count("/secrets/az"), 0, "a call was made without a token");
    proxy.mode(Mode::Pass);
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    gcp.assert_unsaid(&[CANARY, "ya29.of-somebody-else"]);
}

#[tokio::test]
async fn with_a_subject_token_that_is_read_again_for_every_login() {
    let gcp = ready();
    gcp.expect_subject(FIRST);
    let subject = gcp.file("subject", "eyJh.not-the.right-one-at-all");
    for is_impersonating in [false, true] {
        let config = gcp.external_account(&json!({"file": subject}), is_impersonating);
        let config = gcp.file("external.json", &config.to_string());
        let more =
            format!("&auth=external-account&plaintext=yes&credentials_file={}", config.display());
        let source = source(&gcp, "az", &more);
        gcp.file("subject", "eyJh.not-the.right-one-at-all");
        let error = value(&source, "A").await.unwrap_err();
        assert!(
            error.starts_with("denied")
                && error.contains("the token service gives no access token (400)"),
            "{error}"
        );
        gcp.expect_subject(FIRST);
        gcp.file("subject", FIRST);
        assert_eq!(value(&source, "A").await.unwrap(), CANARY);
        // The kubelet replaces it, and what was given for the old one ends.
        gcp.expect_subject(SECOND);
        gcp.file("subject", SECOND);
        gcp.revoke_tokens();
        assert_eq!(value(&source, "A").await.unwrap(), CANARY);
        assert_eq!(gcp.count(":generateAccessToken") > 0, is_impersonating, "{:?}", gcp.calls());
    }
    gcp.deny_on_project("iam.serviceAccounts.getAccessToken");
    let config = gcp.dir.path().join("external.json");
    let more =
        format!("&auth=external-account&plaintext=yes&credentials_file={}", config.display());
    let error = value(&source(&gcp, "az", &more), "A").await.unwrap_err();
    assert!(error.contains("roles/iam.workloadIdentityUser"), "{error}");
    assert_eq!(gcp.count("computeMetadata"), 0, "it went another way in");
    gcp.assert_unsaid(&[CANARY, FIRST, SECOND, "not-the.right-one"]);
}

#[tokio::test]
async fn with_a_subject_token_from_a_url_that_was_allowed() {
    let gcp = ready();
    gcp.expect_subject(FIRST);
    let subject = json!({
        "url": format!("{}/subject", gcp.base()), "headers": {"X-Issuer": "right"},
        "format": {"type": "json", "subject_token_field_name": "value"},
    });
    let config = gcp.external_account(&subject, false);
    assert_eq!(config["audience"], AUDIENCE);
    let file = gcp.file("external.json", &config.to_string());
    let strict = format!("&auth=external-account&credentials_file={}", file.display());
    let error = value(&source(&gcp, "az", &strict), "A").await.unwrap_err();
    assert!(error.contains("cannot be used for a login: its token_url is not"), "{error}");
    assert_eq!(gcp.count("/subject") + gcp.count("/v1/token"), 0, "it was asked all the same");
    let allowed = format!("{strict}&plaintext=yes");
    assert_eq!(value(&source(&gcp, "az", &allowed), "A").await.unwrap(), CANARY);
    let mut wrong = config.clone();
    wrong["credential_source"]["headers"]["X-Issuer"] = json!("wrong");
    gcp.file("external.json", &wrong.to_string());
    let error = value(&source(&gcp, "az", &allowed), "A").await.unwrap_err();
    assert!(
        error.contains("the issuer of the subject token gives no access token (403)"),
        "{error}"
    );
    gcp.assert_unsaid(&[CANARY, FIRST]);
}

#[tokio::test]
async fn files_that_ask_for_more_than_a_login_are_refused_and_nothing_is_asked() {
    let gcp = ready();
    gcp.expect_subject(FIRST);
    gcp.file("subject", FIRST);
    let marker = gcp.dir.path().join("it-ran");
    let command = format!("/usr/bin/touch {}", marker.display());
    let program = json!({"executable": {"command": command, "timeout_millis": 5_000}});
    let program = gcp.external_account(&program, false);
    let passwords = gcp.external_account(&json!({"file": "/etc/passwd"}), false);
    let fifo = gcp.external_account(&json!({"file": "/dev/zero"}), false);
    let mut huge = gcp.external_account(&json!({"file": "/t"}), false);
    huge["padding"] = json!("x".repeat(70_000));
    let key = std::fs::read_to_string(gcp.service_account_file()).unwrap();
    for (text, reason) in [
        (program.to_string(), "is a program, and none is run"),
        (passwords.to_string(), "what it names for the subject token is not a JWT"),
        (fifo.to_string(), "it is not a regular file"),
        (huge.to_string(), "longer than 65,536 bytes"),
        (key, "it is not the JSON of an external account"),
        ("not JSON".to_owned(), "it is not the JSON of an external account"),
    ] {
        let file = gcp.file("external.json", &text);
        let more =
            format!("&auth=external-account&plaintext=yes&credentials_file={}", file.display());
        let error = value(&source(&gcp, "az", &more), "A").await.unwrap_err();
        assert!(error.contains(reason), "{error}");
        assert!(!error.contains("root:"), "{error}");
    }
    assert!(!marker.exists(), "a program was run");
    assert_eq!(gcp.calls(), [""; 0], "somebody was asked");
}

#[tokio::test]
async fn with_a_service_accounts_key_only_where_that_is_asked_for_by_name() {
    let gcp = ready();
    let file = gcp.service_account_file();
    let more = format!("&auth=service-account&credentials_file={}", file.display());
    let by_key = source(&gcp, "az", &more);
    assert_eq!(value(&by_key, "A").await.unwrap(), CANARY);
    assert_eq!(gcp.count("token"), 0, "it signs by itself: {:?}", gcp.calls());
    // Its key is replaced: the old one is refused, and the file is read again.
    let old = std::fs::read_to_string(&file).unwrap();
    let _new = gcp.service_account_file();
    assert_eq!(value(&by_key, "A").await.unwrap(), CANARY);
    for (text, reason) in [
        (old.replace("service_account\"", "authorized_user\""), "its type is not service_account"),
        (old.replace("BEGIN PRIVATE", "BEGIN ODD"), "its private_key, client_email or project_id"),
        ("hunter2".repeat(9), "it is not JSON"),
    ] {
        gcp.file("service-account.json", &text);
        let error = value(&source(&gcp, "az", &more), "A").await.unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
    let lines: Vec<&str> = old.split("\\n").filter(|line| line.len() > 40).collect();
    assert!(lines.len() > 10, "the lines of a key");
    gcp.assert_unsaid(&[&[CANARY, "hunter2hunter2"], &lines[1..10]].concat());
}
