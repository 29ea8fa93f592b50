//! What authd's tokens say. Pure: the time is an argument.

use auth::{Claims, FULL, Jwks, Kind, Principal, Scopes, person_scopes, service_scopes};
use proto::{Daemon, Timestamp};
use rand::RngCore;
use std::time::Duration;

/// How long a service token lasts.
pub const SERVICE_TOKEN_LIFE: Duration = Duration::from_secs(15 * 60);

/// How long an operator's token lasts.
pub const OPERATOR_TOKEN_LIFE: Duration = Duration::from_secs(5 * 60);

/// How long the token of somebody who is logged in lasts.
pub const USER_TOKEN_LIFE: Duration = Duration::from_secs(5 * 60);

/// How long the access token of somebody's program lasts.
pub const ACCESS_TOKEN_LIFE: Duration = Duration::from_secs(15 * 60);

/// Who a token is about, and what it allows.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) subject: Principal,
    pub(crate) kind: Kind,
    pub(crate) audience: Vec<String>,
    pub(crate) scopes: Scopes,
    pub(crate) life: Duration,
    /// The login session that it came from.
    pub(crate) session: Option<String>,
}

impl Grant {
    /// A daemon's token, for one peer or for every daemon.
    pub(crate) fn service(daemon: Daemon, audience: Option<Daemon>) -> Self {
        Self {
            subject: Principal::service(daemon),
            kind: Kind::Service,
            audience: audience.map_or_else(everyone, |one| vec![one.name().to_owned()]),
            scopes: service_scopes(daemon).into(),
            life: SERVICE_TOKEN_LIFE,
            session: None,
        }
    }

    /// The operator's token, for everything.
    pub(crate) fn operator() -> Self {
        Self {
            subject: Principal::local_operator(),
            kind: Kind::Operator,
            audience: everyone(),
            scopes: [FULL].into_iter().collect(),
            life: OPERATOR_TOKEN_LIFE,
            session: None,
        }
    }

    /// The token of whoever is logged in, for one peer: an operator's is for everything there.
    pub(crate) fn person(subject: Principal, audience: Daemon, session: i64) -> Self {
        let is_operator = subject.kind() == "operator";
        Self {
            kind: if is_operator { Kind::Operator } else { Kind::User },
            audience: vec![audience.name().to_owned()],
            scopes: match is_operator {
                true => [FULL].into_iter().collect(),
                false => person_scopes(audience).into(),
            },
            subject,
            life: USER_TOKEN_LIFE,
            session: Some(session.to_string()),
        }
    }

    /// The token of somebody's program: for every daemon where it is an operator's, and else for routd,
    /// which asks its ACL.
    pub(crate) fn program(subject: Principal, session: i64) -> Self {
        let person = Self::person(subject, Daemon::Routd, session);
        let audience = match person.kind {
            Kind::Operator => everyone(),
            _ => person.audience,
        };
        Self { audience, life: ACCESS_TOKEN_LIFE, ..person }
    }

    /// The claims of a token made now.
    pub(crate) fn claims(&self, instance: &str, now: Timestamp, jwks: &Jwks) -> Claims {
        let now = now.0.div_euclid(1000);
        let life = i64::try_from(self.life.as_secs()).unwrap_or(i64::MAX);
        Claims {
            iss: auth::issuer(instance),
            sub: self.subject.clone(),
            aud: self.audience.clone(),
            typ: self.kind,
            scope: self.scopes.clone(),
            iat: now,
            exp: now.saturating_add(life),
            nbf: None,
            jti: token_id(),
            epoch: jwks.epoch(&self.subject),
            folder: None,
            sid: self.session.clone(),
        }
    }
}

fn everyone() -> Vec<String> {
    Daemon::ALL.iter().map(|daemon| daemon.name().to_owned()).collect()
}

/// 96 random bits: enough that no two tokens of an instance are the same.
fn token_id() -> String {
    let mut bytes = [0; 12];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_token_is_for_one_peer_or_for_every_daemon_and_never_says_more_than_the_table() {
        let jwks = Jwks { keys: Vec::new(), epochs: [("service:routd".to_owned(), 3)].into() };
        let grant = Grant::service(Daemon::Routd, Some(Daemon::Runed));
        let claims = grant.claims("demo", Timestamp(1_000_999), &jwks);
        assert_eq!((claims.sub.as_str(), claims.iss.as_str()), ("service:routd", "arizuko:demo"));
        assert_eq!(claims.aud, ["runed"]);
        assert_eq!((claims.iat, claims.exp, claims.epoch), (1000, 1900, 3));
        assert!(!claims.scope.cover("secrets:write"));
        let all = Grant::service(Daemon::Routd, None);
        assert_eq!(all.audience.len(), Daemon::ALL.len());
        assert_ne!(claims.jti, grant.claims("demo", Timestamp(1_000_999), &jwks).jti);
    }

    #[test]
    fn the_operators_token_is_short_and_for_everything() {
        let claims = Grant::operator().claims("demo", Timestamp(0), &Jwks::default());
        assert_eq!((claims.sub.as_str(), claims.exp), ("operator:local", 300));
        assert!(claims.scope.cover("anything:at-all"));
    }
}
