//! Capability links.

use crate::stage::{Stage, eventually, message};
use proto::{
    Daemon, Problem,
    routd::{
        ISSUE_LINK, IssueLink, IssuedLink, LIST_LINKS, Link, LinkKind, REMOVE_GROUP, RESOLVE_LINK,
        REVOKE_LINK, RemoveGroup, ResolveLink, RevokeLink,
    },
};

pub async fn issue(stage: &Stage, kind: LinkKind, source: Option<&str>) -> IssuedLink {
    let wanted =
        IssueLink { kind, folder: "atlas".parse().unwrap(), source: source.map(str::to_owned) };
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
    let wanted = IssueLink { kind: LinkKind::Chat, folder: "atlas".parse().unwrap(), source: None };
    let webd = stage.authority.service(Daemon::Webd);
    assert_eq!(stage.call(&ISSUE_LINK, &wanted, &webd).await.unwrap_err().status, 403);
    let nowhere = IssueLink { folder: "nowhere".parse().unwrap(), ..wanted };
    let operator = stage.operator();
    assert_eq!(stage.call(&ISSUE_LINK, &nowhere, &operator).await.unwrap_err().status, 404);
}
