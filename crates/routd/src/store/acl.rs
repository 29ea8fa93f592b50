//! The rows of the ACL. All of them or an error: a denial that is not read would be a permission.

use crate::fault::Fault;
use auth::{Acl, Membership, Rule};
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
