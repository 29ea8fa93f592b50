//! Which chats go to which folder: `list_routes`, `inspect_routing`, `add_route`, `delete_route`, `register_group`.
//!
//! An agent leads a chat to a folder only where it may do that to every folder that the chat's messages go to now, so
//! that none is taken from anybody who is not asked. It writes routes for single chats; a pattern is an operator's.

use super::{
    arguments::Arguments,
    tool::{Answer, Change, Look, Tool},
};
use crate::{
    fault::Fault,
    ingest,
    record::record,
    route::{Pattern, Target},
    store::{groups, routes},
};
use proto::{Address, Folder, Jid, routd::RouteRow};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// Where a route for one chat stands: before what an operator writes for many.
const SEQ: i64 = -100;

pub(super) fn tools() -> Vec<Tool> {
    vec![
        Tool::reads("list_routes", "The routes to folders that you may see.", list),
        Tool::reads(
            "inspect_routing",
            "Which folder takes a message of a chat, and which route says so.",
            inspect,
        ),
        Tool::changes(
            "add_route",
            "Lead one chat to a folder. You need this right on the folder, and on every folder that the chat's \
             messages go to now.",
            add,
        )
        .hint(|hints| hints.idempotent(true)),
        Tool::changes("delete_route", "Remove a route to a folder.", delete)
            .hint(|hints| hints.destructive(true).idempotent(true)),
        Tool::changes(
            "register_group",
            "Put a folder into service, run as the folder above it is, with a route from a chat if one is given.",
            register,
        )
        .hint(|hints| hints.idempotent(true)),
    ]
}

/// Arguments of `list_routes`: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListRoutes {}

impl Arguments for ListRoutes {}

/// Arguments of `inspect_routing`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InspectRouting {
    /// The chat; this turn's own when left out.
    #[serde(default)]
    chat_jid: Option<Jid>,
    /// Who would write.
    #[serde(default)]
    sender: Option<String>,
    /// What kind of message; `message` when left out.
    #[serde(default)]
    verb: Option<String>,
}

impl Arguments for InspectRouting {}

/// Arguments of `add_route`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AddRoute {
    /// The chat, such as `telegram:group/42`.
    chat_jid: Jid,
    /// `folder`, `folder#observe` or `folder#topic`; `folder/{sender}` makes a folder for each person.
    target: String,
}

impl Arguments for AddRoute {}

/// Arguments of `delete_route`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeleteRoute {
    /// The route's id.
    id: i64,
}

impl Arguments for DeleteRoute {}

/// Arguments of `register_group`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RegisterGroup {
    /// The folder, such as `team/name`.
    folder: Folder,
    /// A chat whose messages go there.
    #[serde(default)]
    chat_jid: Option<Jid>,
}

impl Arguments for RegisterGroup {}

fn list(look: &Look<'_>, ListRoutes {}: ListRoutes) -> Result<Answer, Fault> {
    let mut rows = routes::list(look.conn)?;
    rows.retain(|row| base(row).is_ok_and(|base| look.rights.may(look.action, &base)));
    if rows.is_empty() {
        // Nothing at all may be seen, or there is nothing: the own folder tells which.
        look.require_own()?;
    }
    Ok(Answer::value(json!({ "routes": rows })))
}

fn inspect(look: &Look<'_>, asked: InspectRouting) -> Result<Answer, Fault> {
    let InspectRouting { chat_jid, sender, verb } = asked;
    let chat = chat_jid.unwrap_or_else(|| look.turn.chat_jid.clone());
    let (sender, verb) = (sender.unwrap_or_default(), verb.unwrap_or_else(|| "message".into()));
    let decision = ingest::explain(look.conn, &chat, &sender, &verb, look.now)?;
    // Where a chat goes that is somebody else's is theirs to know, and so is that it goes nowhere.
    let folder = decision.folder.as_ref();
    let folder = folder.filter(|folder| look.rights.may(look.action, folder));
    let Some(folder) = folder else {
        let text = format!("{chat} goes to no folder that you may look at");
        return Err(Fault::NotFound(text));
    };
    Ok(Answer::value(json!({
        "folder": folder,
        "effect": decision.effect.name(),
        "topic": decision.pinned_topic.then(|| decision.topic.to_string()),
        "route_id": decision.route_id,
        "rule": decision.rule,
    })))
}

fn add(change: &Change<'_>, AddRoute { chat_jid, target }: AddRoute) -> Result<Answer, Fault> {
    let row = lead(change, &chat_jid, &target)?;
    Ok(Answer {
        text: format!("route {} leads {chat_jid} to {}", row.id, row.target),
        structured: Some(json!({ "id": row.id })),
    })
}

fn delete(change: &Change<'_>, DeleteRoute { id }: DeleteRoute) -> Result<Answer, Fault> {
    let nothing = || Fault::NotFound(format!("there is no route {id} that you may remove"));
    let row = routes::get(change.tx, id)?.ok_or_else(nothing)?;
    if !change.rights.may(change.action, &base(&row)?) {
        return Err(nothing());
    }
    routes::remove(change.tx, id)?;
    let detail = format!("{} {} -> {}", row.seq, row.pattern, row.target);
    record(change.tx, change.now, &change.actor(), "route.remove", &id.to_string(), &detail)?;
    Ok(Answer::line(format!("route {id} is gone")))
}

fn register(change: &Change<'_>, asked: RegisterGroup) -> Result<Answer, Fault> {
    let RegisterGroup { folder, chat_jid } = asked;
    change.require(&folder)?;
    let (tx, now, actor) = (change.tx, change.now, change.actor());
    // A folder that an operator took out of service stays out of it.
    if !groups::in_service(tx, &folder)? {
        let above = above(&folder).into_iter().map(|one| Ok((groups::in_service(tx, &one)?, one)));
        let above = above.collect::<Result<Vec<_>, Fault>>()?;
        let above = above.into_iter().find_map(|(there, one)| there.then_some(one));
        let above = above.unwrap_or_else(|| change.turn.folder.clone());
        if !groups::add_below(tx, &folder, &above, now)? {
            let text = format!("the folder {folder} was taken out of service by an operator");
            return Err(Fault::Forbidden(text));
        }
        let detail = format!("run as {above}");
        record(tx, now, &actor, "group.add", folder.as_str(), &detail)?;
    }
    if let Some(chat) = &chat_jid {
        let direct = matches!(chat.address(), Address::Web(named) | Address::Hook(named, _) if named == folder);
        if !direct {
            lead(change, chat, folder.as_str())?;
        }
    }
    Ok(Answer::line(format!("the folder {folder} is in service")))
}

/// Leads a chat to a target, where that takes nothing from anybody.
fn lead(change: &Change<'_>, chat: &Jid, target: &str) -> Result<RouteRow, Fault> {
    let invalid = |error: crate::route::RouteError| Fault::Invalid(error.to_string());
    let parsed = Target::parse(target).map_err(invalid)?;
    change.require(parsed.base())?;
    if !groups::in_service(change.tx, parsed.base())? {
        return Err(Fault::NotFound(format!("there is no folder {}", parsed.base())));
    }
    if let Address::Web(named) | Address::Hook(named, _) = chat.address() {
        return Err(Fault::Invalid(format!("{chat} is a chat of the folder {named} itself")));
    }
    let standing = ingest::standing(change.tx, chat, change.now)?;
    if standing.is_empty() {
        let text =
            format!("{chat} goes to no folder yet; whose it is to be is an operator's to say");
        return Err(Fault::Forbidden(text));
    }
    for folder in &standing {
        if !change.rights.may(change.action, folder) {
            let text = format!("messages of {chat} go to a folder that you may not take them from");
            return Err(Fault::Forbidden(text));
        }
    }
    let pattern = Pattern::of_chat(chat).map_err(invalid)?;
    let (row, new) = routes::add(change.tx, SEQ, &pattern, target, change.now)?;
    if new {
        let detail = format!("{} {} -> {}", row.seq, row.pattern, row.target);
        let id = row.id.to_string();
        record(change.tx, change.now, &change.actor(), "route.add", &id, &detail)?;
    }
    Ok(row)
}

/// The folder that a route leads to, or below which it does.
fn base(row: &RouteRow) -> Result<Folder, Fault> {
    let parsed = Target::parse(&row.target);
    let parsed = parsed.map_err(|error| Fault::Defect(format!("route {}: {error}", row.id)))?;
    Ok(parsed.base().clone())
}

/// The folders above one, the nearest first.
fn above(folder: &Folder) -> Vec<Folder> {
    let mut all = Vec::new();
    let mut text = folder.as_str();
    while let Some((before, _)) = text.rsplit_once('/') {
        all.extend(before.parse::<Folder>().ok());
        text = before;
    }
    all
}
