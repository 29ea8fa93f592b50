//! Lists: filtered by their address, and gone through page by page.

use crate::rig::{Dash, OPERATOR};
use proto::routd::{AUDIT, AuditQuery};

/// Where the next page is, if there is one.
fn older(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("rel=\"next\" href=\"")?;
    Some(rest.split('"').next()?.replace("&amp;", "&"))
}

/// The words of `all` that are on the page.
fn seen<'a>(page: &str, all: &'a [String]) -> Vec<&'a str> {
    all.iter().map(String::as_str).filter(|word| page.contains(&format!("{word}."))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_gone_through_page_by_page_and_found_by_what_is_asked() {
    let dash = Dash::new().await;
    let words: Vec<String> = (0..52).map(|nth| format!("word{nth:02}")).collect();
    for (nth, word) in words.iter().enumerate() {
        dash.say("web:corp/eng", &format!("m{nth}"), &format!("{word}.")).await;
    }
    dash.say("web:other", "o1", "zephyr in another folder").await;
    dash.say("telegram:group/7", "lost", "quartz for nobody").await;
    let (_, page) = dash.get("/dash/messages?folder=corp/eng", OPERATOR).await;
    assert_eq!(seen(&page, &words), words[2..], "the newest fifty");
    assert!(!page.contains("zephyr") && !page.contains("quartz"), "{page}");
    let next = older(&page).unwrap();
    assert!(next.contains("folder=corp%2Feng"), "what was asked stays: {next}");
    let (_, page) = dash.get(&next, OPERATOR).await;
    assert_eq!(seen(&page, &words), words[..2], "and the rest, each once");
    assert_eq!(older(&page), None);
    assert!(page.contains(">Newest<"), "{page}");
    for (asked, there, not) in [
        ("disposition=unrouted", "quartz", "zephyr"),
        ("disposition=turn", "zephyr", "quartz"),
        ("words=zephyr", "zephyr", "word51."),
        ("chat=web:other", "zephyr", "word51."),
    ] {
        let (_, page) = dash.get(&format!("/dash/messages?{asked}"), OPERATOR).await;
        let (_, list) = page.split_once("</form>").unwrap();
        assert!(list.contains(there) && !list.contains(not), "{asked}: {list}");
    }
    let (_, page) = dash.get("/dash/chats?jid=group", OPERATOR).await;
    assert!(page.contains("telegram:group/7") && !page.contains("web:other"), "{page}");
    let (_, page) = dash.get("/dash/folders?part=eng", OPERATOR).await;
    assert!(page.contains(">corp/eng/sre<") && !page.contains(">corp/ops<"), "{page}");
    let (_, page) = dash.get("/dash/folders?after=corp/eng/sre", OPERATOR).await;
    assert!(page.contains(">corp/ops<") && !page.contains(">corp/eng/sre<"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_filtered_by_who_what_and_to_what() {
    let dash = Dash::new().await;
    let fields = [("match", "platform=x"), ("target", "corp/eng")];
    dash.post("/dash/routes", OPERATOR, &fields).await;
    let rows = dash.call(&AUDIT, &AuditQuery { before: None, limit: None }).await.rows;
    let made = rows.iter().find(|row| row.action == "route.add").unwrap().id;
    let there = |page: &str| page.contains(&format!(">{made}<")) && page.contains("route.add");
    for (asked, is_there) in [
        ("", true),
        ("who=operator", true),
        ("who=service:timed", false),
        ("what=route.add", true),
        ("what=group.add", false),
        ("to=platform%3Dx", true),
        ("to=nowhere", false),
        ("daemon=routd&what=route", true),
        ("daemon=onbod", false),
    ] {
        let (status, page) = dash.get(&format!("/dash/audit?{asked}"), OPERATOR).await;
        assert_eq!((status, there(&page)), (200, is_there), "{asked}: {page}");
    }
    let (_, lines) = dash.get("/dash/audit/export?format=jsonl&what=route.add", OPERATOR).await;
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(lines.contains("\"action\":\"route.add\"") && lines.ends_with('\n'), "{lines}");
}
