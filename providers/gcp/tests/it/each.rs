//! One secret for each name.

use crate::{previous, source, versions};
use secrets::{Answer, SecretSource, SecretWriter, testing};
use std::sync::Arc;
use stores::{
    gcp::Gcp,
    reading::{A, CANARY, name, value},
};

#[tokio::test]
async fn each_name_has_versions_of_its_own_and_says_so() {
    let gcp = Gcp::start();
    gcp.add("az-A", b"canary-each-one\n");
    gcp.add("az-B", b"canary-each-b");
    gcp.add("az-BYTES", b"\xff\xfe\xfd");
    gcp.add("azure-A", b"somebody else's");
    let each = source(&gcp, "az-*", "");
    assert!(each.place().contains("each name is of its own moment"), "{}", each.place());
    let before = versions(&each, "A").await;
    assert_eq!(before.current.text().unwrap(), "canary-each-one", "one newline at the end goes");
    gcp.add("az-A", b"canary-each-two");
    let answers = each.read(&["A", "B", "BYTES", "NONE"].map(name)).await.unwrap();
    let [Answer::Found(a), Answer::Found(b), Answer::Found(bytes), Answer::Missing] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!((a.id.as_str(), b.id.as_str()), ("2", "1"));
    assert_eq!((previous(a), previous(b)), (Some("canary-each-one"), None));
    assert!(a.changed_at > b.changed_at);
    assert_eq!(bytes.current.expose(), b"\xff\xfe\xfd", "a value need not be text here");
    assert_eq!(gcp.count("azure-A"), 0);
    gcp.assert_unsaid(&["canary-each-one", "canary-each-two", "canary-each-b"]);
}

#[tokio::test]
async fn a_name_that_cannot_be_had_takes_no_other_away() {
    let gcp = Gcp::start();
    gcp.add("az-A", CANARY.as_bytes());
    gcp.add("az-B", b"canary-beside");
    let each = Arc::new(source(&gcp, "az-*", ""));
    let keeper = testing::keep(vec![each.clone()], testing::policy());
    let watched = keeper.for_daemon("d").watch(&A).await.unwrap();
    gcp.deny("secretmanager.versions.get", "az-B");
    let error = each.read(&[name("A"), name("B")]).await.unwrap_err().chain();
    assert!(
        error.contains("secretmanager.versions.get on projects/demo-project/secrets/az-B"),
        "{error}"
    );
    gcp.set_state("az-A", 1, "DISABLED");
    keeper.refresh("test").await;
    assert!(value(&*each, "A").await.unwrap_err().contains("version 1, the newest, is disabled"));
    assert_eq!(watched.current().as_str(), CANARY);
    gcp.assert_unsaid(&[CANARY, "canary-beside"]);
}

#[tokio::test]
async fn names_are_written_removed_and_never_kept_where_they_leaked() {
    let gcp = Gcp::start();
    let each = source(&gcp, "az-*", "");
    let secret = |text: &str| secrets::Secret::new(text.as_bytes().to_vec()).unwrap();
    each.write(&name("A"), &secret("canary-put-one")).await.unwrap();
    each.write(&name("A_PREVIOUS"), &secret("canary-put-zero")).await.unwrap();
    assert_eq!(value(&each, "A").await.unwrap(), "canary-put-one");
    // The same once more is no new version.
    each.write(&name("A"), &secret("canary-put-one")).await.unwrap();
    assert_eq!(gcp.states("az-A"), ["ENABLED"]);
    // It leaked: neither the source's own version before nor one before that comes back.
    let (a, gone, new) = (name("A"), name("A_PREVIOUS"), secret("canary-put-two"));
    let changes = [secrets::Change::Remove(&gone), secrets::Change::Set(&a, &new)];
    each.change(&changes).await.unwrap();
    let now = versions(&each, "A").await;
    assert_eq!((now.current.text().unwrap(), previous(&now)), ("canary-put-two", None));
    assert_eq!(gcp.states("az-A"), ["DISABLED", "ENABLED", "ENABLED"]);
    assert_eq!(value(&each, "A_PREVIOUS").await.unwrap_err(), "missing");
    each.remove(&name("A_PREVIOUS")).await.unwrap();
    gcp.assert_unsaid(&["canary-put-zero", "canary-put-one", "canary-put-two"]);
}
