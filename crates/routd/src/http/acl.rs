//! Who may do what. Every change is checked against what the caller holds, in the transaction that makes it.

use crate::{app::App, fault::Fault, record::record, store::acl as rows};
use auth::{Acl, Decision, Principal, Rule};
use kit::{Caller, Failure};
use proto::{
    Nothing,
    routd::{AclAnswer, AclMember, AclRow, AclRule, AclTable, CheckAcl},
};
use std::sync::Arc;

/// Adds a row.
pub(super) async fn add(app: Arc<App>, caller: Caller, wanted: AclRule) -> Result<AclRow, Failure> {
    let rule = parse(&wanted)?;
    let now = app.now();
    let added = app.db.try_write("acl.add", move |tx| {
        may_change(&caller, &rows::load(tx)?, &rule, Acl::may_grant)?;
        let actor = caller.subject().to_string();
        if rows::add(tx, &wanted, &actor, now)? {
            record(tx, now, &actor, "acl.grant", rule.principal().as_str(), &rule.to_string())?;
        }
        rows::get(tx, &wanted)?.ok_or_else(|| Fault::Defect("the row is not there".into()))
    });
    Ok(added.await?)
}

/// Takes a row away.
pub(super) async fn remove(
    app: Arc<App>,
    caller: Caller,
    wanted: AclRule,
) -> Result<Nothing, Failure> {
    let rule = parse(&wanted)?;
    let now = app.now();
    let removed = app.db.try_write("acl.remove", move |tx| {
        may_change(&caller, &rows::load(tx)?, &rule, Acl::may_revoke)?;
        if rows::remove(tx, &wanted)? {
            let actor = caller.subject().to_string();
            record(tx, now, &actor, "acl.revoke", rule.principal().as_str(), &rule.to_string())?;
        }
        Ok::<_, Fault>(Nothing {})
    });
    Ok(removed.await?)
}

/// The whole table. Who is limited to folders sees the rows about folders that it reaches.
pub(super) async fn list(app: Arc<App>, caller: Caller, _: Nothing) -> Result<AclTable, Failure> {
    let table = app.db.read(rows::table).await.map_err(Fault::from)?;
    let mut table = table;
    if !caller.reaches_all() {
        table.rules.retain(|row| row.scope.parse().is_ok_and(|scope| caller.reaches_each(&scope)));
        table.members.clear();
    }
    Ok(table)
}

/// Answers a question.
pub(super) async fn check(
    app: Arc<App>,
    caller: Caller,
    asked: CheckAcl,
) -> Result<AclAnswer, Failure> {
    super::groups::reach(&caller, &asked.folder)?;
    let principal = principal(&asked.principal)?;
    let acl = app.db.try_read(rows::load).await?;
    let decision = acl.decide(&principal, &asked.action, &asked.folder);
    let held = decision.is_held();
    let Decision { allowed, because } = decision;
    Ok(AclAnswer { allowed, held, because: because.to_string() })
}

/// Puts somebody into a role.
pub(super) async fn join(
    app: Arc<App>,
    caller: Caller,
    wanted: AclMember,
) -> Result<Nothing, Failure> {
    members_are_the_operators(&caller)?;
    let (child, parent) = (principal(&wanted.child)?, principal(&wanted.parent)?);
    if child == parent {
        return Err(Failure::bad_request("nobody belongs to themselves"));
    }
    let (now, actor) = (app.now(), caller.subject().to_string());
    let joined = app.db.try_write("acl.join", move |tx| {
        if rows::join(tx, &child, &parent, &actor, now)? {
            record(tx, now, &actor, "acl.join", child.as_str(), parent.as_str())?;
        }
        Ok::<_, Fault>(Nothing {})
    });
    Ok(joined.await?)
}

/// Takes somebody out of a role.
pub(super) async fn leave(
    app: Arc<App>,
    caller: Caller,
    wanted: AclMember,
) -> Result<Nothing, Failure> {
    members_are_the_operators(&caller)?;
    let (child, parent) = (principal(&wanted.child)?, principal(&wanted.parent)?);
    let (now, actor) = (app.now(), caller.subject().to_string());
    let left = app.db.try_write("acl.leave", move |tx| {
        if rows::leave(tx, &child, &parent)? {
            record(tx, now, &actor, "acl.leave", child.as_str(), parent.as_str())?;
        }
        Ok::<_, Fault>(Nothing {})
    });
    Ok(left.await?)
}

/// Refuses a change that the caller may not make. An operator may make any.
fn may_change(
    caller: &Caller,
    acl: &Acl,
    rule: &Rule,
    ask: fn(&Acl, &Principal, &Rule) -> Decision,
) -> Result<(), Fault> {
    if caller.folder().is_some() && !caller.reaches_each(rule.scope()) {
        let text = format!("this token does not reach all of {}", rule.scope());
        return Err(Fault::Forbidden(text));
    }
    if caller.is_operator() {
        return Ok(());
    }
    let decision = ask(acl, caller.subject(), rule);
    if decision.allowed {
        return Ok(());
    }
    let who = caller.subject();
    Err(Fault::Forbidden(format!(
        "{who} may not change `{rule}`: that takes `{}` and the right itself on all of {}, and is {decision}",
        auth::ADMINISTER,
        rule.scope()
    )))
}

/// What belongs to a role gets what is given to that role later, so that no present right bounds it.
fn members_are_the_operators(caller: &Caller) -> Result<(), Failure> {
    if caller.is_operator() && caller.reaches_all() {
        return Ok(());
    }
    Err(Failure::forbidden("only an operator says who belongs to a role"))
}

fn parse(wanted: &AclRule) -> Result<Rule, Failure> {
    let AclRule { principal, action, scope, effect } = wanted;
    Rule::parse(principal, action, scope, effect.name())
        .map_err(|error| Failure::bad_request(kit::chain(&error)))
}

fn principal(text: &str) -> Result<Principal, Failure> {
    text.parse().map_err(|error: auth::PrincipalError| Failure::bad_request(error.to_string()))
}
