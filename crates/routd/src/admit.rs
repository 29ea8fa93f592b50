//! Letting a person in: a folder of their own, the right to administer it, and a route from their chat, in one
//! transaction that is done once for each admission.
//!
//! Nothing that is somebody's is given away: neither a folder that was there before, unless it was made for this very
//! person, nor a chat that some rule leads to a folder by now.

use crate::{
    fault::Fault,
    http::groups::route_chat,
    ingest,
    record::record,
    route::Effect,
    store::{acl, groups, messages, newcomers, newcomers::Admitted},
};
use auth::{ADMINISTER, Principal};
use db::Tx;
use proto::{
    Address, Folder, Jid, Timestamp,
    routd::{AclEffect, AclRule, AdmitPerson, AdmittedPerson},
};

/// Lets somebody in, or answers a repeat.
pub(crate) fn admit(
    tx: &Tx<'_>,
    wanted: AdmitPerson,
    actor: &str,
    now: Timestamp,
) -> Result<AdmittedPerson, Fault> {
    let AdmitPerson { admission, subject, folder, chat_jid } = wanted;
    let person: Principal = subject.parse().map_err(|error: auth::PrincipalError| {
        Fault::Invalid(format!("`subject` is not a person's: {error}"))
    })?;
    if !["user", "operator"].contains(&person.kind()) {
        return Err(Fault::Invalid("`subject` is a person: user:ID or operator:NAME".into()));
    }
    let who = Admitted { subject, folder: folder.clone(), chat_jid };
    if let Some(before) = newcomers::admitted(tx, &admission)? {
        if before != who {
            let text = format!("the admission {admission} was of somebody or something else");
            return Err(Fault::Conflict(text));
        }
        return Ok(AdmittedPerson { folder, duplicate: true });
    }
    own_folder(tx, &folder, &who.subject, actor, now)?;
    if person.kind() == "user" {
        for scope in [folder.to_string(), format!("{folder}/**")] {
            grant(tx, &person, &scope, actor, now)?;
        }
    }
    if let Some(chat) = &who.chat_jid {
        free_chat(tx, chat, now)?;
        route_chat(tx, chat, &folder, actor, now)?;
    }
    newcomers::admit(tx, &admission, &who, now)?;
    let detail = format!("{folder}, by the admission {admission}");
    record(tx, now, actor, "person.admit", &who.subject, &detail)?;
    Ok(AdmittedPerson { folder, duplicate: false })
}

/// Makes the folder, or finds the one that was made for this person.
fn own_folder(
    tx: &Tx<'_>,
    folder: &Folder,
    subject: &str,
    actor: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    match ingest::known(tx, folder)? {
        None => {
            groups::add(tx, folder, groups::Wanted::default(), now)?;
            record(tx, now, actor, "group.add", folder.as_str(), &format!("for {subject}"))?;
            Ok(())
        }
        Some(_) if !newcomers::is_theirs(tx, folder, subject)? => {
            Err(Fault::Conflict(format!("the folder {folder} is there, and was not made for them")))
        }
        Some(true) => Ok(()),
        // An operator's removal is not undone by whoever was removed.
        Some(false) => {
            Err(Fault::Conflict(format!("the folder {folder} was taken out of service")))
        }
    }
}

fn grant(
    tx: &Tx<'_>,
    person: &Principal,
    scope: &str,
    actor: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let rule = AclRule {
        principal: person.to_string(),
        action: ADMINISTER.into(),
        scope: scope.into(),
        effect: AclEffect::Allow,
    };
    if acl::add(tx, &rule, actor, now)? {
        let text = format!("allow {person} {ADMINISTER} on {scope}");
        record(tx, now, actor, "acl.grant", person.as_str(), &text)?;
    }
    Ok(())
}

/// Refuses a chat that is somebody's, or in which nobody wrote.
fn free_chat(tx: &Tx<'_>, chat: &Jid, now: Timestamp) -> Result<(), Fault> {
    if !matches!(chat.address(), Address::Platform) {
        return Err(Fault::Invalid(format!("{chat} names its folder itself")));
    }
    let Some(newest) = messages::newest_inbound(tx, chat)? else {
        return Err(Fault::NotFound(format!("nobody wrote in the chat {chat}")));
    };
    if newcomers::was_given(tx, chat)? {
        return Err(Fault::Conflict(format!("the chat {chat} was given to somebody before")));
    }
    let taken = ingest::explain(tx, chat, &newest.sender, ingest::MESSAGE, now)?;
    if taken.effect == Effect::Unrouted && taken.is_of_a_stranger() {
        return Ok(());
    }
    Err(Fault::Conflict(format!("the chat {chat} has a route by now: {}", taken.rule)))
}
