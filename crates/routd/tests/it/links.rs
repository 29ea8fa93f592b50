//! Capability links.

use crate::stage::{Stage, eventually, message};
use proto::{
    Daemon, Problem,
    routd::{
        ISSUE_LINK, IssueLink, IssuedLink, LIST_LINKS, Link, LinkKind, REKEY, REMOVE_GROUP,
        RESOLVE_LINK, REVOKE_LINK, ROTATE_LINK, RemoveGroup, ResolveLink, RevokeLink, RotateLink,
        Signature, VERIFY_DELIVERY, Verified, VerifyDelivery,
    },
};

pub async fn issue(stage: &Stage, kind: LinkKind, source: Option<&str>) -> IssuedLink {
    let folder = "atlas".parse().unwrap();
    let wanted = IssueLink::unsigned(kind, folder, source.map(str::to_owned));
    stage.call(&ISSUE_LINK, &wanted, &stage.operator()).await.unwrap()
}

pub async fn resolve(stage: &Stage, token: &str, kind: LinkKind) -> Result<Link, Problem> {
    let shown = ResolveLink { token: token.into(), kind };
    stage.call(&RESOLVE_LINK, &shown, &stage.authority.service(Daemon::Webd)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_one_chat_until_it_is_revoked() {
    let stage = Stage::new().await;
    let one = issue(&stage, LinkKind::Chat, None).await;
    let two = issue(&stage, LinkKind::Chat, None).await;
    let hook = issue(&stage, LinkKind::Hook, Some("ci")).await;
    assert_ne!(one.link.chat_jid, two.link.chat_jid, "each link has a chat of its own");
    assert_eq!(hook.link.chat_jid.as_str(), "hook:atlas/ci");
    assert_eq!(one.path, format!("/chat/{}/", one.token));
    assert_eq!(one.token.len(), 43, "256 bits");
    assert_eq!(resolve(&stage, &one.token, LinkKind::Chat).await.unwrap(), one.link);
    assert_eq!(resolve(&stage, &hook.token, LinkKind::Hook).await.unwrap(), hook.link);
    for (token, kind) in [
        (one.token.as_str(), LinkKind::Hook),
        ("", LinkKind::Chat),
        ("x", LinkKind::Chat),
        (one.link.id.as_str(), LinkKind::Chat),
    ] {
        assert_eq!(resolve(&stage, token, kind).await.unwrap_err().status, 404, "{token}");
    }
    for _ in 0..2 {
        let revoked = RevokeLink { id: one.link.id.clone() };
        stage.call(&REVOKE_LINK, &revoked, &stage.operator()).await.unwrap();
    }
    assert_eq!(resolve(&stage, &one.token, LinkKind::Chat).await.unwrap_err().status, 404);
    assert!(resolve(&stage, &two.token, LinkKind::Chat).await.is_ok());
    let list = stage.call(&LIST_LINKS, &proto::Nothing {}, &stage.operator()).await.unwrap();
    assert_eq!(list.links, [two.link.clone(), hook.link.clone()]);
    let gone = RemoveGroup { folder: "atlas".parse().unwrap() };
    stage.call(&REMOVE_GROUP, &gone, &stage.operator()).await.unwrap();
    assert_eq!(resolve(&stage, &two.token, LinkKind::Chat).await.unwrap_err().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_nowhere_but_in_the_answer() {
    let mut stage = Stage::new().await;
    let link = issue(&stage, LinkKind::Chat, None).await;
    assert!(!format!("{link:?}").contains(&link.token));
    stage.post(&message(link.link.chat_jid.as_str(), "m1", "hello")).await;
    stage.stop().await;
    let store = stage.dir.path().join("store");
    // The log beside the database is emptied when it is closed, which is a little after the stop.
    let log = store.join("routd.db-wal");
    eventually("the database to be closed", || async {
        let size = std::fs::metadata(&log).map_or(0, |found| found.len());
        (size == 0).then_some(())
    })
    .await;
    let mut files = 0;
    for entry in std::fs::read_dir(store).unwrap() {
        let Ok(bytes) = std::fs::read(entry.unwrap().path()) else { continue };
        let found = bytes.windows(link.token.len()).any(|window| window == link.token.as_bytes());
        assert!(!found);
        files += 1;
    }
    assert!(files > 0);
    stage.start().await;
    assert_eq!(resolve(&stage, &link.token, LinkKind::Chat).await.unwrap(), link.link);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_make_or_open_links() {
    let stage = Stage::new().await;
    let link = issue(&stage, LinkKind::Chat, None).await;
    let shown = ResolveLink { token: link.token.clone(), kind: LinkKind::Chat };
    let runed = stage.authority.service(Daemon::Runed);
    assert_eq!(stage.call(&RESOLVE_LINK, &shown, &runed).await.unwrap_err().status, 403);
    let wanted = IssueLink::unsigned(LinkKind::Chat, "atlas".parse().unwrap(), None);
    let webd = stage.authority.service(Daemon::Webd);
    assert_eq!(stage.call(&ISSUE_LINK, &wanted, &webd).await.unwrap_err().status, 403);
    let nowhere = IssueLink { folder: "nowhere".parse().unwrap(), ..wanted };
    let operator = stage.operator();
    assert_eq!(stage.call(&ISSUE_LINK, &nowhere, &operator).await.unwrap_err().status, 404);
}

/// HMAC-SHA-256 of a payload, in base64, as a sender makes it.
fn sign(secret: &[u8], payload: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    STANDARD.encode(aws_lc_rs::hmac::sign(&key, payload))
}

async fn verified(stage: &Stage, id: &proto::Opaque, secret: &[u8]) -> Result<Verified, Problem> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let payload = b"{\"ref\":\"main\"}";
    let shown = VerifyDelivery {
        id: id.clone(),
        payload: STANDARD.encode(payload),
        signatures: vec![sign(b"somebody else's", payload), sign(secret, payload)],
    };
    stage.call(&VERIFY_DELIVERY, &shown, &stage.authority.service(Daemon::Webd)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signing_secret_is_replaced_without_a_refused_delivery() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut stage = Stage::unstarted().timeless();
    stage.start().await;
    stage.add_group("atlas").await;
    let operator = stage.operator();
    let folder: proto::Folder = "atlas".parse().unwrap();
    let wanted = IssueLink {
        signature: Some(Signature::Github),
        ..IssueLink::unsigned(LinkKind::Hook, folder.clone(), Some("forge".into()))
    };
    let issued = stage.call(&ISSUE_LINK, &wanted, &operator).await.unwrap();
    let (id, first) = (issued.link.id.clone(), issued.signing_secret.unwrap());
    assert_eq!((issued.link.signature, first.len()), (Some(Signature::Github), 64));
    let yes = Verified { verified: true, by_previous: false };
    let no = Verified { verified: false, by_previous: false };
    assert_eq!(verified(&stage, &id, first.as_bytes()).await.unwrap(), yes);
    assert_eq!(verified(&stage, &id, b"guess").await.unwrap(), no);

    let rotate = RotateLink { id: id.clone(), signing_secret: None };
    let second = stage.call(&ROTATE_LINK, &rotate, &operator).await.unwrap();
    assert_ne!(second.signing_secret, first);
    assert_eq!(verified(&stage, &id, second.signing_secret.as_bytes()).await.unwrap(), yes);
    let by_previous = Verified { verified: true, by_previous: true };
    assert_eq!(verified(&stage, &id, first.as_bytes()).await.unwrap(), by_previous);
    stage.clock.advance(std::time::Duration::from_secs(301));
    assert_eq!(verified(&stage, &id, first.as_bytes()).await.unwrap(), no, "its overlap is over");
    assert_eq!(verified(&stage, &id, second.signing_secret.as_bytes()).await.unwrap(), yes);

    // A renewal of the database's key changes nothing for the sender.
    stage.call(&REKEY, &proto::authd::Rekey::default(), &operator).await.unwrap();
    assert_eq!(verified(&stage, &id, second.signing_secret.as_bytes()).await.unwrap(), yes);

    // One that the sender chose, as Standard Webhooks writes it.
    let chosen = format!("whsec_{}", STANDARD.encode([7; 24]));
    let wanted = IssueLink {
        signature: Some(Signature::Standard),
        signing_secret: Some(chosen.clone()),
        ..IssueLink::unsigned(LinkKind::Hook, folder.clone(), Some("pay".into()))
    };
    let pay = stage.call(&ISSUE_LINK, &wanted, &operator).await.unwrap();
    assert_eq!(verified(&stage, &pay.link.id, &[7; 24]).await.unwrap(), yes);
    assert_eq!(verified(&stage, &pay.link.id, chosen.as_bytes()).await.unwrap(), no);

    // What is not signed, not there, or not a secret.
    for (kind, signature, secret) in [
        (LinkKind::Chat, Some(Signature::Github), None),
        (LinkKind::Hook, None, Some("a-long-enough-secret")),
        (LinkKind::Hook, Some(Signature::Github), Some("short")),
        (LinkKind::Hook, Some(Signature::Standard), Some("a-long-enough-secret")),
    ] {
        let signing_secret = secret.map(str::to_owned);
        let unsigned = IssueLink::unsigned(kind, folder.clone(), None);
        let wrong = IssueLink { signature, signing_secret, ..unsigned };
        let problem = stage.call(&ISSUE_LINK, &wrong, &operator).await.unwrap_err();
        assert_eq!(problem.status, 400, "{kind:?}");
        assert!(!problem.detail.contains("a-long-enough-secret"), "{}", problem.detail);
    }
    stage.call(&REVOKE_LINK, &RevokeLink { id: id.clone() }, &operator).await.unwrap();
    let ended = verified(&stage, &id, second.signing_secret.as_bytes()).await.unwrap_err();
    assert_eq!(ended.status, 404);
    let rotate = RotateLink { id, signing_secret: None };
    assert_eq!(stage.call(&ROTATE_LINK, &rotate, &operator).await.unwrap_err().status, 404);
    // It is nowhere to be read.
    let list = stage.call(&LIST_LINKS, &proto::Nothing {}, &operator).await.unwrap();
    assert!(!serde_json::to_string(&list).unwrap().contains(&chosen));
}
