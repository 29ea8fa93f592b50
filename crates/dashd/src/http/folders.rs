//! Folders.

use crate::{
    look::Here,
    pages::folders::{self as view, HARNESSES},
    parts::{Mark, address, choice, field, filter, mark, table},
    query::{self, blank},
    trouble::Trouble,
    visit::{Answer, Outcome, Visit, page as shown},
};
use maud::{Markup, html};
use proto::{
    Daemon, Folder, Nothing,
    routd::{
        ADD_GROUP, Cap, CapLimits, CapOf, Group, LIST_CAPS, LIST_GROUPS, LIST_LINKS, LIST_ROUTES,
        LIST_SCHEDULES, ListSchedules, MEMORY, MemoryOf, NewGroup, REMOVE_GROUP, RemoveGroup,
        SET_CAP, SetCap,
    },
    turn::Harness,
};
use serde::Deserialize;

/// Rows of a page.
const PAGE: usize = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    part: String,
    #[serde(default)]
    after: String,
}

/// The folder that a page or a form is about.
#[derive(Debug, Deserialize)]
pub(super) struct Of {
    #[serde(deserialize_with = "query::text")]
    folder: Folder,
}

pub(super) async fn groups(visit: &Visit) -> Result<Vec<Group>, Trouble> {
    Ok(visit.call(Daemon::Routd, &LIST_GROUPS, &Nothing {}).await?.groups)
}

async fn caps(visit: &Visit) -> Vec<Cap> {
    // Who sees a folder may not see what it spends; the folder is shown all the same.
    visit.call(Daemon::Routd, &LIST_CAPS, &Nothing {}).await.map(|all| all.caps).unwrap_or_default()
}

/// The folders.
pub(super) async fn page(visit: Visit, Which { part, after }: Which) -> Outcome {
    let (groups, caps) = (groups(&visit).await?, caps(&visit).await);
    let part = part.trim().to_owned();
    let fits = |group: &&Group| {
        group.folder.as_str().contains(&part) && group.folder.as_str() > after.as_str()
    };
    let mut rows: Vec<&Group> = groups.iter().filter(fits).take(PAGE + 1).collect();
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let next = rows
        .last()
        .filter(|_| more)
        .map(|last| address("/dash/folders", &[("part", &part), ("after", last.folder.as_str())]));
    let body = html! {
        (filter("/dash/folders", &field("part", "Name has", "part", &part, "")))
        (view::list(&rows, &caps))
        @if let Some(next) = next { nav.pager aria-label="Pages" { a rel="next" href=(next) { "More" } } }
        @if visit.is_operator() { (new_form(&visit)) }
    };
    shown(Here::Folders, "Folders", body)
}

fn new_form(visit: &Visit) -> Markup {
    html! {
        h2 { "A new folder" }
        form.fields method="post" action="/dash/folders" {
            input type="hidden" name="csrf" value=(visit.code());
            (field("folder", "Folder", "folder", "", "Such as team/name."))
            (field("jid", "A chat whose messages go there", "jid", "", "Such as telegram:group/7; may be left blank."))
            (choice("harness", "Harness", "harness", &HARNESSES, ""))
            (field("model", "Model", "model", "", "The instance's when left blank."))
            button type="submit" { "Add the folder" }
        }
    }
}

/// Finds one that this person may see.
async fn find(visit: &Visit, folder: &Folder) -> Result<Group, Trouble> {
    let found = groups(visit).await?.into_iter().find(|group| group.folder == *folder);
    found.ok_or_else(|| {
        Trouble::NotFound(format!("There is no folder {folder}, or it is not yours to see."))
    })
}

/// One folder.
pub(super) async fn one(visit: Visit, Of { folder }: Of) -> Outcome {
    let group = find(&visit, &folder).await?;
    let memory = visit.call(Daemon::Routd, &MEMORY, &MemoryOf { folder: folder.clone() }).await;
    let memory = memory.map(|memory| memory.content).map_err(|trouble| trouble.line());
    let caps = caps(&visit).await;
    let cap = view::of_folder(&caps, &folder);
    let name = folder.as_str();
    let links = [
        ("/dash/chats", "Chats"),
        ("/dash/messages", "Messages"),
        ("/dash/turns", "Turns"),
        ("/dash/schedules", "Schedules"),
        ("/dash/usage", "Usage"),
    ];
    let body = html! {
        nav.tabs aria-label="Of this folder" {
            @for (path, text) in links { a href=(address(path, &[("folder", name)])) { (text) } }
        }
        (view::one(&group, memory.as_deref().map_err(String::as_str)))
        h2 { "What it may spend" }
        (view::cap(cap))
        @if visit.is_operator() { (cap_form(&visit, &folder, cap)) }
        (around(&visit, &folder).await)
        @if visit.is_operator() { (change_form(&visit, &group)) }
    };
    shown(Here::Folders, name, body)
}

/// What leads to a folder, and when it works by itself.
async fn around(visit: &Visit, folder: &Folder) -> Markup {
    let routes = visit.call(Daemon::Routd, &LIST_ROUTES, &Nothing {}).await;
    let routes = routes.map(|all| all.routes).unwrap_or_default();
    let leads = |target: &str| {
        let to = target.split(['#', '{']).next().unwrap_or_default().trim_end_matches('/');
        to == folder.as_str()
    };
    let rows = routes.iter().filter(|row| leads(&row.target)).map(|row| {
        let every = if row.pattern.is_empty() { "every message" } else { &row.pattern };
        vec![html! { (row.seq) }, crate::parts::code(every), crate::parts::code(&row.target)]
    });
    let rows: Vec<Vec<Markup>> = rows.collect();
    let of = ListSchedules { folder: Some(folder.clone()), after: None, limit: Some(500) };
    let schedules = visit.call(Daemon::Routd, &LIST_SCHEDULES, &of).await;
    let links = visit.call(Daemon::Routd, &LIST_LINKS, &Nothing {}).await;
    let links = links.map(|all| all.links).unwrap_or_default();
    let links = links.iter().filter(|link| link.folder == *folder).count();
    html! {
        h2 { "What leads there" }
        (table("Routes to this folder", &["Order", "Match", "Target"], rows, "No route of the table does."))
        p {
            "Links: " a href="/dash/links" { (links) } ". Schedules: "
            @match schedules {
                Ok(all) => a href=(address("/dash/schedules", &[("folder", folder.as_str())])) { (all.schedules.len()) },
                Err(_) => (mark(Mark::Quiet, "not known")),
            }
            "."
        }
    }
}

fn cap_form(visit: &Visit, folder: &Folder, cap: Option<&Cap>) -> Markup {
    let limits = cap.map(|cap| cap.limits).unwrap_or_default();
    let money = |limit: Option<u64>| {
        limit
            .map(|micro| format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000))
            .unwrap_or_default()
    };
    let count = |limit: Option<u64>| limit.map(|count| count.to_string()).unwrap_or_default();
    html! {
        details {
            summary { "Set what it may spend" }
            form.fields method="post" action="/dash/folders/cap" {
                input type="hidden" name="csrf" value=(visit.code());
                input type="hidden" name="folder" value=(folder);
                (field("dd", "Dollars a day", "daily_dollars", &money(limits.daily_micro_dollars), "No limit when left blank."))
                (field("md", "Dollars a month", "monthly_dollars", &money(limits.monthly_micro_dollars), ""))
                (field("dt", "Tokens a day", "daily_tokens", &count(limits.daily_tokens), ""))
                (field("mt", "Tokens a month", "monthly_tokens", &count(limits.monthly_tokens), ""))
                button type="submit" { "Set" }
            }
        }
    }
}

fn change_form(visit: &Visit, group: &Group) -> Markup {
    let remove = address("/dash/folders/remove", &[("folder", group.folder.as_str())]);
    html! {
        h2 { "Changing it" }
        details {
            summary { "Say anew what runs its turns" }
            form.fields method="post" action="/dash/folders" {
                input type="hidden" name="csrf" value=(visit.code());
                input type="hidden" name="folder" value=(group.folder);
                (choice("harness", "Harness", "harness", &HARNESSES, group.harness.map_or("", Harness::name)))
                (field("model", "Model", "model", group.model.as_deref().unwrap_or_default(), "What is left blank stays."))
                button type="submit" { "Save" }
            }
        }
        div.row { a.button href=(remove) { "Take it out of service…" } }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct New {
    #[serde(deserialize_with = "query::text")]
    folder: Folder,
    #[serde(default, deserialize_with = "blank")]
    jid: Option<proto::Jid>,
    #[serde(default, deserialize_with = "blank")]
    harness: Option<Harness>,
    #[serde(default, deserialize_with = "blank")]
    model: Option<String>,
}

/// Adds a folder, or says anew what runs its turns.
pub(super) async fn add(visit: Visit, new: New) -> Outcome {
    let New { folder, jid, harness, model } = new;
    let request = NewGroup { folder, jid, harness, command: Vec::new(), model };
    let group = visit.call(Daemon::Routd, &ADD_GROUP, &request).await?;
    let query = [("folder", group.folder.as_str()), ("done", "saved")];
    Ok(Answer::See(address("/dash/folders/one", &query)))
}

#[derive(Debug, Deserialize)]
pub(super) struct NewCap {
    #[serde(deserialize_with = "query::text")]
    folder: Folder,
    #[serde(default)]
    daily_dollars: String,
    #[serde(default)]
    monthly_dollars: String,
    #[serde(default, deserialize_with = "blank")]
    daily_tokens: Option<u64>,
    #[serde(default, deserialize_with = "blank")]
    monthly_tokens: Option<u64>,
}

/// Sets what a folder may spend.
pub(super) async fn cap(visit: Visit, new: NewCap) -> Outcome {
    let limits = CapLimits {
        daily_micro_dollars: micro(&new.daily_dollars)?,
        monthly_micro_dollars: micro(&new.monthly_dollars)?,
        daily_tokens: new.daily_tokens,
        monthly_tokens: new.monthly_tokens,
    };
    let request = SetCap { of: CapOf::Folder(new.folder.clone()), limits };
    visit.call(Daemon::Routd, &SET_CAP, &request).await?;
    let query = [("folder", new.folder.as_str()), ("done", "saved")];
    Ok(Answer::See(address("/dash/folders/one", &query)))
}

/// Dollars, with at most six digits behind the point, as millionths.
pub(super) fn micro(text: &str) -> Result<Option<u64>, Trouble> {
    let text = text.trim().trim_start_matches('$');
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || Trouble::Invalid(format!("“{text}” is no amount of dollars such as 2.50."));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 6 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let part: u64 = format!("{part:0<6}").parse().map_err(|_| wrong())?;
    whole
        .checked_mul(1_000_000)
        .and_then(|micro| micro.checked_add(part))
        .map(Some)
        .ok_or_else(wrong)
}

/// Asks first.
pub(super) async fn ask_remove(visit: Visit, Of { folder }: Of) -> Outcome {
    let folder = find(&visit, &folder).await?.folder;
    let what = html! {
        p { "The folder " strong { (folder) } " takes no messages any more. Turns of it that have not ended are \
             stopped, and say so in their chats." }
        p { "Its messages, its memory and its home stay, and it gets them back when it is added again." }
    };
    let back = address("/dash/folders/one", &[("folder", folder.as_str())]);
    let does = ("/dash/folders/remove", "Take it out of service");
    let title = format!("Take {folder} out of service?");
    visit.ask(Here::Folders, title, &what, does, &[("folder", folder.as_str())], &back)
}

/// Takes a folder out of service.
pub(super) async fn remove(visit: Visit, Of { folder }: Of) -> Outcome {
    visit.call(Daemon::Routd, &REMOVE_GROUP, &RemoveGroup { folder }).await?;
    Ok(Answer::See("/dash/folders?done=removed".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_to_the_millionth_and_nothing_is_guessed() {
        for (text, found) in [
            ("", None),
            (" ", None),
            ("2", Some(2_000_000)),
            ("$2.50", Some(2_500_000)),
            ("0.000001", Some(1)),
        ] {
            assert_eq!(micro(text).unwrap(), found, "{text}");
        }
        for text in
            ["-1", "2,50", "1e3", "0.0000001", ".5", "x", "99999999999999999999", "18446744073710"]
        {
            assert!(micro(text).is_err(), "{text}");
        }
    }
}
