//! The SQL of people: whom providers vouch for, and the sessions that begin so.

use super::{Act, Hash, Store, StoreError, sessions::insert_session};
use crate::session::{Kind, Session};
use db::Tx;
use proto::Timestamp;
use rusqlite::OptionalExtension;

/// A login that a provider vouched for, about to become a session.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    /// The login, which counts once.
    pub(crate) login: Hash,
    pub(crate) login_ends: Timestamp,
    /// Of the session's cookie.
    pub(crate) cookie: Hash,
    pub(crate) identity: String,
    pub(crate) shown: String,
    pub(crate) rule: String,
    pub(crate) is_operator: bool,
    /// The id of the person, where the identity is new.
    pub(crate) new_person: String,
    pub(crate) from: String,
}

/// An account that is to be linked to whoever is logged in.
#[derive(Clone, Debug)]
pub(crate) struct Linking {
    pub(crate) login: Hash,
    pub(crate) login_ends: Timestamp,
    pub(crate) identity: String,
    pub(crate) shown: String,
    pub(crate) person: String,
}

/// What became of a linking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linked {
    /// It is the person's.
    Done,
    /// It is another person's already.
    Taken,
    /// The login was answered before.
    Spent,
}

/// One way by which a person logs in.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) identity: String,
    pub(crate) shown: String,
    pub(crate) linked: Timestamp,
}

impl Store {
    /// Begins the session of whoever has arrived; `None` where the login was answered before. `act` says
    /// where; its actor and target are filled in.
    pub(crate) async fn arrive(
        &self,
        arrived: Arrived,
        act: Act,
    ) -> Result<Option<Session>, StoreError> {
        let job = move |tx: &Tx<'_>| {
            let now = act.at;
            if !spend(tx, &arrived.login, arrived.login_ends)? {
                return Ok(None);
            }
            let person = match owner(tx, &arrived.identity)? {
                Some(person) => person,
                None => {
                    let person = &arrived.new_person;
                    tx.execute(
                        "INSERT INTO people (id, made_at_ms) VALUES (?1, ?2)",
                        (person, now.0),
                    )?;
                    own(tx, &arrived.identity, person, now)?;
                    let target = format!("user:{person}");
                    let detail = format!("as {}", arrived.identity);
                    Act { actor: target.clone(), action: "person.add", target, detail, at: now }
                        .append(tx)?;
                    person.clone()
                }
            };
            tx.execute(
                "UPDATE identities SET used_at_ms = ?2, shown = ?3 WHERE identity = ?1",
                (&arrived.identity, now.0, &arrived.shown),
            )?;
            let kind = if arrived.is_operator { "operator" } else { "user" };
            let session = Session {
                id: 0,
                subject: format!("{kind}:{person}"),
                made: now,
                seen: now,
                rule: Some(arrived.rule.clone()),
                from: arrived.from.clone(),
                kind: Kind::Browser,
            };
            let session = insert_session(tx, &arrived.cookie, session)?;
            let target = format!("session {}", session.id);
            let detail = format!("{} by {}, {}", act.detail, arrived.identity, arrived.rule);
            Act { actor: session.subject.clone(), target, detail, ..act.clone() }.append(tx)?;
            Ok(Some(session))
        };
        Ok(self.db.write("arrive", job).await?)
    }

    /// Links an account to a person.
    pub(crate) async fn link_identity(
        &self,
        linking: Linking,
        act: Act,
    ) -> Result<Linked, StoreError> {
        let job = move |tx: &Tx<'_>| {
            if !spend(tx, &linking.login, linking.login_ends)? {
                return Ok(Linked::Spent);
            }
            match owner(tx, &linking.identity)? {
                Some(person) if person == linking.person => return Ok(Linked::Done),
                Some(_) => return Ok(Linked::Taken),
                None => own(tx, &linking.identity, &linking.person, act.at)?,
            }
            tx.execute(
                "UPDATE identities SET shown = ?2 WHERE identity = ?1",
                (&linking.identity, &linking.shown),
            )?;
            Act { target: linking.identity.clone(), ..act.clone() }.append(tx)?;
            Ok(Linked::Done)
        };
        Ok(self.db.write("link", job).await?)
    }

    /// The ways by which a person logs in, the first first.
    pub(crate) async fn identities_of(&self, person: String) -> Result<Vec<Identity>, StoreError> {
        let rows = self.db.read(move |conn| {
            conn.prepare_cached(
                "SELECT identity, shown, linked_at_ms FROM identities
                 WHERE person = ?1 ORDER BY linked_at_ms, identity LIMIT 100",
            )?
            .query_map([person], |row| {
                Ok(Identity {
                    identity: row.get(0)?,
                    shown: row.get(1)?,
                    linked: Timestamp(row.get(2)?),
                })
            })?
            .collect()
        });
        Ok(rows.await?)
    }
}

/// Whether the login was not answered yet; it is now.
fn spend(tx: &Tx<'_>, login: &Hash, ends: Timestamp) -> rusqlite::Result<bool> {
    let spent = tx
        .prepare_cached(
            "INSERT INTO spent_logins (state_hash, ends_at_ms) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        )?
        .execute((login, ends.0))?;
    Ok(spent == 1)
}

fn owner(tx: &Tx<'_>, identity: &str) -> rusqlite::Result<Option<String>> {
    tx.prepare_cached("SELECT person FROM identities WHERE identity = ?1")?
        .query_row([identity], |row| row.get(0))
        .optional()
}

fn own(tx: &Tx<'_>, identity: &str, person: &str, now: Timestamp) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO identities (identity, person, shown, linked_at_ms, used_at_ms)
         VALUES (?1, ?2, '', ?3, ?3)",
        (identity, person, now.0),
    )
    .map(drop)
}
