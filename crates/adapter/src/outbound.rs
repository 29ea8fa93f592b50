//! Carries what routd asks for to the platform, piece by piece, once for each key.

use crate::{
    Act, Files, Found, Handing, Platform, Spool, SpoolError, Trouble,
    figures::Figures,
    holds::Holds,
    lanes::Lanes,
    spool::{Order, OrderState, PieceState},
};
use kit::{Clock, Failure};
use proto::{Jid, Opaque};
use std::sync::{Arc, Mutex, PoisonError};

/// How often a piece of which the platform says that it is not out is handed over within one call.
const HANDED_MAX: usize = 2;

/// What carries. Shared by all requests.
pub(crate) struct Outbound<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) spool: Spool,
    pub(crate) files: Files,
    pub(crate) clock: Clock,
    pub(crate) figures: Figures,
    pub(crate) lanes: Lanes,
    pub(crate) holds: Mutex<Holds>,
}

/// An order, as routd gave it.
#[derive(Debug)]
pub(crate) struct Request {
    /// The `Idempotency-Key`.
    pub(crate) key: String,
    /// SHA-256 of what is asked for.
    pub(crate) digest: String,
    /// The chat.
    pub(crate) chat: Jid,
    /// What is asked for.
    pub(crate) act: Act,
}

/// Why an order is not out.
#[derive(Debug)]
pub(crate) enum NotOut {
    /// The platform, or the way there.
    Trouble(Trouble),
    /// This adapter's own disk.
    Spool(SpoolError),
}

impl From<SpoolError> for NotOut {
    fn from(error: SpoolError) -> Self {
        Self::Spool(error)
    }
}

impl From<Trouble> for NotOut {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl NotOut {
    /// The answer to routd.
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::Trouble(trouble) => trouble.failure(),
            Self::Spool(SpoolError::KeyTaken) => {
                Failure::conflict("this Idempotency-Key was used for another request")
            }
            Self::Spool(error) => Failure::internal(error),
        }
    }
}

impl<P: Platform> Outbound<P> {
    /// Does what is asked for, or what is left of it. The ids of the messages that it became.
    ///
    /// To be run to its end, whoever waits for it: what is cut off in the middle is in doubt.
    pub(crate) async fn carry(&self, request: Request) -> Result<Vec<Opaque>, NotOut> {
        let _lane = self.lanes.enter(request.chat.as_str()).await;
        let done = self.carry_alone(&request).await;
        match &done {
            Ok(_) => self.figures.handed("out"),
            Err(NotOut::Trouble(trouble)) => {
                self.figures.handed(trouble.told().code);
                tracing::warn!(chat = %request.chat, key = request.key, %trouble, "not out");
            }
            Err(NotOut::Spool(_)) => self.figures.handed("spool"),
        }
        done
    }

    async fn carry_alone(&self, request: &Request) -> Result<Vec<Opaque>, NotOut> {
        let order = self.order(request).await?;
        match &order.state {
            OrderState::Done => return Ok(order.ids()),
            OrderState::Failed(trouble) => return Err(trouble.clone().into()),
            OrderState::Open => {}
        }
        let mut ids = Vec::new();
        for (index, piece) in order.pieces.iter().enumerate() {
            if let PieceState::Out(known) = &piece.state {
                ids.extend(known.iter().cloned());
                continue;
            }
            let handing =
                Handing { chat: &request.chat, key: &request.key, index, files: &self.files };
            let body = serde_json::from_str(&piece.body).map_err(SpoolError::Row)?;
            let was_under_way = piece.state == PieceState::UnderWay;
            match self.see_through(&body, &handing, was_under_way).await? {
                Ok(new) => ids.extend(new),
                Err(trouble) => {
                    if trouble.is_final() {
                        self.spool.fail(&request.key, &trouble).await?;
                    }
                    return Err(partly(trouble, index, order.pieces.len()).into());
                }
            }
        }
        Ok(ids)
    }

    /// The order of this key; a new one, if there is none.
    async fn order(&self, request: &Request) -> Result<Order, NotOut> {
        if let Some(order) = self.spool.order(&request.key).await? {
            if order.digest != request.digest {
                return Err(SpoolError::KeyTaken.into());
            }
            return Ok(order);
        }
        let act = self.with_all_ids(&request.chat, request.act.clone()).await?;
        let pieces = self.platform.plan(&act)?;
        let bodies = pieces.iter().map(serde_json::to_string).collect::<Result<_, _>>();
        let bodies: Vec<String> = bodies.map_err(SpoolError::Row)?;
        let rows = bodies.iter().cloned().map(crate::spool::PieceRow::new).collect();
        self.spool.add_order(&request.key, &request.digest, &request.chat, bodies).await?;
        Ok(Order { digest: request.digest.clone(), state: OrderState::Open, pieces: rows })
    }

    async fn with_all_ids(&self, chat: &Jid, act: Act) -> Result<Act, SpoolError> {
        Ok(match act {
            Act::Edit(edit, _) => {
                let ids = self.spool.together(chat, &edit.id).await?;
                Act::Edit(edit, ids)
            }
            Act::Delete(delete, _) => {
                let ids = self.spool.together(chat, &delete.id).await?;
                Act::Delete(delete, ids)
            }
            other => other,
        })
    }

    /// Hands a piece over, unless it is out already, and writes down how it stands before and after.
    async fn see_through(
        &self,
        piece: &P::Piece,
        handing: &Handing<'_>,
        was_under_way: bool,
    ) -> Result<Result<Vec<Opaque>, Trouble>, SpoolError> {
        let (key, index) = (handing.key, handing.index);
        if was_under_way {
            match self.platform.find(piece, handing).await {
                Found::Out(ids) => return self.is_out(handing, ids).await,
                Found::NotOut => {}
                Found::Unknown => {
                    let why = "the adapter ended while it was being sent";
                    return Ok(Err(Trouble::Ambiguous(why.into())));
                }
            }
        }
        if let Some(wait) = self.held(handing.chat) {
            self.spool.piece_is(key, index, PieceState::Waiting).await?;
            let why = "the platform asked for a pause in this chat".into();
            return Ok(Err(Trouble::RateLimited { wait, why }));
        }
        self.spool.piece_is(key, index, PieceState::UnderWay).await?;
        let mut handed = 0;
        let trouble = loop {
            handed += 1;
            match self.platform.hand(piece, handing).await {
                Ok(ids) => return self.is_out(handing, ids).await,
                Err(Trouble::Ambiguous(why)) => match self.platform.find(piece, handing).await {
                    Found::Out(ids) => return self.is_out(handing, ids).await,
                    Found::NotOut if handed < HANDED_MAX => {}
                    Found::NotOut => break Trouble::Transient(why),
                    Found::Unknown => break Trouble::Ambiguous(why),
                },
                Err(trouble) => break trouble,
            }
        };
        if let Trouble::RateLimited { wait, .. } = &trouble {
            let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
            holds.hold(handing.chat, *wait, self.clock.now());
        }
        if !matches!(trouble, Trouble::Ambiguous(_)) {
            self.spool.piece_is(key, index, PieceState::Waiting).await?;
        }
        Ok(Err(trouble))
    }

    async fn is_out(
        &self,
        handing: &Handing<'_>,
        ids: Vec<Opaque>,
    ) -> Result<Result<Vec<Opaque>, Trouble>, SpoolError> {
        let state = PieceState::Out(ids.clone());
        self.spool.piece_is(handing.key, handing.index, state).await?;
        Ok(Ok(ids))
    }

    fn held(&self, chat: &Jid) -> Option<std::time::Duration> {
        let holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        holds.left(chat, self.clock.now())
    }
}

/// The trouble, with how much is out before it.
fn partly(trouble: Trouble, out: usize, all: usize) -> Trouble {
    if out == 0 {
        return trouble;
    }
    let say = |why: String| format!("{out} of {all} parts are out; {why}");
    match trouble {
        Trouble::Permanent(why) => Trouble::Permanent(say(why)),
        Trouble::Ambiguous(why) => Trouble::Ambiguous(say(why)),
        Trouble::Unsupported { why, hint } => Trouble::Unsupported { why: say(why), hint },
        other => other,
    }
}
