//! `arizuko approval`: calls of tools that wait for a person.

use crate::{
    cli::Approval as Command,
    failure::Failure,
    instance::Instance,
    output::{Output, table},
    session::Session,
};
use kit::Peer;
use proto::{
    Daemon,
    routd::{self, Approval, ApprovalState, Decide, ListApprovals, OneApproval, readable},
};

/// Calls that one question asks for.
const PAGE: u32 = 500;
/// Characters of arguments that a list shows of each.
const SHOWN: usize = 60;

pub(super) async fn run(
    instance: &Instance,
    command: Command,
    output: Output,
) -> Result<(), Failure> {
    let routd = Session::begin(instance).await?.peer(Daemon::Routd);
    match command {
        Command::List { folder, state, all } => {
            let query = ListApprovals {
                folder,
                state: Some(state).filter(|_| !all),
                before: None,
                limit: Some(PAGE),
            };
            let found = self::all(&routd, query).await?;
            output.print(&found, |found| {
                let rows: Vec<_> = found.iter().map(row).collect();
                table(&["ID", "STATE", "FOLDER", "TOOL", "HELD", "LAPSES", "ARGUMENTS"], &rows)
            })
        }
        Command::Show { id } => {
            let held = routd.call(&routd::GET_APPROVAL, &OneApproval { id }).await?;
            output.print(&held, whole)
        }
        Command::Approve { id, reason } => {
            let held = routd.call(&routd::APPROVE, &Decide { id, reason }).await?;
            output.print(&held, |held| {
                format!("{} is approved: `{}` is called once", held.id, held.tool)
            })
        }
        Command::Deny { id, reason } => {
            let held = routd.call(&routd::DENY, &Decide { id, reason }).await?;
            output.print(&held, |held| {
                format!(
                    "{} is denied: `{}` is not called, and the agent is told",
                    held.id, held.tool
                )
            })
        }
    }
}

/// All that fit, a page at a time.
async fn all(routd: &Peer, mut query: ListApprovals) -> Result<Vec<Approval>, Failure> {
    let mut all = Vec::new();
    loop {
        let page = routd.call(&routd::LIST_APPROVALS, &query).await?;
        all.extend(page.approvals);
        query.before = page.next;
        if query.before.is_none() {
            return Ok(all);
        }
    }
}

fn row(held: &Approval) -> Vec<String> {
    // On one line, and with nothing in it that a terminal would obey.
    let line = readable(&held.arguments).split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = line.chars().take(SHOWN).collect();
    if shown.len() < line.len() || held.is_cut {
        shown.push('…');
    }
    vec![
        held.id.to_string(),
        held.state.to_string(),
        held.folder.to_string(),
        held.tool.clone(),
        held.held_at.to_string(),
        if held.state == ApprovalState::Pending { held.expires_at.to_string() } else { "-".into() },
        shown,
    ]
}

fn whole(held: &Approval) -> String {
    let mut out = format!(
        "{} {}: `{}` of {} in {}, for {}\nheld {}, until {}\nsha256 {}\n",
        held.id,
        held.state,
        held.tool,
        held.folder,
        held.chat_jid,
        readable(&held.asked_for),
        held.held_at,
        held.expires_at,
        held.digest
    );
    if let (Some(by), Some(at)) = (&held.decided_by, held.decided_at) {
        let reason = held.reason.as_deref().unwrap_or("no reason was given");
        out.push_str(&format!("decided {at} by {by}: {}\n", readable(reason)));
    }
    out.push_str(&readable(&held.arguments));
    if let Some(answer) = held.answer.as_ref().filter(|answer| !answer.is_empty()) {
        out.push_str(&format!("\n\nanswer:\n{}", readable(answer)));
    }
    out
}
