//! Admits callers to one route, and notes whom it refuses.

use crate::{EDGE_HEADER, Failure, Gate, PeerCred, ledger::Refused, refusals::Why};
use auth::{Caller, Kind};
use axum::{
    extract::ConnectInfo,
    http::{HeaderMap, HeaderName, StatusCode, request::Parts},
};
use proto::{Needs, Route};
use std::{borrow::Cow, net::SocketAddr};

/// The parameters of a path that carry a right of their own: who knows the path may use it.
const RIGHTS: [&str; 2] = ["{token}", "{code}"];

/// Stands before one route.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) gate: Gate,
    pub(crate) route: Route,
    /// On a private socket: who is at its other end, if that is known.
    pub(crate) socket: Option<Cow<'static, str>>,
}

/// Where a request came from, kept until it is known whether that matters.
#[derive(Debug)]
pub(crate) struct Asker {
    from: String,
    /// What the edge says of its client; empty where it was not the edge.
    edge: HeaderMap,
}

impl Asker {
    pub(crate) fn of(parts: &Parts) -> Self {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let cred = parts.extensions.get::<ConnectInfo<PeerCred>>();
        let from = match (peer, cred.and_then(|ConnectInfo(cred)| cred.uid)) {
            (Some(ConnectInfo(peer)), _) => peer.ip().to_canonical().to_string(),
            (None, Some(uid)) => format!("user-{uid}"),
            (None, None) => "unknown".to_owned(),
        };
        let mut edge = HeaderMap::new();
        for name in [EDGE_HEADER, "x-forwarded-for"] {
            if let (Some(value), true) =
                (parts.headers.get(name), parts.headers.contains_key(EDGE_HEADER))
            {
                edge.insert(HeaderName::from_static(name), value.clone());
            }
        }
        Self { from, edge }
    }
}

impl Guard {
    /// The caller, if it may.
    pub(crate) async fn admit(&self, parts: &Parts) -> Result<Caller, Failure> {
        match (self.route.needs, &self.socket) {
            (Needs::Socket, Some(_)) => Ok(Caller::anonymous()),
            _ => self.gate.admit(&parts.headers, self.route).await,
        }
    }

    /// Whether this answer refuses the caller, and is not about what was asked.
    fn refuses(&self, status: StatusCode) -> bool {
        match status.as_u16() {
            401 | 403 | 429 => true,
            404 | 410 if self.route.needs == Needs::Nobody => {
                RIGHTS.iter().any(|right| self.route.path.contains(right))
            }
            // An attempt that was given up, or whose turn has ended.
            409 | 410 => self.socket.is_some(),
            _ => false,
        }
    }

    /// Notes the answer, if it refuses the caller.
    pub(crate) async fn note(
        &self,
        asker: &Asker,
        caller: Option<&Caller>,
        status: StatusCode,
        why: Option<Why>,
    ) {
        if !self.refuses(status) {
            return;
        }
        let Why { reason, subject, about } = why.unwrap_or_default();
        let reason = reason.unwrap_or_else(|| of(status).into());
        let proved = caller.filter(|caller| caller.kind() != Kind::Anonymous);
        let subject = match (subject, proved, &self.socket) {
            (Some(subject), _, _) => subject.into(),
            (None, Some(caller), _) => caller.subject().to_string().into(),
            (None, None, Some(socket)) => socket.clone(),
            (None, None, None) => "anonymous".into(),
        };
        let from = if asker.edge.is_empty() {
            asker.from.clone()
        } else {
            let edge = self.gate.verify_edge(&asker.edge).await;
            let client = edge.and_then(|edge| edge.client);
            client.map_or_else(|| asker.from.clone(), |client| client.to_canonical().to_string())
        };
        self.gate.refuse(
            self.route.path,
            Refused {
                subject,
                from,
                route: format!("{} {}", self.route.method.name(), self.route.path).into(),
                status: status.as_u16(),
                reason,
                about: about.unwrap_or_default(),
            },
        );
    }
}

/// Why, where whoever answered did not say.
fn of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        409 => "conflict",
        410 => "gone",
        _ => "rate_limited",
    }
}
