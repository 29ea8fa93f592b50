//! Who asks: what proves it, what it is exchanged for, and what happens where it is refused.

use crate::{
    agent::Agent,
    source::{KEY, assert_unsaid, at, calls, until, with},
};
use provider_aws::{Ambient, Aws};
use secrets::SecretSource;
use serde_json::{Value, json};
use std::{process::Command, time::Duration};
use stores::{
    LIMIT,
    moto::{self, Moto},
    proxy::{Mode, Proxy, http},
    reading::{CANARY, OVERLAP, value},
};
use tokio::time::timeout;

const EVERYTHING: &str = r#"[{"Effect": "Allow", "Action": "*", "Resource": "*"}]"#;

fn everything() -> Value {
    serde_json::from_str(EVERYTHING).unwrap()
}

fn refuses(code: &str) -> Mode {
    let body = json!({"__type": code, "Message": CANARY}).to_string();
    http("400 Bad Request", "", &body)
}

#[tokio::test]
async fn requests_are_signed_and_what_a_key_may_not_do_is_told() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    moto.put_secret_value("az/A", CANARY);
    moto.check_signatures();
    let query = |name: &str, id: &str, key: &str| {
        format!("auth=static&credentials_file={}", moto.credentials_file(name, id, key).display())
    };
    let (id, key) = moto.user("good", &everything());
    assert_eq!(
        value(&at(&moto.base(), "az", &query("good", &id, &key)), "A").await.unwrap(),
        CANARY
    );
    assert_eq!(
        value(&at(&moto.base(), "az/*", &query("good", &id, &key)), "A").await.unwrap(),
        CANARY
    );
    let error = value(&at(&moto.base(), "az", &query("wrong", &id, KEY)), "A").await.unwrap_err();
    assert!(error.contains("credentials are refused (SignatureDoesNotMatch)"), "{error}");
    let error =
        value(&at(&moto.base(), "az", &query("none", "AKIANOBODY", KEY)), "A").await.unwrap_err();
    assert!(error.contains("credentials are refused (InvalidClientTokenId)"), "{error}");
    let half =
        json!([{"Effect": "Allow", "Action": "secretsmanager:DescribeSecret", "Resource": "*"}]);
    let (half, half_key) = moto.user("half", &half);
    let error =
        value(&at(&moto.base(), "az", &query("half", &half, &half_key)), "A").await.unwrap_err();
    assert!(error.contains("access denied for secretsmanager:GetSecretValue on az"), "{error}");
    let error =
        value(&at(&moto.base(), "az/*", &query("half", &half, &half_key)), "A").await.unwrap_err();
    assert!(error.contains("access denied for secretsmanager:BatchGetSecretValue"), "{error}");
    assert_unsaid(&[&key, &half_key]);
}

#[tokio::test]
async fn a_web_identity_is_exchanged_for_a_role_and_its_token_is_read_each_time() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let role = moto.role("reader", &everything());
    let proxy = Proxy::before(moto.port()).await;
    let token = moto.file("token", "canary-web-identity-token");
    let ambient = Ambient {
        role: Some(role.clone()),
        web_identity_token_file: Some(token.display().to_string()),
        ..Ambient::default()
    };
    let query = format!("sts_endpoint={}", proxy.base());
    let source = with(&proxy.base(), "az", &query, &ambient);
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    // From here on moto checks that the role's credentials sign; an exchange is not signed, which it cannot take then.
    moto.check_signatures();
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    assert_eq!(proxy.count("AssumeRoleWithWebIdentity"), 1, "the credentials are good for an hour");

    // Refused before their time: one fresh exchange, with what is in the file now.
    std::fs::remove_file(&token).unwrap();
    proxy.mode(refuses("ExpiredTokenException"));
    until("the file is read again", async || {
        let error = value(&source, "A").await.unwrap_err();
        error.contains("token cannot be used as a credential: it is not there")
    })
    .await;
    proxy.mode(Mode::Pass);
    moto.file("token", "canary-web-identity-next");
    assert_eq!(value(&source, "A").await.unwrap(), CANARY, "the credentials at hand were good");
    assert_unsaid(&["canary-web-identity-token", "canary-web-identity-next"]);
}

#[tokio::test]
async fn an_identity_that_is_not_believed_says_whose_and_why_and_keeps_trying() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let role = moto.role("reader", &everything());
    let sts = Proxy::before(moto.port()).await;
    let token = moto.file("token", "canary-web-identity-token");
    let query = format!("role={role}&token_file={}&sts_endpoint={}", token.display(), sts.base());
    let source = at(&moto.base(), "az", &query);
    for (status, code) in [
        ("400 Bad Request", "InvalidIdentityToken"),
        ("400 Bad Request", "ExpiredTokenException"),
        ("403 Forbidden", "AccessDenied"),
        ("403 Forbidden", "IDPRejectedClaim"),
    ] {
        let body = format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>{CANARY}</Message></Error></ErrorResponse>"
        );
        sts.mode(http(status, "content-type: text/xml\r\n", &body));
        let error = value(&source, "A").await.unwrap_err();
        assert!(error.starts_with("denied: "), "{code}: {error}");
        assert!(error.contains(&role) && error.contains(&format!("({code})")), "{code}: {error}");
        assert!(error.contains(&token.display().to_string()), "{code}: {error}");
    }
    sts.mode(http("503 Service Unavailable", "", "<html>"));
    let error = value(&source, "A").await.unwrap_err();
    assert!(error.starts_with("unreachable") && error.contains("not in service"), "{error}");
    sts.mode(Mode::Pass);
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    assert_unsaid(&["canary-web-identity-token"]);
}

#[tokio::test]
async fn credentials_are_exchanged_before_they_end_and_a_failure_then_takes_nothing() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let token = moto.file("token", "canary-web-identity-token");
    // Credentials that live for nine seconds by the server's own clock.
    let short = "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
        <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIATEST</AccessKeyId>\
        <SecretAccessKey>canary-short-lived-key</SecretAccessKey><SessionToken>canary-session-token</SessionToken>\
        <Expiration>2030-01-01T00:00:09Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
        </AssumeRoleWithWebIdentityResponse>";
    let date = "date: Tue, 01 Jan 2030 00:00:00 GMT\r\ncontent-type: text/xml\r\n";
    let sts = Proxy::before(moto.port()).await;
    sts.mode(http("200 OK", date, short));
    let query = format!(
        "role=arn:aws:iam::1:role/r&token_file={}&sts_endpoint={}",
        token.display(),
        sts.base()
    );
    let source = at(&moto.base(), "az", &query);
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    assert_eq!(sts.count("AssumeRole"), 1);
    // Nobody reads meanwhile; what keeps them fresh is the waiting for hints.
    sts.mode(http("503 Service Unavailable", "", ""));
    until("they are exchanged anew, in vain", async || {
        timeout(Duration::from_millis(1_500), source.changed()).await.ok();
        sts.count("AssumeRole") > 1
    })
    .await;
    assert_eq!(value(&source, "A").await.unwrap(), CANARY, "they have not ended");
    sts.mode(http("200 OK", date, short));
    let failed = sts.count("AssumeRole");
    until("they are exchanged anew", async || {
        timeout(Duration::from_millis(1_500), source.changed()).await.ok();
        sts.count("AssumeRole") > failed
    })
    .await;
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    assert_unsaid(&["canary-web-identity-token", "canary-short-lived-key", "canary-session-token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_identity_is_what_boto3_takes_too() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let role = moto.role("pod", &everything());
    let ask = json!({"RoleArn": role, "RoleSessionName": "pod"});
    let given = moto.ok("sts", "assume_role", &ask)["Credentials"].clone();
    moto.check_signatures();
    let text = |field: &str| given[field].as_str().unwrap();
    let answer = json!({
        "AccessKeyId": text("AccessKeyId"), "SecretAccessKey": text("SecretAccessKey"),
        "Token": text("SessionToken"), "AccountId": "123456789012", "Expiration": "2040-01-01T00:00:00Z",
    });
    let agent = Agent::start("canary-pod-token-one", &answer.to_string()).await;
    // Without a newline, as the kubelet writes it: boto3 takes none.
    let token = moto.dir.path().join("pod-token");
    std::fs::write(&token, "canary-pod-token-one").unwrap();
    let ambient = Ambient {
        container_credentials_uri: Some(agent.uri()),
        container_token_file: Some(token.display().to_string()),
        ..Ambient::default()
    };
    let source = with(&moto.base(), "az", "auth=pod-identity", &ambient);
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    assert_eq!(agent.asked(), [200]);
    // The vendor's own client takes the same answer for the same token.
    let script = "import boto3,sys\n\
        sm = boto3.client('secretsmanager', region_name='eu-west-1', endpoint_url=sys.argv[1])\n\
        print(sm.get_secret_value(SecretId='az')['SecretString'])";
    let out = Command::new(moto::python().unwrap())
        .args(["-c", script, &moto.base()])
        .env_clear()
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.uri())
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token)
        .env("HOME", moto.dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.contains(CANARY), "{said} {}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(agent.asked(), [200, 200]);

    // Another token is asked for, and the file has the old one.
    agent.wants("canary-pod-token-two");
    let late = with(&moto.base(), "az", "auth=pod-identity", &ambient);
    let error = value(&late, "A").await.unwrap_err();
    assert!(error.starts_with("denied: ") && error.contains("EKS Pod Identity"), "{error}");
    assert!(error.contains("(403)") && error.contains("pod-token"), "{error}");
    moto.file("pod-token", "canary-pod-token-two");
    assert_eq!(value(&late, "A").await.unwrap(), CANARY);
    let secrets = [
        "canary-pod-token-one",
        "canary-pod-token-two",
        text("SecretAccessKey"),
        text("SessionToken"),
    ];
    assert_unsaid(&secrets);
}

#[tokio::test]
async fn a_key_in_a_file_is_taken_up_when_the_file_changes() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    moto.check_signatures();
    let (id, key) = moto.user("first", &everything());
    let file = moto.credentials_file("credentials", &id, &key);
    let source =
        at(&moto.base(), "az", &format!("auth=static&credentials_file={}", file.display()));
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    moto.ok("iam", "delete_access_key", &json!({"UserName": "first", "AccessKeyId": id}));
    let (id, next) = moto.user("second", &everything());
    moto.credentials_file("credentials", &id, &next);
    timeout(LIMIT, source.changed()).await.expect("a hint that the file changed");
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    moto.file("credentials", "[default]\naws_access_key_id = only");
    let error = value(&source, "A").await.unwrap_err();
    assert!(error.contains("expected a line [default]"), "{error}");
    std::fs::remove_file(&file).unwrap();
    assert!(value(&source, "A").await.unwrap_err().contains("it is not there"));
    assert_unsaid(&[&key, &next]);
}

#[tokio::test]
async fn the_sdks_own_chain_is_asked_where_it_is_named() {
    if let Ok(base) = std::env::var("TEST_OF_THE_CHAIN") {
        // With the variables of the story below.
        stores::log::listen();
        let source = at(&base, "az", "auth=default");
        assert_eq!(value(&source, "A").await.unwrap(), CANARY);
        // Where another identity is named, a key in the environment is of no use.
        let named = at(&base, "az", "role=arn:aws:iam::1:role/r&token_file=/nowhere/token");
        let error = value(&named, "A").await.unwrap_err();
        assert!(error.contains("/nowhere/token cannot be used"), "{error}");
        assert_unsaid(&[&std::env::var("AWS_SECRET_ACCESS_KEY").unwrap()]);
        return;
    }
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    moto.check_signatures();
    let (id, key) = moto.user("chain", &everything());
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "identity::the_sdks_own_chain_is_asked_where_it_is_named"])
        .env("TEST_OF_THE_CHAIN", moto.base())
        .env("AWS_ACCESS_KEY_ID", id)
        .env("AWS_SECRET_ACCESS_KEY", key)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    assert!(String::from_utf8_lossy(&out.stdout).contains("1 passed"));
}

#[tokio::test]
async fn refused_credentials_are_exchanged_once_and_not_again_and_again() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let role = moto.role("reader", &everything());
    let token = moto.file("token", "canary-web-identity-token");
    let (sm, sts) = (Proxy::before(moto.port()).await, Proxy::before(moto.port()).await);
    let query = format!("role={role}&token_file={}&sts_endpoint={}", token.display(), sts.base());
    let source = at(&sm.base(), "az", &query);
    sm.mode(refuses("UnrecognizedClientException"));
    for _ in 0..5 {
        let error = value(&source, "A").await.unwrap_err();
        assert!(error.contains("refused (UnrecognizedClientException)"), "{error}");
    }
    assert_eq!(sts.count("AssumeRoleWithWebIdentity"), 1, "the policy may be what is wrong");
    assert_eq!(calls(&sm, "DescribeSecret"), 5);
    sm.mode(Mode::Pass);
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    assert_unsaid(&["canary-web-identity-token"]);
}

#[test]
fn a_url_that_names_nothing_says_what_would_do() {
    let error = Aws::new("aws-sm://eu-west-1/az", &Ambient::default(), OVERLAP).unwrap_err();
    assert!(error.to_string().contains("AWS_ROLE_ARN as EKS sets it"), "{error}");
}
