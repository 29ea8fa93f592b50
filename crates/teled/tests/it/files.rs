//! Files, both ways, streamed.

use crate::stage::{ADA, CHAT, Stage, text};
use axum::{Router, extract::Path, routing::get};
use kit::testing::serve_router_on;
use proto::routd::{Attachment, Send};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_file_is_served_to_routd_and_to_nobody_else() {
    let stage = Stage::new().await;
    let content = vec![7_u8; 300_000];
    let document = stage.telegram.document("plan.pdf", "application/pdf", &content);
    stage.telegram.writes(ADA, json!({ "document": document, "caption": "read this" }));
    stage.texts(CHAT, 1).await;
    let http = kit::http_client().unwrap();
    let url = format!("{}/files/{}", stage.teled_url(), document["file_id"].as_str().unwrap());
    assert_eq!(http.get(&url).send().await.unwrap().status(), 401);
    let answer = http.get(&url).bearer_auth(stage.routds_token()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(answer.bytes().await.unwrap(), content);
    let gone = format!("{}/files/gone", stage.teled_url());
    let gone = http.get(gone).bearer_auth(stage.routds_token()).send().await.unwrap();
    assert_eq!(gone.status(), 404);
    let said = gone.text().await.unwrap();
    assert!(!said.contains(stage.telegram.token().split_once(':').unwrap().1), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_files_go_as_pictures_albums_and_documents() {
    let mut stage = Stage::bare().await;
    let token = stage.telegram.token();
    stage.source.set_silently([("TELEGRAM_BOT_TOKEN", token.as_str())]);
    stage.start_routd().await;
    stage.start_teled().await;
    stage.open_chat().await;
    // In routd's place stands what serves files, so that the test says what is in them.
    stage.stop_routd().await;
    let serve = |Path(id): Path<String>| async move {
        match id.as_str() {
            "gone" => Err(axum::http::StatusCode::NOT_FOUND),
            "odd" => Ok(b"no picture".to_vec()),
            id => Ok(id.as_bytes().repeat(1_000)),
        }
    };
    let port = stage.routd_url().rsplit(':').next().unwrap().to_owned();
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
    let _serving = serve_router_on(listener, Router::new().route("/v1/files/{id}", get(serve)));
    let file = |id: &str, mime: &str| Attachment {
        filename: format!("{id}.bin"),
        mime: mime.into(),
        url: Some(format!("/v1/files/{id}")),
        size: Some(1_000),
    };
    let send = |content: &str, attachments: Vec<Attachment>| Send { attachments, ..text(content) };
    let album = vec![file("a", "image/png"), file("b", "image/jpeg"), file("c", "text/plain")];
    let ids = stage.send_as(&send("**look**", album), "k1").await.unwrap();
    assert_eq!(ids.len(), 3);
    let sent = stage.telegram.sent();
    let methods: Vec<&str> = sent.iter().map(|one| one.method.as_str()).collect();
    assert_eq!(methods, ["sendMediaGroup", "sendMediaGroup", "sendDocument"]);
    assert_eq!(sent[0].text, "look");
    let content = |nth: usize| sent[nth].file.as_ref().unwrap().1.to_vec();
    assert_eq!((content(0), content(2)), (b"a".repeat(1_000), b"c".repeat(1_000)));

    // A picture that Telegram does not take as one is a document.
    stage.send_as(&send("", vec![file("odd", "image/png")]), "k2").await.unwrap();
    assert_eq!(stage.telegram.sent().last().unwrap().method, "sendDocument");
    let count = stage.telegram.sent().len();
    let gone = stage.send_as(&send("x", vec![file("gone", "text/plain")]), "k3").await;
    assert_eq!(gone, Err((400, "permanent".into())));
    let large = Attachment { size: Some(3_000_000_000), ..file("a", "text/plain") };
    assert_eq!(stage.send_as(&send("x", vec![large]), "k4").await, Err((400, "permanent".into())));
    let elsewhere =
        Attachment { url: Some("http://127.0.0.1:1/x".into()), ..file("a", "text/plain") };
    let refused = stage.send_as(&send("x", vec![elsewhere]), "k5").await;
    assert_eq!(refused, Err((400, "permanent".into())));
    assert_eq!(stage.telegram.sent().len(), count, "nothing of them is out");
}
