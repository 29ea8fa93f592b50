//! Folders.

use super::limits::{self, Limits};
use crate::{
    look::Here,
    pages::folders::{self as view, harnesses},
    parts::{Mark, address, choice, field, filter, mark, table},
    query::{self, blank},
    trouble::Trouble,
    visit::{Answer, Outcome, Visit, page as shown},
};
use maud::{Markup, html};
use proto::{
    Daemon, Folder, Nothing,
    routd::{
        ADD_GROUP, Cap, CapOf, Group, LIST_CAPS, LIST_GROUPS, LIST_LINKS, LIST_ROUTES,
        LIST_SCHEDULES, ListSchedules, MEMORY, MemoryOf, NewGroup, PERSONA, PersonaOf,
        REMOVE_GROUP, RemoveGroup, SET_CAP, SET_PERSONA, SetCap, SetPersona,
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
            (choice("harness", "Harness", "harness", &harnesses("the instance's default"), ""))
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
    let (of_persona, of_memory) =
        (PersonaOf { folder: folder.clone() }, MemoryOf { folder: folder.clone() });
    let (persona, memory, caps) = futures::future::join3(
        visit.call(Daemon::Routd, &PERSONA, &of_persona),
        visit.call(Daemon::Routd, &MEMORY, &of_memory),
        caps(&visit),
    )
    .await;
    let persona = persona.map(|persona| persona.content).map_err(|trouble| trouble.line());
    let memory = memory.map(|memory| memory.content).map_err(|trouble| trouble.line());
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
        (view::one(&group))
        h2 { "Who its agent is" }
        (view::text(persona.as_deref().map_err(String::as_str), "Nothing is said of that."))
        @if let Ok(persona) = &persona { (persona_form(&visit, &folder, persona)) }
        h2 { "What its agent remembers" }
        (view::text(memory.as_deref().map_err(String::as_str), "Nothing."))
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

fn persona_form(visit: &Visit, folder: &Folder, persona: &str) -> Markup {
    html! {
        details {
            summary { "Say who it is" }
            form.fields method="post" action="/dash/folders/persona" {
                input type="hidden" name="csrf" value=(visit.code());
                input type="hidden" name="folder" value=(folder);
                div.field.wide {
                    label for="persona" { "For the model to read" }
                    // A browser leaves out the first line end of what is in it.
                    textarea #persona name="content" rows="8" aria-describedby="persona-hint" { "\n" (persona) }
                    small #persona-hint {
                        "At most 16,384 bytes; blank for nothing. It counts from the next turn on, between what is said \
                         of all agents of the instance and the "
                        code { "persona.md" } " of the folder's home. Harnesses without a model do not read it."
                    }
                }
                button type="submit" { "Save" }
            }
        }
    }
}

fn cap_form(visit: &Visit, folder: &Folder, cap: Option<&Cap>) -> Markup {
    let limits = cap.map(|cap| cap.limits).unwrap_or_default();
    html! {
        details {
            summary { "Set what it may spend" }
            form.fields method="post" action="/dash/folders/cap" {
                input type="hidden" name="csrf" value=(visit.code());
                input type="hidden" name="folder" value=(folder);
                (limits::fields(&limits, "No limit when left blank."))
                button type="submit" { "Set" }
            }
        }
    }
}

fn change_form(visit: &Visit, group: &Group) -> Markup {
    let name = group.folder.as_str();
    let remove = address("/dash/folders/remove", &[("folder", name)]);
    html! {
        h2 { "Changing it" }
        details {
            summary { "Say anew what runs its turns" }
            form.fields method="post" action="/dash/folders" {
                input type="hidden" name="csrf" value=(visit.code());
                input type="hidden" name="folder" value=(group.folder);
                (choice("harness", "Harness", "harness", &harnesses("as it is"), ""))
                (field("model", "Model", "model", "", "What is left blank stays."))
                button type="submit" { "Save" }
            }
        }
        div.row {
            @if group.model.is_some() {
                (visit.button("/dash/folders/model", "Give it the instance's model back", &[("folder", name)]))
            }
            a.button href=(remove) { "Take it out of service…" }
        }
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
    saved(&visit.call(Daemon::Routd, &ADD_GROUP, &request).await?.folder)
}

/// The page of a folder of which something was saved.
fn saved(folder: &Folder) -> Outcome {
    let query = [("folder", folder.as_str()), ("done", "saved")];
    Ok(Answer::See(address("/dash/folders/one", &query)))
}

/// Gives a folder the instance's model back.
pub(super) async fn drop_model(visit: Visit, Of { folder }: Of) -> Outcome {
    // One that is out of service stays so.
    find(&visit, &folder).await?;
    let model = Some(String::new());
    let request = NewGroup { folder, jid: None, harness: None, command: Vec::new(), model };
    saved(&visit.call(Daemon::Routd, &ADD_GROUP, &request).await?.folder)
}

#[derive(Debug, Deserialize)]
pub(super) struct NewPersona {
    #[serde(deserialize_with = "query::text")]
    folder: Folder,
    #[serde(default)]
    content: String,
}

/// Says who a folder's agent is.
pub(super) async fn persona(visit: Visit, NewPersona { folder, content }: NewPersona) -> Outcome {
    // Browsers send line ends as mail has them.
    let content = content.replace("\r\n", "\n").trim().to_owned();
    let request = SetPersona { folder, content };
    visit.call(Daemon::Routd, &SET_PERSONA, &request).await?;
    saved(&request.folder)
}

#[derive(Debug, Deserialize)]
pub(super) struct NewCap {
    #[serde(deserialize_with = "query::text")]
    folder: Folder,
    #[serde(flatten)]
    limits: Limits,
}

/// Sets what a folder may spend.
pub(super) async fn cap(visit: Visit, NewCap { folder, limits }: NewCap) -> Outcome {
    let request = SetCap { of: CapOf::Folder(folder.clone()), limits: limits.read()? };
    visit.call(Daemon::Routd, &SET_CAP, &request).await?;
    saved(&folder)
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
