//! Folders.

use crate::{
    app::App,
    fault::Fault,
    progress::Progress,
    record::record,
    route::{Pattern, Target},
    settings,
    store::{groups, routes, turns},
    turn::Event,
};
use kit::{Caller, Failure};
use proto::{
    Address, Folder, Jid, Nothing, Timestamp,
    routd::{Group, Groups, NewGroup, PERSONA_MAX, Persona, PersonaOf, RemoveGroup, SetPersona},
    turn::Harness,
};
use rusqlite::Connection;
use std::sync::Arc;

/// Parts of a command and bytes of all of them.
const COMMAND_PARTS: usize = 64;
const COMMAND_BYTES: usize = 16 * 1024;

/// Adds a folder.
pub(super) async fn add(app: Arc<App>, caller: Caller, wanted: NewGroup) -> Result<Group, Failure> {
    let NewGroup { folder, jid, harness, command, model } = wanted;
    reach(&caller, &folder)?;
    let bytes: usize = command.iter().map(String::len).sum();
    if command.len() > COMMAND_PARTS
        || bytes > COMMAND_BYTES
        || command.iter().any(|part| part.contains('\0'))
    {
        return Err(Failure::bad_request("`command` is a program and at most 63 arguments"));
    }
    if model.as_deref().is_some_and(|name| !name.is_empty() && settings::model(name).is_none()) {
        return Err(Failure::bad_request("`model` is a model's name such as claude-sonnet-5-5"));
    }
    let (now, actor) = (app.now(), caller.subject().to_string());
    let added = app.db.try_write("group.add", move |tx| {
        let said = groups::Wanted { harness, command: &command, model: model.as_deref() };
        if groups::add(tx, &folder, said, now)? {
            let mut what = format!("harness {}", harness.map_or("default", Harness::name));
            if let Some(model) = &model {
                what.push_str(&format!(
                    ", model {}",
                    if model.is_empty() { "default" } else { model }
                ));
            }
            record(tx, now, &actor, "group.add", folder.as_str(), &what)?;
        }
        if let Some(jid) = &jid {
            route_chat(tx, jid, &folder, &actor, now)?;
        }
        groups::get(tx, &folder)?
            .ok_or_else(|| Fault::Defect(format!("the folder {folder} is not there")))
    });
    Ok(added.await?)
}

/// A route from one chat. A chat that names a folder itself needs none, and cannot be led elsewhere.
pub(crate) fn route_chat(
    tx: &Connection,
    jid: &Jid,
    folder: &Folder,
    actor: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    if let Address::Web(named) | Address::Hook(named, _) = jid.address() {
        if named == *folder {
            return Ok(());
        }
        return Err(Fault::Invalid(format!("{jid} is a chat of the folder {named} itself")));
    }
    let pattern = Pattern::of_chat(jid).map_err(|error| Fault::Invalid(error.to_string()))?;
    let target = folder.as_str();
    Target::parse(target).map_err(|error| Fault::Invalid(error.to_string()))?;
    // One chat is more particular than what an operator writes for many, so that it comes first.
    let (row, new) = routes::add(tx, -100, &pattern, target, now)?;
    if new {
        let detail = format!("{} {} -> {}", row.seq, row.pattern, row.target);
        record(tx, now, actor, "route.add", &row.id.to_string(), &detail)?;
    }
    Ok(())
}

/// The folders in service.
pub(super) async fn list(app: Arc<App>, caller: Caller, _: Nothing) -> Result<Groups, Failure> {
    let mut groups = app.db.read(groups::list).await.map_err(Fault::from)?;
    groups.retain(|group| caller.reaches(&group.folder));
    Ok(Groups { groups })
}

/// Takes a folder out of service. Its turns that have not ended are stopped, and say so.
pub(super) async fn remove(
    app: Arc<App>,
    caller: Caller,
    wanted: RemoveGroup,
) -> Result<Nothing, Failure> {
    let folder = wanted.folder;
    reach(&caller, &folder)?;
    let (now, actor, progress) = (app.now(), caller.subject().to_string(), Progress::of(&app));
    let removed = app.db.try_write("group.remove", move |tx| {
        if !groups::remove(tx, &folder, now)? {
            return Ok::<_, Fault>(());
        }
        record(tx, now, &actor, "group.remove", folder.as_str(), "")?;
        for turn in turns::open_of(tx, &folder)? {
            let stopped = Event::Stopped { why: "its folder was taken out of service" };
            if let Err(ignored) = progress.tell(tx, &turn, &stopped, now)? {
                let text = format!("turn {} cannot be stopped: {ignored:?}", turn.id);
                return Err(Fault::Defect(text));
            }
        }
        Ok(())
    });
    removed.await?;
    Ok(Nothing {})
}

/// Who a folder's agent is told to be.
pub(super) async fn persona(
    app: Arc<App>,
    caller: Caller,
    asked: PersonaOf,
) -> Result<Persona, Failure> {
    reach(&caller, &asked.folder)?;
    let read = app.db.read(move |conn| groups::persona(conn, &asked.folder)).await;
    Ok(Persona { content: read.map_err(Fault::from)?.unwrap_or_default() })
}

/// Says anew who a folder's agent is. The audit has who did and how long the text is, and not the text.
pub(super) async fn set_persona(
    app: Arc<App>,
    caller: Caller,
    wanted: SetPersona,
) -> Result<Persona, Failure> {
    let SetPersona { folder, content } = wanted;
    reach(&caller, &folder)?;
    if content.len() > PERSONA_MAX || content.contains('\0') {
        let text = format!("`content` is a text of at most {PERSONA_MAX} bytes without a NUL");
        return Err(Failure::bad_request(text));
    }
    let (now, actor) = (app.now(), caller.subject().to_string());
    let said = app.db.try_write("persona.set", move |tx| {
        if !groups::in_service(tx, &folder)? {
            return Err(Fault::NotFound(format!("there is no folder {folder} in service")));
        }
        if groups::set_persona(tx, &folder, &content, &actor, now)? {
            let detail = format!("{} bytes", content.len());
            record(tx, now, &actor, "persona.set", folder.as_str(), &detail)?;
        }
        Ok(content)
    });
    Ok(Persona { content: said.await? })
}

/// Refuses a token that is limited to another folder.
pub(super) fn reach(caller: &Caller, folder: &Folder) -> Result<(), Failure> {
    if caller.reaches(folder) {
        return Ok(());
    }
    Err(Failure::forbidden(format!("this token does not reach the folder {folder}")))
}
