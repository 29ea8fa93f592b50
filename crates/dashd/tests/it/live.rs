//! What is kept up to date, and what is exported.

use crate::rig::{Dash, OPERATOR};
use std::time::Duration;

/// Reads a stream until `enough` says so.
async fn until(mut answer: reqwest::Response, enough: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let read = async {
        while let Some(chunk) = answer.chunk().await.unwrap() {
            text.push_str(&String::from_utf8_lossy(&chunk));
            if enough(&text) {
                return true;
            }
        }
        false
    };
    let found = tokio::time::timeout(Duration::from_secs(30), read).await;
    assert_eq!(found, Ok(true), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_the_state_at_once_and_then_what_changes() {
    let dash = Dash::new().await;
    let answer = dash.request("GET", "/dash/now", OPERATOR).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    dash.say("telegram:group/7", "m1", "to nobody").await;
    let text = until(answer, |text| text.contains("found no route: 1")).await;
    assert!(text.contains("data:") && !text.contains("<script"), "{text}");
    assert!(!text.contains("hx-"), "what is swapped in brings nothing to life");
    let answer = dash.request("GET", "/dash/secrets/now", OPERATOR).send().await.unwrap();
    let text = until(answer, |text| text.contains("CHANNEL_SECRET")).await;
    assert!(!text.contains(crate::rig::CHANNEL_SECRET), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_every_row_and_the_chain_is_made_anew() {
    let dash = Dash::new().await;
    let (status, csv) = dash.get("/dash/audit/export?what=group.add", OPERATOR).await;
    assert_eq!(status, 200);
    assert!(csv.starts_with("daemon,row,at,actor,action,target,detail,hash\r\n"), "{csv}");
    assert!(csv.contains("\"group.add\",\"corp/eng/sre\""), "{csv}");
    assert_eq!(csv.lines().count(), 1 + csv.matches("group.add").count(), "{csv}");
    let (_, lines) = dash.get("/dash/audit/export?format=jsonl", OPERATOR).await;
    let rows: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.len() > 4 && rows.iter().all(|row| row["daemon"] == "routd"));
    let (status, page) = dash.get("/dash/audit/verify", OPERATOR).await;
    // The two other owners are away in this test, and said to be.
    assert!(status == 200 && page.contains("as it was written"), "{page}");
    assert!(!page.contains("broken at row"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_pages_are_kept_up_to_date_at_once_and_a_closed_one_makes_room() {
    let dash = Dash::with(&[("DASHD_MAX_STREAMS", "1")]).await;
    let open = || async { dash.request("GET", "/dash/now", OPERATOR).send().await.unwrap() };
    let first = open().await;
    assert_eq!(first.status(), 200);
    let refused = open().await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "30");
    // The page itself is there all the same.
    assert_eq!(dash.get("/dash/", OPERATOR).await.0, 200);
    drop(first);
    let again = async {
        while open().await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.expect("there is room again");
}
