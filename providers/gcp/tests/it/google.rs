//! Google's own client for Python, with the same server: what is said of the server is so, and what either side writes the
//! other reads.

use crate::{source, versions};
use secrets::{Secret, SecretWriter};
use serde_json::{Value, json};
use stores::{
    gcp::{ACCOUNT, Gcp, PROJECT, PROJECT_NUMBER, client::Client},
    reading::{CANARY, name, value},
};

const SUBJECT: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJwb2QifQ.signature-of-pod";

fn parent() -> String {
    format!("projects/{PROJECT}")
}

fn of(secret: &str) -> String {
    format!("projects/{PROJECT}/secrets/{secret}")
}

/// The HTTP status of a call that must fail.
fn status(client: &mut Client, ask: &Value) -> u64 {
    let answer = client.call(ask);
    answer["status"].as_u64().unwrap_or_else(|| panic!("{ask} did not fail: {answer}"))
}

#[tokio::test]
async fn the_server_is_one_to_googles_client_by_the_metadata_server() {
    let gcp = Gcp::start();
    let Some(mut google) = Client::by_metadata_server(&gcp) else { return };
    let az = of("az");
    let created = google.ok(&json!({"do": "create", "parent": parent(), "id": "az"}));
    assert_eq!(created["name"], format!("projects/{PROJECT_NUMBER}/secrets/az"));
    let again = json!({"do": "create", "parent": parent(), "id": "az"});
    assert_eq!(status(&mut google, &again), 409);
    let access = |which: &str| json!({"do": "access", "name": format!("{az}/versions/{which}")});
    assert_eq!(status(&mut google, &access("latest")), 404, "without a version");
    for payload in [b"canary-google-1".as_slice(), b"canary-google-2", b"canary-google-3"] {
        google.add("az", payload);
    }
    assert_eq!(google.access("az", "latest"), b"canary-google-3");
    assert_eq!(google.access("az", "2"), b"canary-google-2");
    // Checksums both ways.
    let found = google.ok(&access("1"));
    assert_eq!(found["crc"], u64::from(crc32c::crc32c(b"canary-google-1")));
    let wrong = json!({"do": "add", "name": az, "data": "eA==", "crc": 7});
    assert_eq!(status(&mut google, &wrong), 400);
    // States, with etags, pages and filters.
    let two = google.ok(&json!({"do": "get", "name": format!("{az}/versions/2")}));
    assert_eq!(two["state"], "ENABLED");
    let change = |verb: &str, etag: &Value| json!({"do": verb, "name": format!("{az}/versions/2"), "etag": etag});
    assert_eq!(status(&mut google, &change("disable", &json!("\"0\""))), 400);
    assert_eq!(google.ok(&change("disable", &two["etag"]))["state"], "DISABLED");
    assert_eq!(status(&mut google, &access("2")), 400);
    let numbers = |google: &mut Client, filter: &str| {
        let list = google.ok(&json!({"do": "list", "name": az, "filter": filter}));
        let versions = list["versions"].as_array().unwrap().clone();
        let number = |v: &Value| v["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        versions.iter().map(number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&mut google, ""), ["3", "2", "1"]);
    assert_eq!(numbers(&mut google, "state:ENABLED"), ["3", "1"]);
    assert_eq!(google.ok(&change("enable", &Value::Null))["state"], "ENABLED");
    assert_eq!(google.ok(&change("destroy", &Value::Null))["state"], "DESTROYED");
    assert_eq!(status(&mut google, &change("enable", &Value::Null)), 400);
    // Tokens that end, rights that are missing, regions.
    let before = gcp.count("/token");
    gcp.revoke_tokens();
    assert_eq!(google.access("az", "1"), b"canary-google-1");
    assert_eq!(gcp.count("/token"), before + 1, "it got another token");
    gcp.deny("secretmanager.versions.access", "az");
    assert_eq!(status(&mut google, &access("1")), 403);
    gcp.allow_all();
    let regional = format!("{}/locations/europe-west3", parent());
    google.ok(&json!({"do": "create", "parent": regional, "id": "az"}));
    google.add("europe-west3/az", b"canary-google-here");
    assert_eq!(google.access("europe-west3/az", "1"), b"canary-google-here");
    google.ok(&json!({"do": "delete", "name": az}));
    assert_eq!(status(&mut google, &access("1")), 404);
    assert!(gcp.calls().iter().any(|call| call.contains("alt=json")), "by its REST transport");
}

#[tokio::test]
async fn the_server_is_one_to_googles_client_by_files_of_credentials() {
    let gcp = Gcp::start();
    gcp.add("az", CANARY.as_bytes());
    gcp.expect_subject(SUBJECT);
    let subject = gcp.dir.path().join("subject");
    std::fs::write(&subject, SUBJECT).unwrap();
    for is_impersonating in [false, true] {
        let config = gcp.external_account(&json!({"file": subject}), is_impersonating);
        let file = gcp.file("external.json", &config.to_string());
        let Some(mut google) = Client::by_file(&gcp, &file) else { return };
        assert_eq!(google.access("az", "latest"), CANARY.as_bytes());
        let path = format!("/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken");
        assert_eq!(gcp.count(&path), usize::from(is_impersonating));
    }
    assert_eq!(gcp.count("POST /v1/token"), 2);
    gcp.expect_subject("another");
    let Some(mut google) = Client::by_file(&gcp, &gcp.dir.path().join("external.json")) else {
        return;
    };
    let access = json!({"do": "access", "name": format!("{}/versions/1", of("az"))});
    assert_eq!(google.call(&access)["error"], "OAuthError");
    let Some(mut google) = Client::by_file(&gcp, &gcp.service_account_file()) else { return };
    google.call(&access);
    assert_eq!(gcp.count("computeMetadata"), 0);
}

#[tokio::test]
async fn what_google_writes_we_read_and_what_we_write_google_reads() {
    let gcp = Gcp::start();
    let Some(mut google) = Client::by_metadata_server(&gcp) else { return };
    google.ok(&json!({"do": "create", "parent": parent(), "id": "az"}));
    google.add("az", json!({"A": CANARY, "B": "canary-b-ü"}).to_string().as_bytes());
    let ours = source(&gcp, "az", "");
    assert_eq!(value(&ours, "A").await.unwrap(), CANARY);
    let new = Secret::new(b"canary-ours".to_vec()).unwrap();
    ours.write(&name("A"), &new).await.unwrap();
    let read: Value = serde_json::from_slice(&google.access("az", "latest")).unwrap();
    assert_eq!(read, json!({"A": "canary-ours", "B": "canary-b-ü"}));
    google.add("az", json!({"A": "canary-theirs"}).to_string().as_bytes());
    let now = versions(&ours, "A").await;
    assert_eq!(now.current.text().unwrap(), "canary-theirs");
    assert_eq!(crate::previous(&now), Some("canary-ours"));
    assert_eq!(now.id, "3");
    gcp.assert_unsaid(&[CANARY, "canary-ours", "canary-theirs"]);
}
