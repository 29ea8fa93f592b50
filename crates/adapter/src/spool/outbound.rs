//! What routd asked for, on its way to the platform: orders, each of pieces.

use super::{Spool, SpoolError};
use crate::Trouble;
use db::{
    Tx,
    rusqlite::{self, Connection, OptionalExtension},
};
use proto::{Jid, Opaque, Timestamp};

/// What is known of a key.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) digest: String,
    pub(crate) state: OrderState,
    pub(crate) pieces: Vec<PieceRow>,
}

/// How an order stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OrderState {
    /// Some of its pieces are not out yet.
    Open,
    /// All are.
    Done,
    /// One will never be.
    Failed(Trouble),
}

/// A piece of an order.
#[derive(Clone, Debug)]
pub(crate) struct PieceRow {
    /// For the platform, as JSON; empty once it is out.
    pub(crate) body: String,
    pub(crate) state: PieceState,
}

/// How a piece stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PieceState {
    /// It was not handed over, or came back.
    Waiting,
    /// It was being handed over when last heard of.
    UnderWay,
    /// It is out, under these ids.
    Out(Vec<Opaque>),
}

impl PieceRow {
    /// A piece that was not handed over.
    pub(crate) const fn new(body: String) -> Self {
        Self { body, state: PieceState::Waiting }
    }
}

impl Order {
    /// The ids of all the messages that it became, in order.
    pub(crate) fn ids(&self) -> Vec<Opaque> {
        let ids = |piece: &PieceRow| match &piece.state {
            PieceState::Out(ids) => ids.clone(),
            _ => Vec::new(),
        };
        self.pieces.iter().flat_map(ids).collect()
    }
}

impl Spool {
    /// What is known of `key`.
    pub(crate) async fn order(&self, key: &str) -> Result<Option<Order>, SpoolError> {
        let key = key.to_owned();
        self.db.try_read(move |conn| order(conn, &key)).await
    }

    /// Keeps a new order, none of whose pieces was handed over.
    pub(crate) async fn add_order(
        &self,
        key: &str,
        digest: &str,
        chat: &Jid,
        pieces: Vec<String>,
    ) -> Result<(), SpoolError> {
        let (key, digest, chat) = (key.to_owned(), digest.to_owned(), chat.clone());
        let now = self.clock.now();
        let add = move |tx: &Tx<'_>| {
            tx.execute(
                "INSERT INTO orders (key, digest, chat, state, made_at_ms)
                 VALUES (?1, ?2, ?3, 'open', ?4)",
                (&key, &digest, chat.as_str(), now.0),
            )?;
            let mut insert = tx.prepare_cached(
                "INSERT INTO pieces (key, nth, body, state) VALUES (?1, ?2, ?3, 'waiting')",
            )?;
            for (nth, body) in (0_i64..).zip(&pieces) {
                insert.execute((&key, nth, body))?;
            }
            Ok(())
        };
        Ok(self.db.write("spool.order", add).await?)
    }

    /// Says how the piece `nth` of `key` stands. With the last piece out, the order is done.
    pub(crate) async fn piece_is(
        &self,
        key: &str,
        nth: usize,
        state: PieceState,
    ) -> Result<(), SpoolError> {
        let (key, nth) = (key.to_owned(), i64::try_from(nth).unwrap_or(i64::MAX));
        let now = self.clock.now();
        let say = move |tx: &Tx<'_>| match &state {
            PieceState::Waiting => set_piece(tx, &key, nth, "waiting"),
            PieceState::UnderWay => set_piece(tx, &key, nth, "under_way"),
            PieceState::Out(ids) => out(tx, &key, nth, ids, now),
        };
        self.db.try_write("spool.piece", say).await
    }

    /// Ends an order that will never be whole. What is out of it is out.
    pub(crate) async fn fail(&self, key: &str, trouble: &Trouble) -> Result<(), SpoolError> {
        let (key, now) = (key.to_owned(), self.clock.now());
        let trouble = serde_json::to_string(trouble).map_err(SpoolError::Row)?;
        let fail = move |tx: &Tx<'_>| {
            tx.execute(
                "UPDATE orders SET state = 'failed', trouble = ?2, settled_at_ms = ?3
                 WHERE key = ?1 AND state = 'open'",
                (&key, &trouble, now.0),
            )
        };
        Ok(self.db.write("spool.fail", fail).await.map(drop)?)
    }

    /// All the messages of the order whose first one is `id`; `id` alone where that is not known.
    pub(crate) async fn together(
        &self,
        chat: &Jid,
        id: &Opaque,
    ) -> Result<Vec<Opaque>, SpoolError> {
        let (chat, id) = (chat.clone(), id.clone());
        let find = move |conn: &Connection| {
            let key: Option<String> = conn
                .prepare_cached("SELECT key FROM orders WHERE chat = ?1 AND first_id = ?2")
                .and_then(|mut query| {
                    query.query_row((chat.as_str(), id.as_str()), |row| row.get(0)).optional()
                })
                .map_err(db::Error::from)?;
            let known = key.map(|key| order(conn, &key)).transpose()?.flatten();
            let ids = known.map(|order| order.ids()).filter(|ids| !ids.is_empty());
            Ok::<_, SpoolError>(ids.unwrap_or_else(|| vec![id]))
        };
        self.db.try_read(find).await
    }
}

fn set_piece(tx: &Tx<'_>, key: &str, nth: i64, state: &str) -> Result<(), SpoolError> {
    let set = "UPDATE pieces SET state = ?3 WHERE key = ?1 AND nth = ?2 AND state <> 'out'";
    let mut update = tx.prepare_cached(set).map_err(db::Error::from)?;
    update.execute((key, nth, state)).map_err(db::Error::from)?;
    Ok(())
}

fn out(tx: &Tx<'_>, key: &str, nth: i64, ids: &[Opaque], now: Timestamp) -> Result<(), SpoolError> {
    let text = serde_json::to_string(ids).map_err(SpoolError::Row)?;
    let write = || {
        tx.execute(
            "UPDATE pieces SET state = 'out', ids = ?3, body = NULL WHERE key = ?1 AND nth = ?2",
            (key, nth, text),
        )?;
        tx.execute(
            "UPDATE orders SET first_id = coalesce(first_id, ?2) WHERE key = ?1",
            (key, ids.first().map(Opaque::as_str)),
        )?;
        tx.execute(
            "UPDATE orders SET state = 'done', settled_at_ms = ?2 WHERE key = ?1 AND state = 'open'
             AND NOT EXISTS (SELECT 1 FROM pieces WHERE pieces.key = ?1 AND pieces.state <> 'out')",
            (key, now.0),
        )
    };
    write().map_err(db::Error::from)?;
    Ok(())
}

fn order(conn: &Connection, key: &str) -> Result<Option<Order>, SpoolError> {
    type Row = (String, String, Option<String>);
    let found: Option<Row> = conn
        .prepare_cached("SELECT digest, state, trouble FROM orders WHERE key = ?1")
        .and_then(|mut query| {
            query.query_row([key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
        })
        .map_err(db::Error::from)?;
    let Some((digest, state, trouble)) = found else { return Ok(None) };
    let state = match (state.as_str(), trouble) {
        ("failed", Some(trouble)) => {
            OrderState::Failed(serde_json::from_str(&trouble).map_err(SpoolError::Row)?)
        }
        ("done", _) => OrderState::Done,
        _ => OrderState::Open,
    };
    let rows = pieces(conn, key).map_err(db::Error::from)?;
    let mut pieces = Vec::new();
    for (body, state, ids) in rows {
        let state = match (state.as_str(), ids) {
            (_, Some(ids)) => PieceState::Out(serde_json::from_str(&ids).map_err(SpoolError::Row)?),
            ("under_way", None) => PieceState::UnderWay,
            _ => PieceState::Waiting,
        };
        pieces.push(PieceRow { body: body.unwrap_or_default(), state });
    }
    Ok(Some(Order { digest, state, pieces }))
}

type RawPiece = (Option<String>, String, Option<String>);

fn pieces(conn: &Connection, key: &str) -> rusqlite::Result<Vec<RawPiece>> {
    conn.prepare_cached("SELECT body, state, ids FROM pieces WHERE key = ?1 ORDER BY nth")?
        .query_map([key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}
