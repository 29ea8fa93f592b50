//! Looking through conversations: pages, filters, and whose they are.

use crate::{
    agent::Agent,
    rights::grant,
    stage::{Stage, message},
};
use kit::Caller;
use proto::{
    Daemon,
    routd::{
        Disposition, LIST_CHATS, LIST_MESSAGES, LIST_OUTBOX, LIST_TURNS, ListChats, ListMessages,
        ListOutbox, ListTurns, MEMORY, MemoryOf, PERSONA, PERSONA_MAX, Persona, PersonaOf,
        SET_PERSONA, SetPersona, TurnEnd,
    },
};

/// A token for `folder` and what lies below it.
fn limited(stage: &Stage, folder: &str) -> String {
    let scopes = ["conversations:read", "turns:read"];
    let folder = Some(folder.parse().unwrap());
    stage.authority.limited("operator:ann", &[Daemon::Routd], auth::Kind::Operator, &scopes, folder)
}

async fn chats(stage: &Stage, asked: ListChats, token: &str) -> (Vec<String>, Option<i64>) {
    let page = stage.call(&LIST_CHATS, &asked, token).await.unwrap();
    (page.chats.iter().map(|chat| chat.jid.to_string()).collect(), page.next)
}

async fn texts(stage: &Stage, asked: ListMessages, token: &str) -> (Vec<String>, Option<i64>) {
    let page = stage.call(&LIST_MESSAGES, &asked, token).await.unwrap();
    (page.messages.into_iter().map(|message| message.content).collect(), page.next)
}

async fn told() -> Stage {
    let stage = Stage::new().await;
    for folder in ["atlas/eng", "atlas_x", "borea"] {
        stage.add_group(folder).await;
    }
    for (chat, id, text) in [
        ("web:atlas~one", "m1", "the red house"),
        ("web:atlas/eng", "m2", "a red roof"),
        ("web:borea", "m3", "red tape"),
        ("web:atlas_x", "m4", "nothing"),
        ("telegram:group/7", "m5", "red and nobody's"),
        ("web:atlas~one", "m6", "the last word"),
    ] {
        stage.say(chat, id, text).await;
    }
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn chats_come_by_their_newest_message_a_page_at_a_time() {
    let stage = told().await;
    let operator = stage.operator();
    let all = |before, limit| ListChats { before, limit, ..ListChats::default() };
    let (first, next) = chats(&stage, all(None, Some(3)), &operator).await;
    assert_eq!(first, ["web:atlas~one", "telegram:group/7", "web:atlas_x"]);
    let (rest, end) = chats(&stage, all(next, Some(3)), &operator).await;
    assert_eq!(rest, ["web:borea", "web:atlas/eng"]);
    assert_eq!(end, None);
    let below = ListChats { folder: Some("atlas".parse().unwrap()), ..ListChats::default() };
    let (found, _) = chats(&stage, below, &operator).await;
    assert_eq!(found, ["web:atlas~one", "web:atlas/eng"], "`atlas_x` is not below `atlas`");
    let part = ListChats { jid: Some("group/".into()), ..ListChats::default() };
    assert_eq!(chats(&stage, part, &operator).await.0, ["telegram:group/7"]);
    let long = ListChats { jid: Some("x".repeat(257)), ..ListChats::default() };
    assert_eq!(stage.call(&LIST_CHATS, &long, &operator).await.unwrap_err().status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_by_chat_folder_words_and_what_became_of_them() {
    let stage = told().await;
    let operator = stage.operator();
    let none = ListMessages::default;
    let chat = ListMessages { chat_jid: Some("web:atlas~one".parse().unwrap()), ..none() };
    assert_eq!(texts(&stage, chat, &operator).await.0, ["the last word", "the red house"]);
    let words = |limit, before| ListMessages {
        words: Some("red".into()),
        folder: Some("atlas".parse().unwrap()),
        limit,
        before,
        ..none()
    };
    let (found, next) = texts(&stage, words(Some(1), None), &operator).await;
    assert_eq!(found, ["a red roof"]);
    let (found, _) = texts(&stage, words(Some(1), next), &operator).await;
    assert_eq!(found, ["the red house"], "a page goes on where the one before ended");
    let lost = ListMessages { disposition: Some(Disposition::Unrouted), ..none() };
    assert_eq!(texts(&stage, lost, &operator).await.0, ["red and nobody's"]);
    let odd = ListMessages { words: Some("\" OR *".into()), ..none() };
    assert!(texts(&stage, odd, &operator).await.0.len() <= 1, "words are no query language");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_folder_sees_what_is_of_that_folder_and_nothing_else() {
    let stage = told().await;
    let mut bold = message("web:atlas~one", "m7", "written under another's name");
    bold.sender = "telegram:user/9".into();
    stage.post(&bold).await;
    let ann = limited(&stage, "borea");
    assert_eq!(chats(&stage, ListChats::default(), &ann).await.0, ["web:borea"]);
    assert_eq!(texts(&stage, ListMessages::default(), &ann).await.0, ["red tape"]);
    let words = ListMessages { words: Some("red".into()), ..ListMessages::default() };
    assert_eq!(texts(&stage, words, &ann).await.0, ["red tape"]);
    let turns = stage.call(&LIST_TURNS, &ListTurns::default(), &ann).await.unwrap().turns;
    assert!(turns.iter().all(|turn| turn.folder.as_str() == "borea"), "{turns:?}");
    assert!(!turns.is_empty());
    let folder = || Some("atlas".parse().unwrap());
    let chat = ListChats { folder: folder(), ..ListChats::default() };
    assert_eq!(stage.call(&LIST_CHATS, &chat, &ann).await.unwrap_err().status, 403);
    let of = ListMessages { folder: folder(), ..ListMessages::default() };
    assert_eq!(stage.call(&LIST_MESSAGES, &of, &ann).await.unwrap_err().status, 403);
    let turns = ListTurns { folder: folder(), ..ListTurns::default() };
    assert_eq!(stage.call(&LIST_TURNS, &turns, &ann).await.unwrap_err().status, 403);
    let memory = MemoryOf { folder: "atlas".parse().unwrap() };
    assert_eq!(stage.call(&MEMORY, &memory, &ann).await.unwrap_err().status, 403);
    let outbox = ListOutbox::default();
    assert_eq!(stage.call(&LIST_OUTBOX, &outbox, &ann).await.unwrap_err().status, 403);
    let webd = stage.authority.service(Daemon::Webd);
    let refused = stage.call(&LIST_MESSAGES, &ListMessages::default(), &webd).await.unwrap_err();
    assert_eq!(refused.status, 403, "no daemon looks through conversations");
    assert!(!Caller::anonymous().may("conversations:read"));
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_and_the_outbox_say_what_did_not_go_well() {
    let stage = told().await;
    let operator = stage.operator();
    let turns = stage.call(&LIST_TURNS, &ListTurns::default(), &operator).await.unwrap().turns;
    let of: Vec<_> = turns.iter().filter(|turn| turn.folder.as_str() == "borea").collect();
    assert_eq!(of.len(), 1);
    assert_eq!(of[0].message_id.as_ref().unwrap().as_str(), "m3");
    let failed = ListTurns { outcome: Some(TurnEnd::Failed), ..ListTurns::default() };
    assert!(stage.call(&LIST_TURNS, &failed, &operator).await.unwrap().turns.is_empty());
    let state = |state: &str| ListOutbox { state: Some(state.into()), ..ListOutbox::default() };
    assert!(stage.call(&LIST_OUTBOX, &state("pending"), &operator).await.unwrap().rows.is_empty());
    let refused = stage.call(&LIST_OUTBOX, &state("lost"), &operator).await.unwrap_err();
    assert_eq!(refused.status, 400);
    let memory = MemoryOf { folder: "atlas".parse().unwrap() };
    assert_eq!(stage.call(&MEMORY, &memory, &operator).await.unwrap().content, "");
}

/// Says who the agent of a folder is.
async fn describe(
    stage: &Stage,
    folder: &str,
    content: &str,
    token: &str,
) -> Result<Persona, proto::Problem> {
    let said = SetPersona { folder: folder.parse().unwrap(), content: content.to_owned() };
    stage.call(&SET_PERSONA, &said, token).await
}

async fn persona(stage: &Stage, folder: &str, token: &str) -> Result<String, u16> {
    let of = PersonaOf { folder: folder.parse().unwrap() };
    let said = stage.call(&PERSONA, &of, token).await;
    said.map(|said| said.content).map_err(|problem| problem.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_administers_a_folder_says_who_its_agent_is_and_nobody_else_does() {
    let stage = Stage::new().await;
    stage.add_group("borea").await;
    grant(&stage, "user:ann admin borea allow").await;
    let (operator, words) = (stage.operator(), "You like the sea.");
    let as_person = |subject: &str| {
        let scopes = ["conversations:read", "personas:write"];
        stage.authority.token(subject, &[Daemon::Routd], auth::Kind::User, &scopes)
    };
    let (ann, bob) = (as_person("user:ann"), as_person("user:bob"));
    assert_eq!(persona(&stage, "borea", &ann).await.as_deref(), Ok(""));
    assert_eq!(describe(&stage, "borea", words, &ann).await.unwrap().content, words);
    assert_eq!(persona(&stage, "borea", &operator).await.as_deref(), Ok(words));
    for (folder, token) in [("atlas", &ann), ("borea", &bob)] {
        assert_eq!(describe(&stage, folder, "a spy", token).await.unwrap_err().status, 403);
        assert_eq!(persona(&stage, folder, token).await, Err(403), "{folder}");
    }
    let reads = limited(&stage, "borea");
    let refused = describe(&stage, "borea", "a spy", &reads).await.unwrap_err();
    assert_eq!(refused.status, 403, "reading is not writing");
    let long = "x".repeat(PERSONA_MAX + 1);
    for bad in [long.as_str(), "a\0b"] {
        assert_eq!(describe(&stage, "borea", bad, &operator).await.unwrap_err().status, 400);
    }
    let nowhere = describe(&stage, "nowhere", words, &operator).await.unwrap_err();
    assert_eq!(nowhere.status, 404);

    // Its agent is told, and no other; from the next question on, as it is then.
    stage.say("web:borea", "b0", "hello").await;
    let borea = Agent::on(&stage.runed.nth(0).await);
    assert_eq!(borea.input().await.unwrap().persona.as_deref(), Some(words));
    stage.say("web:atlas", "a0", "hello").await;
    let atlas = Agent::on(&stage.runed.nth(1).await);
    assert_eq!(atlas.input().await.unwrap().persona, None);
    // Said again it is nothing new; a text of the largest size is one; an empty one takes it away.
    describe(&stage, "borea", words, &operator).await.unwrap();
    let most = "é".repeat(PERSONA_MAX / 2);
    describe(&stage, "borea", &most, &operator).await.unwrap();
    assert_eq!(borea.input().await.unwrap().persona, Some(most));
    describe(&stage, "borea", "", &operator).await.unwrap();
    describe(&stage, "borea", "", &operator).await.unwrap();
    assert_eq!(borea.input().await.unwrap().persona, None);
    let audit = "SELECT count(*) FROM audit WHERE action = 'persona.set' AND target = 'borea'";
    assert_eq!(stage.count(audit), 3);
    assert_eq!(stage.count(&format!("{audit} AND actor = 'user:ann' AND detail = '17 bytes'")), 1);
    assert_eq!(stage.count("SELECT count(*) FROM audit WHERE detail LIKE '%sea%'"), 0);
}
