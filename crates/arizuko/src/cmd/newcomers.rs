//! `arizuko invite`, `queue`, `gate` and `people`: letting people in.

use crate::{
    addresses::Addresses,
    cli::{Gate, Invite, Queue},
    failure::Failure,
    instance::Instance,
    output::{Output, table},
    session::Session,
};
use kit::Peer;
use proto::{
    Daemon, Jid, Nothing,
    onbod::{self, Admission, AdmissionState, Decide},
};

/// Rows that are asked for at a time.
const PAGE: u32 = 500;

pub(super) async fn invite(
    instance: &Instance,
    command: Invite,
    output: Output,
) -> Result<(), Failure> {
    let onbod = Session::begin(instance).await?.peer(Daemon::Onbod);
    match command {
        Invite::Create { folder_template, uses, expires } => {
            let wanted = onbod::NewInvite {
                folder_template,
                uses: Some(uses),
                expires_in: Some(expires.as_secs()),
            };
            let issued = onbod.call(&onbod::CREATE_INVITE, &wanted).await?;
            let base = Addresses::find(instance)?.public(&instance.settings);
            let url = format!("{base}{}", issued.path);
            let answer = serde_json::json!({
                "invite": issued.invite, "token": issued.token, "path": issued.path, "url": url,
            });
            output.print(&answer, |_| {
                let onbod::Invite { id, uses_max, expires_at, folder_template, .. } = &issued.invite;
                format!(
                    "{url}\n({uses_max} may come by it until {expires_at}, each to {folder_template}; shown once; \
                     end it with `arizuko invite revoke {id}`)"
                )
            })
        }
        Invite::List => {
            let mut all = onbod::InvitePage { invites: Vec::new(), next: None };
            loop {
                let query = onbod::Page { after: all.next, limit: Some(PAGE) };
                let page = onbod.call(&onbod::LIST_INVITES, &query).await?;
                all.invites.extend(page.invites);
                all.next = page.next;
                if all.next.is_none() {
                    break;
                }
            }
            output.print(&all, |all| {
                let row = |invite: &onbod::Invite| {
                    let ended = invite.revoked_at.map_or_else(String::new, |at| at.to_string());
                    vec![
                        invite.id.to_string(),
                        invite.folder_template.clone(),
                        format!("{} of {}", invite.uses, invite.uses_max),
                        invite.expires_at.to_string(),
                        ended,
                        invite.made_by.clone(),
                    ]
                };
                let rows: Vec<_> = all.invites.iter().map(row).collect();
                table(&["ID", "FOLDERS", "CAME", "UNTIL", "REVOKED", "BY"], &rows)
            })
        }
        Invite::Revoke { id } => {
            let wanted = onbod::RevokeInvite { id: id.clone() };
            let answer = onbod.call(&onbod::REVOKE_INVITE, &wanted).await?;
            output.print(&answer, |_| format!("nobody comes by {id} any more"))
        }
    }
}

pub(super) async fn queue(
    instance: &Instance,
    command: Queue,
    output: Output,
) -> Result<(), Failure> {
    let onbod = Session::begin(instance).await?.peer(Daemon::Onbod);
    match command {
        Queue::List { all, state } => {
            let state = state.or_else(|| (!all).then_some(AdmissionState::Waiting));
            let listed = admissions(&onbod, state).await?;
            output.print(&listed, |listed| {
                let rows: Vec<_> = listed.admissions.iter().map(row).collect();
                table(
                    &["ID", "STATE", "PLACE", "CHAT", "NAME", "LOGGED IN", "FOLDER", "SINCE"],
                    &rows,
                )
            })
        }
        Queue::Approve { id, note } => {
            let done = onbod.call(&onbod::APPROVE, &Decide { id, note }).await?;
            output.print(&done, |done| {
                let id = &done.id;
                match done.state {
                    AdmissionState::Greeted => {
                        format!("{id} is approved, and comes in by the link that the chat gets")
                    }
                    _ => format!("{id} is let in"),
                }
            })
        }
        Queue::Refuse { id, note } => {
            let done = onbod.call(&onbod::REFUSE, &Decide { id, note }).await?;
            output.print(&done, |done| format!("{} is refused", done.id))
        }
    }
}

/// All admissions in a state, a page at a time.
async fn admissions(
    onbod: &Peer,
    state: Option<AdmissionState>,
) -> Result<onbod::AdmissionPage, Failure> {
    let mut all = onbod::AdmissionPage { admissions: Vec::new(), next: None, waiting: 0 };
    loop {
        let query = onbod::ListAdmissions { state, after: all.next, limit: Some(PAGE) };
        let page = onbod.call(&onbod::LIST_ADMISSIONS, &query).await?;
        all.admissions.extend(page.admissions);
        (all.next, all.waiting) = (page.next, page.waiting);
        if all.next.is_none() {
            return Ok(all);
        }
    }
}

fn row(admission: &Admission) -> Vec<String> {
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let state = match &admission.trouble {
        Some(trouble) => format!("{}: {trouble}", admission.state.name()),
        None => admission.state.name().to_owned(),
    };
    vec![
        admission.id.to_string(),
        state,
        admission.position.map_or("-".into(), |place| place.to_string()),
        or_dash(admission.chat_jid.as_ref().map(Jid::as_str)),
        or_dash(admission.sender_name.as_deref()),
        or_dash(admission.subject.as_deref()),
        or_dash(admission.folder.as_ref().map(proto::Folder::as_str)),
        admission.created_at.to_string(),
    ]
}

pub(super) async fn gate(
    instance: &Instance,
    command: Gate,
    output: Output,
) -> Result<(), Failure> {
    let onbod = Session::begin(instance).await?.peer(Daemon::Onbod);
    match command {
        Gate::Set { pattern, per_day } => {
            let set = onbod.call(&onbod::SET_GATE, &onbod::Gate { pattern, per_day }).await?;
            output.print(&set, |gate| {
                format!("{} of `{}` come in each day; the others wait", gate.per_day, gate.pattern)
            })
        }
        Gate::List => {
            let gates = onbod.call(&onbod::LIST_GATES, &Nothing {}).await?;
            output.print(&gates, |gates| {
                let row = |gate: &onbod::GateState| {
                    vec![gate.pattern.clone(), gate.per_day.to_string(), gate.today.to_string()]
                };
                let rows: Vec<_> = gates.gates.iter().map(row).collect();
                table(&["WHO", "PER DAY", "TODAY"], &rows)
            })
        }
        Gate::Rm { pattern } => {
            let wanted = onbod::RemoveGate { pattern: pattern.clone() };
            let answer = onbod.call(&onbod::REMOVE_GATE, &wanted).await?;
            output.print(&answer, |_| format!("the gate `{pattern}` is closed"))
        }
    }
}

pub(super) async fn people(instance: &Instance, output: Output) -> Result<(), Failure> {
    let onbod = Session::begin(instance).await?.peer(Daemon::Onbod);
    let mut all = onbod::PeoplePage { people: Vec::new(), next: None };
    loop {
        let query = onbod::Page { after: all.next, limit: Some(PAGE) };
        let page = onbod.call(&onbod::LIST_PEOPLE, &query).await?;
        all.people.extend(page.people);
        all.next = page.next;
        if all.next.is_none() {
            break;
        }
    }
    output.print(&all, |all| {
        let row = |person: &onbod::Person| {
            let chats: Vec<&str> = person.chats.iter().map(Jid::as_str).collect();
            vec![
                person.subject.clone(),
                person.folder.to_string(),
                chats.join(" "),
                person.since.to_string(),
            ]
        };
        let rows: Vec<_> = all.people.iter().map(row).collect();
        table(&["WHO", "FOLDER", "CHATS", "SINCE"], &rows)
    })
}
