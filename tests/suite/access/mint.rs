//! Tokens that are signed with the suite's own key, so that one thing alone is wrong with each.

use crate::harness::Suite;
use auth::{Claims, Kind, Signer};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use db::rusqlite::{Connection, OpenFlags};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proto::Daemon;
use secrets::{
    Secret,
    seal::{SecretsKey, Wrap, unlock},
};
use serde_json::Value;
use std::sync::Arc;

/// The suite's signing key, taken out of its database with its own `SECRETS_KEY`.
pub struct Mint {
    key: EncodingKey,
    kid: String,
    now: i64,
}

impl Mint {
    pub fn of(suite: &Suite) -> Self {
        let path = suite.data().join("store/authd.db");
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let wraps: Vec<Wrap> = db
            .prepare("SELECT key_id, wrapped FROM wraps")
            .unwrap()
            .query_map([], |row| Ok(Wrap { key_id: row.get(0)?, bytes: row.get(1)? }))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let secret = Secret::new(suite.dotenv("SECRETS_KEY").into_bytes()).unwrap();
        let key = Arc::new(SecretsKey::new(&secret).unwrap());
        let key = unlock("authd.db", &wraps, &[key]).unwrap().key;
        let active = "SELECT kid, sealed FROM signing_keys WHERE state = 'active'";
        let (kid, sealed): (String, Vec<u8>) =
            db.query_row(active, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let plain = key.open(&sealed, format!("signing_keys/{kid}/private").as_bytes()).unwrap();
        let signer = Signer::from_pkcs8(&plain).unwrap();
        assert_eq!(signer.kid(), kid);
        let now = kit::Clock::real().now().0 / 1000;
        Self { key: EncodingKey::from_ec_der(&plain), kid, now }
    }

    /// A token that is good for everything at `daemon`, but for what `spoil` does to it.
    pub fn operator(&self, daemon: Daemon, spoil: impl FnOnce(&mut Claims, i64)) -> String {
        self.token("operator:local", Kind::Operator, daemon, spoil)
    }

    pub fn token(
        &self,
        subject: &str,
        kind: Kind,
        daemon: Daemon,
        spoil: impl FnOnce(&mut Claims, i64),
    ) -> String {
        let mut claims = Claims {
            iss: auth::issuer("test"),
            sub: subject.parse().unwrap(),
            aud: vec![daemon.name().to_owned()],
            typ: kind,
            scope: "*:*".parse().unwrap(),
            iat: self.now - 10,
            exp: self.now + 290,
            nbf: None,
            jti: format!("{subject} at {daemon}"),
            // Above every epoch, where it is not the epoch that is wrong.
            epoch: 9,
            folder: None,
            sid: None,
        };
        spoil(&mut claims, self.now);
        self.sign(serde_json::to_value(&claims).unwrap())
    }

    /// The same with another kind than that of its subject, which authd's own code would not sign.
    pub fn of_kind(&self, kind: &str, daemon: Daemon) -> String {
        let good = self.operator(daemon, |_, _| {});
        let claims = URL_SAFE_NO_PAD.decode(good.split('.').nth(1).unwrap()).unwrap();
        let mut claims: Value = serde_json::from_slice(&claims).unwrap();
        claims["typ"] = kind.into();
        self.sign(claims)
    }

    fn sign(&self, claims: Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }
}
