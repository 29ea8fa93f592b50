//! Events of the platform, on their way to routd.

use super::{Spool, SpoolError, WAITING_MAX, set_mark};
use db::{
    Tx,
    rusqlite::{self, Connection, OptionalExtension},
};
use proto::{Jid, Timestamp, routd::NewMessage};

/// Something that happened on the platform, for routd.
#[derive(Clone, Debug)]
pub struct Event {
    /// The platform's id of the event, the same when it is told again. At most 256 bytes.
    pub key: String,
    /// What routd is told.
    pub message: NewMessage,
}

/// What became of a batch of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// New ones.
    pub new: usize,
    /// Ones that had been taken before.
    pub repeated: usize,
}

/// The oldest event of a chat that waits.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) seq: i64,
    pub(crate) chat: Jid,
    pub(crate) message: String,
}

/// How an event ended.
#[derive(Clone, Debug)]
pub(crate) enum Settled {
    /// routd has it.
    Delivered,
    /// routd will not have it.
    Aside(String),
}

impl Spool {
    /// Takes events, in their order, and sets a mark, all or nothing. When this answers they are on disk, and the
    /// platform may be told that they arrived.
    ///
    /// # Errors
    /// The database cannot be written, or too many wait.
    pub async fn take(
        &self,
        events: Vec<Event>,
        mark: Option<(&'static str, String)>,
    ) -> Result<Taken, SpoolError> {
        let (now, news) = (self.clock.now(), self.news.clone());
        let take = move |tx: &Tx<'_>| {
            let mut taken = Taken::default();
            if !events.is_empty() && waiting(tx)? >= WAITING_MAX {
                return Err(SpoolError::Full);
            }
            for event in &events {
                match add(tx, event, now)? {
                    true => taken.new += 1,
                    false => taken.repeated += 1,
                }
            }
            if let Some((name, value)) = &mark {
                set_mark(tx, name, value, now).map_err(db::Error::from)?;
            }
            tx.after_commit(move || news.notify_one());
            Ok(taken)
        };
        self.db.try_write("spool.take", take).await
    }

    /// Keeps something of the platform's that cannot be understood, so that it is not lost and nothing waits for it.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn set_aside(
        &self,
        key: String,
        raw: String,
        why: String,
        mark: Option<(&'static str, String)>,
    ) -> Result<(), SpoolError> {
        let now = self.clock.now();
        let keep = move |tx: &Tx<'_>| {
            tx.execute(
                "INSERT INTO inbound (key, chat, message, state, why, taken_at_ms, settled_at_ms)
                 VALUES (?1, '', ?2, 'aside', ?3, ?4, ?4) ON CONFLICT (key) DO NOTHING",
                (&key, &raw, &why, now.0),
            )?;
            mark.map_or(Ok(()), |(name, value)| set_mark(tx, name, &value, now))
        };
        Ok(self.db.write("spool.aside", keep).await?)
    }

    /// The oldest event of each chat that has one, of at most `limit` chats, oldest first; `busy` ones left out.
    pub(crate) async fn heads(
        &self,
        busy: Vec<String>,
        limit: usize,
    ) -> Result<Vec<Head>, SpoolError> {
        let busy = serde_json::to_string(&busy).map_err(SpoolError::Row)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let heads = self.db.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT seq, chat, message FROM inbound WHERE seq IN
                     (SELECT min(seq) FROM inbound WHERE state = 'waiting' GROUP BY chat)
                 AND chat NOT IN (SELECT value FROM json_each(?1)) ORDER BY seq LIMIT ?2",
            )?;
            query.query_map((busy, limit), head)?.collect::<rusqlite::Result<Vec<_>>>()
        });
        Ok(heads.await?)
    }

    /// The oldest event of this chat that waits.
    pub(crate) async fn head(&self, chat: &Jid) -> Result<Option<Head>, SpoolError> {
        let chat = chat.clone();
        let found = self.db.read(move |conn| {
            conn.prepare_cached(
                "SELECT seq, chat, message FROM inbound
                 WHERE state = 'waiting' AND chat = ?1 ORDER BY seq LIMIT 1",
            )?
            .query_row([chat.as_str()], head)
            .optional()
        });
        Ok(found.await?)
    }

    /// Ends an event. What was delivered is forgotten but for its key.
    pub(crate) async fn settle(&self, seq: i64, how: Settled) -> Result<(), SpoolError> {
        let now = self.clock.now();
        let settle = move |tx: &Tx<'_>| match &how {
            Settled::Delivered => tx.execute(
                "UPDATE inbound SET state = 'delivered', message = NULL, settled_at_ms = ?2
                 WHERE seq = ?1 AND state = 'waiting'",
                (seq, now.0),
            ),
            Settled::Aside(why) => tx.execute(
                "UPDATE inbound SET state = 'aside', why = ?3, settled_at_ms = ?2
                 WHERE seq = ?1 AND state = 'waiting'",
                (seq, now.0, why),
            ),
        };
        Ok(self.db.write("spool.settle", settle).await.map(drop)?)
    }

    /// How many events wait, and how many were set aside.
    pub(crate) async fn counts(&self) -> Result<(i64, i64), SpoolError> {
        let aside = "SELECT count(*) FROM inbound WHERE state = 'aside'";
        let counts = self.db.read(move |conn| {
            Ok((waiting_count(conn)?, conn.query_row(aside, [], |row| row.get(0))?))
        });
        Ok(counts.await?)
    }
}

fn waiting(tx: &Tx<'_>) -> Result<i64, SpoolError> {
    Ok(waiting_count(tx).map_err(db::Error::from)?)
}

fn waiting_count(conn: &Connection) -> rusqlite::Result<i64> {
    let query = "SELECT count(*) FROM inbound WHERE state = 'waiting'";
    conn.prepare_cached(query)?.query_row([], |row| row.get(0))
}

/// Whether it is new.
fn add(tx: &Tx<'_>, event: &Event, now: Timestamp) -> Result<bool, SpoolError> {
    let message = serde_json::to_string(&event.message).map_err(SpoolError::Row)?;
    let mut insert = tx
        .prepare_cached(
            "INSERT INTO inbound (key, chat, message, state, taken_at_ms)
             VALUES (?1, ?2, ?3, 'waiting', ?4) ON CONFLICT (key) DO NOTHING",
        )
        .map_err(db::Error::from)?;
    let chat = event.message.chat_jid.as_str();
    let added = insert.execute((&event.key, chat, message, now.0)).map_err(db::Error::from)?;
    Ok(added == 1)
}

fn head(row: &rusqlite::Row<'_>) -> rusqlite::Result<Head> {
    let chat: String = row.get(1)?;
    let wrong = |error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
    };
    Ok(Head { seq: row.get(0)?, chat: chat.parse().map_err(wrong)?, message: row.get(2)? })
}
