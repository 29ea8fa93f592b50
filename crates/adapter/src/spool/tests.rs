//! The spool, with its database on a disk.

use super::*;
use crate::Trouble;
use proto::{Jid, Opaque, routd::NewMessage};

const CHAT: &str = "telegram:user/1";

async fn spool(dir: &tempfile::TempDir) -> Spool {
    Spool::at(&dir.path().join("teled.db"), &Clock::manual(Timestamp(1_000))).await.unwrap()
}

fn event(chat: &str, key: &str) -> Event {
    let message = NewMessage {
        id: key.parse().unwrap(),
        chat_jid: chat.parse().unwrap(),
        sender: chat.into(),
        sender_name: None,
        content: format!("says {key}"),
        timestamp: None,
        topic: None,
        verb: None,
        reply_to: None,
        is_group: false,
        attachments: Vec::new(),
    };
    Event { key: key.into(), message }
}

fn jid(chat: &str) -> Jid {
    chat.parse().unwrap()
}

fn ids(ids: &[&str]) -> Vec<Opaque> {
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

#[tokio::test]
async fn what_was_taken_is_there_after_a_restart_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let first = spool(&dir).await;
    let batch = vec![event(CHAT, "1"), event("telegram:user/2", "2"), event(CHAT, "3")];
    let mark = Some(("read", "3".to_owned()));
    assert_eq!(first.take(batch, mark).await.unwrap(), Taken { new: 3, repeated: 0 });
    first.db.close().await;
    drop(first);

    let second = spool(&dir).await;
    let again = second.take(vec![event(CHAT, "3"), event(CHAT, "4")], None).await.unwrap();
    assert_eq!(again, Taken { new: 1, repeated: 1 });
    assert_eq!(second.mark("read").await.unwrap().unwrap().value, "3");
    let heads = second.heads(Vec::new(), 9).await.unwrap();
    assert_eq!(
        heads.iter().map(|head| head.chat.as_str()).collect::<Vec<_>>(),
        [CHAT, "telegram:user/2"]
    );
    assert_eq!(second.heads(vec![CHAT.into()], 9).await.unwrap().len(), 1);
    let mut seen = Vec::new();
    while let Some(head) = second.head(&jid(CHAT)).await.unwrap() {
        seen.push(serde_json::from_str::<NewMessage>(&head.message).unwrap().id.to_string());
        second.settle(head.seq, Settled::Delivered).await.unwrap();
    }
    assert_eq!(seen, ["1", "3", "4"]);
    assert_eq!(second.counts().await.unwrap(), (1, 0), "the other chat's is still there");
}

#[tokio::test]
async fn what_is_set_aside_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(&dir).await;
    let mark = Some(("read", "8".to_owned()));
    spool.set_aside("8".into(), "{".into(), "no JSON".into(), mark).await.unwrap();
    spool.take(vec![event(CHAT, "9")], None).await.unwrap();
    assert_eq!(spool.head(&jid(CHAT)).await.unwrap().unwrap().chat, jid(CHAT));
    assert_eq!(spool.counts().await.unwrap(), (1, 1));
    assert_eq!(spool.mark("read").await.unwrap().unwrap().value, "8");
}

#[tokio::test]
async fn an_order_goes_on_where_it_was_and_ends_once() {
    let dir = tempfile::tempdir().unwrap();
    let first = spool(&dir).await;
    first.add_order("k", "d", &jid(CHAT), vec!["\"a\"".into(), "\"b\"".into()]).await.unwrap();
    first.piece_is("k", 0, PieceState::UnderWay).await.unwrap();
    first.piece_is("k", 0, PieceState::Out(ids(&["11"]))).await.unwrap();
    first.piece_is("k", 1, PieceState::UnderWay).await.unwrap();
    first.db.close().await;
    drop(first);

    let second = spool(&dir).await;
    let order = second.order("k").await.unwrap().unwrap();
    assert_eq!((order.state.clone(), order.ids()), (OrderState::Open, ids(&["11"])));
    assert_eq!(order.pieces[1].state, PieceState::UnderWay);
    second.piece_is("k", 1, PieceState::Out(ids(&["12", "13"]))).await.unwrap();
    let order = second.order("k").await.unwrap().unwrap();
    assert_eq!((order.state.clone(), order.ids()), (OrderState::Done, ids(&["11", "12", "13"])));
    second.fail("k", &Trouble::Permanent("late".into())).await.unwrap();
    assert_eq!(second.order("k").await.unwrap().unwrap().state, OrderState::Done);
    let (chat, other) = (jid(CHAT), jid("telegram:user/2"));
    let first_id: Opaque = "11".parse().unwrap();
    assert_eq!(second.together(&chat, &first_id).await.unwrap(), ids(&["11", "12", "13"]));
    assert_eq!(second.together(&other, &first_id).await.unwrap(), ids(&["11"]));
    assert!(second.order("other").await.unwrap().is_none());
}

#[tokio::test]
async fn what_nobody_asks_for_any_more_is_forgotten_and_what_waits_never_is() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(&dir).await;
    spool.take(vec![event(CHAT, "1"), event(CHAT, "2")], None).await.unwrap();
    let head = spool.head(&jid(CHAT)).await.unwrap().unwrap();
    spool.settle(head.seq, Settled::Aside("no".into())).await.unwrap();
    spool.add_order("k", "d", &jid(CHAT), vec!["1".into()]).await.unwrap();
    assert!(!spool.sweep().await.unwrap());
    assert_eq!(spool.counts().await.unwrap(), (1, 1));
    spool.clock.advance(ORDERS_KEPT + Duration::from_secs(1));
    assert!(!spool.sweep().await.unwrap());
    assert_eq!(spool.counts().await.unwrap(), (1, 0));
    assert!(spool.order("k").await.unwrap().is_none());
}
