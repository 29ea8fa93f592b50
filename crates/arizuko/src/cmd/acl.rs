//! `arizuko acl`: who may do what, and why.

use crate::{
    cli::{Acl, AclArgs},
    failure::Failure,
    instance::Instance,
    output::{Output, table},
    session::Session,
};
use proto::{
    Daemon, Nothing,
    routd::{self, AclEffect, AclRule},
};

pub(super) async fn run(instance: &Instance, command: Acl, output: Output) -> Result<(), Failure> {
    let routd = Session::begin(instance).await?.peer(Daemon::Routd);
    match command {
        Acl::Grant(row) => {
            let row = routd.call(&routd::ADD_RULE, &rule(row)).await?;
            output.print(&row, |row| {
                let (verb, principal) = (row.effect.name(), &row.principal);
                format!("{verb} {principal} {} on {}, from now on", row.action, row.scope)
            })
        }
        Acl::Revoke(row) => {
            let answer = routd.call(&routd::REMOVE_RULE, &rule(row)).await?;
            output.print(&answer, |_| {
                "that row is gone; `arizuko acl check` says what is left".into()
            })
        }
        Acl::List { principal } => {
            let mut all = routd.call(&routd::LIST_ACL, &Nothing {}).await?;
            if let Some(principal) = principal {
                all.rules.retain(|row| row.principal == principal);
                all.members.retain(|one| one.child == principal || one.parent == principal);
            }
            output.print(&all, listed)
        }
        Acl::Check { principal, action, folder } => {
            let asked = routd::CheckAcl { principal, action, folder };
            let answer = routd.call(&routd::CHECK_ACL, &asked).await?;
            output.print(&answer, |answer| {
                let verdict = match (answer.allowed, answer.held) {
                    (true, _) => "allowed",
                    (false, true) => "held until a person approves it",
                    (false, false) => "denied",
                };
                format!("{verdict}: {}", answer.because)
            })
        }
        Acl::Join { child, parent } => {
            let wanted = routd::AclMember { child, parent };
            let answer = routd.call(&routd::ADD_MEMBER, &wanted).await?;
            output.print(&answer, |_| format!("{} belongs to {}", wanted.child, wanted.parent))
        }
        Acl::Leave { child, parent } => {
            let wanted = routd::AclMember { child, parent };
            let answer = routd.call(&routd::REMOVE_MEMBER, &wanted).await?;
            output.print(&answer, |_| {
                format!("{} does not belong to {} itself", wanted.child, wanted.parent)
            })
        }
    }
}

fn rule(row: AclArgs) -> AclRule {
    let AclArgs { principal, action, folders, deny, hold } = row;
    let effect = match (deny, hold) {
        (true, _) => AclEffect::Deny,
        (false, true) => AclEffect::Hold,
        (false, false) => AclEffect::Allow,
    };
    AclRule { principal, action, scope: folders, effect }
}

fn listed(all: &routd::AclTable) -> String {
    let row = |row: &routd::AclRow| {
        vec![
            row.effect.name().to_owned(),
            row.principal.clone(),
            row.action.clone(),
            row.scope.clone(),
            row.added_by.clone(),
            row.added_at.to_string(),
        ]
    };
    let rules: Vec<_> = all.rules.iter().map(row).collect();
    let rules = table(&["EFFECT", "PRINCIPAL", "ACTION", "FOLDERS", "BY", "SINCE"], &rules);
    if all.members.is_empty() {
        return rules;
    }
    let members = all.members.iter().map(|one| vec![one.child.clone(), one.parent.clone()]);
    let members = table(&["WHO", "BELONGS TO"], &members.collect::<Vec<_>>());
    format!("{rules}\n\n{members}")
}
