//! Two Python clients, written for the real Telegram, against this one: what they take for it, is it.

use super::{Lie, Telegram};
use serde_json::json;
use std::{path::PathBuf, process::Stdio, time::Duration};
use tokio::process::Command;

/// How long the clients may take, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// Has `python-telegram-bot` and `aiogram` use a server of their own, whole. Whether they were there to do it.
///
/// # Panics
/// Something was not as they expect it of Telegram.
pub async fn proven() -> bool {
    let Some(python) = crate::tools::python(&["telegram", "aiogram"]) else {
        return false;
    };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/telegram/proof.py");
    for client in ["ptb", "aiogram"] {
        let telegram = Telegram::serve().await;
        let document = telegram.document("a.txt", "text/plain", b"of a person");
        telegram.writes(1, json!({ "text": "/start", "entities": [{ "type": "bot_command", "offset": 0, "length": 6 }] }));
        telegram.writes(1, json!({ "document": document, "caption": "a file" }));
        telegram.is_blocked_by(2);
        telegram.says(2, "and gone");
        telegram.next(
            "sendChatAction",
            Lie::Refuses(429, "Too Many Requests: retry after 3", json!({ "retry_after": 3 })),
        );
        let run = Command::new(&python)
            .arg(&script)
            .args([client, telegram.url(), &telegram.token()])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let ended = tokio::time::timeout(PATIENCE, run).await.expect("the client ends");
        let output = ended.expect("the client runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{client} does not take it for Telegram:\n{said}");
        assert_eq!(telegram.texts(1), ["bold & <plain>", "", "", ""], "{client}");
        assert_eq!(telegram.reaction(1, 1).as_deref(), Some("👍"), "{client}");
    }
    true
}
