//! The rows of the ACL. All of them or an error: a denial that is not read would be a permission.

use crate::fault::Fault;
use auth::{Acl, Membership, Principal, Rule};
use proto::{
    Timestamp,
    routd::{AclEffect, AclMember, AclRow, AclRule, AclTable},
};
use rusqlite::Connection;

/// Reads the whole ACL.
pub(crate) fn load(conn: &Connection) -> Result<Acl, Fault> {
    let defect = |what: &str, error: &dyn std::fmt::Display| {
        Fault::Defect(format!("a row of {what} cannot be read: {error}"))
    };
    let rules = conn
        .prepare_cached("SELECT principal, action, scope, effect FROM acl")?
        .query_map([], |row| {
            let text = |at| row.get::<_, String>(at);
            Ok((text(0)?, text(1)?, text(2)?, text(3)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let rules = rules
        .iter()
        .map(|(principal, action, scope, effect)| {
            Rule::parse(principal, action, scope, effect).map_err(|error| defect("the ACL", &error))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let members = conn
        .prepare_cached("SELECT child, parent FROM memberships")?
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let members = members
        .iter()
        .map(|(child, parent)| {
            let principal = |text: &str| {
                text.parse().map_err(|error: auth::PrincipalError| defect("memberships", &error))
            };
            Ok(Membership { child: principal(child)?, parent: principal(parent)? })
        })
        .collect::<Result<Vec<_>, Fault>>()?;
    Ok(Acl::new(rules, members))
}

/// Rows that the ACL holds at most: every call of a tool reads them all.
const RULES_MAX: u64 = 10_000;

/// Adds a row. Whether it is new.
pub(crate) fn add(
    conn: &Connection,
    rule: &AclRule,
    by: &str,
    now: Timestamp,
) -> Result<bool, Fault> {
    if super::count(conn, "SELECT count(*) FROM acl")? >= RULES_MAX {
        let text = format!("the ACL has {RULES_MAX} rows; use a role or a pattern of folders");
        return Err(Fault::Conflict(text));
    }
    let added = conn
        .prepare_cached(
            "INSERT INTO acl (principal, action, scope, effect, added_by, added_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        )?
        .execute((&rule.principal, &rule.action, &rule.scope, rule.effect.name(), by, now.0))?;
    Ok(added == 1)
}

/// Takes a row away. Whether it was there.
pub(crate) fn remove(conn: &Connection, rule: &AclRule) -> rusqlite::Result<bool> {
    let removed = conn
        .prepare_cached(
            "DELETE FROM acl WHERE principal = ?1 AND action = ?2 AND scope = ?3 AND effect = ?4",
        )?
        .execute((&rule.principal, &rule.action, &rule.scope, rule.effect.name()))?;
    Ok(removed == 1)
}

/// One row, as it is shown.
pub(crate) fn get(conn: &Connection, rule: &AclRule) -> rusqlite::Result<Option<AclRow>> {
    let rows = table(conn)?.rules;
    Ok(rows.into_iter().find(|row| {
        row.principal == rule.principal
            && row.action == rule.action
            && row.scope == rule.scope
            && row.effect == rule.effect
    }))
}

/// Everything, as it is shown.
pub(crate) fn table(conn: &Connection) -> rusqlite::Result<AclTable> {
    let rules = conn
        .prepare_cached(
            "SELECT principal, action, scope, effect, added_by, added_at FROM acl
             ORDER BY principal, scope, action, effect",
        )?
        .query_map([], |row| {
            let effect: String = row.get("effect")?;
            let known = [AclEffect::Allow, AclEffect::Hold, AclEffect::Deny];
            let effect = known.into_iter().find(|known| known.name() == effect);
            Ok(AclRow {
                principal: row.get("principal")?,
                action: row.get("action")?,
                scope: row.get("scope")?,
                // The table's checks allow no other.
                effect: effect.ok_or(rusqlite::Error::InvalidQuery)?,
                added_by: row.get("added_by")?,
                added_at: super::time(row, "added_at")?,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let members = conn
        .prepare_cached("SELECT child, parent FROM memberships ORDER BY child, parent")?
        .query_map([], |row| {
            Ok(AclMember { child: row.get("child")?, parent: row.get("parent")? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(AclTable { rules, members })
}

/// Has one principal belong to another. Whether that is new.
pub(crate) fn join(
    conn: &Connection,
    child: &Principal,
    parent: &Principal,
    by: &str,
    now: Timestamp,
) -> Result<bool, Fault> {
    if super::count(conn, "SELECT count(*) FROM memberships")? >= RULES_MAX {
        return Err(Fault::Conflict(format!("there are {RULES_MAX} memberships, which is enough")));
    }
    let added = conn
        .prepare_cached(
            "INSERT INTO memberships (child, parent, added_by, added_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
        )?
        .execute((child.as_str(), parent.as_str(), by, now.0))?;
    Ok(added == 1)
}

/// Ends that. Whether it was so.
pub(crate) fn leave(
    conn: &Connection,
    child: &Principal,
    parent: &Principal,
) -> rusqlite::Result<bool> {
    let removed = conn
        .prepare_cached("DELETE FROM memberships WHERE child = ?1 AND parent = ?2")?
        .execute((child.as_str(), parent.as_str()))?;
    Ok(removed == 1)
}
