//! What the handlers and loops of authd share.

use crate::{
    act::Act,
    keyring::{Keyring, KeyringError},
    limits::Limits,
    logins::Logins,
    pages::Pages,
    service_key::ServiceKeys,
    session::{Capability, Session},
    store::{Store, StoreError},
    token::Grant,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kit::{Clock, Context, Failure, Gate};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use proto::{Daemon, Timestamp, authd::Token};
use rand::RngCore;
use std::fmt;

/// The name of the fingerprint key among the sealed values.
const FINGERPRINT_KEY: &str = "fingerprint_key";

/// What an act is sealed as.
const ACT: &str = "act";

/// Labels of what was asked for a token.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Asked {
    pub(crate) subject: String,
}

/// authd, alive.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) ring: Keyring,
    pub(crate) service_keys: ServiceKeys,
    pub(crate) limits: Limits,
    pub(crate) logins: Logins,
    pub(crate) pages: Pages,
    pub(crate) clock: Clock,
    pub(crate) gate: Gate,
    pub(crate) issued: Family<Asked, Counter>,
    pub(crate) refused: Family<Asked, Counter>,
    instance: String,
    fingerprint_key: FingerprintKey,
}

impl App {
    pub(crate) async fn new(
        context: &Context,
        store: Store,
        ring: Keyring,
        service_keys: ServiceKeys,
        logins: Logins,
    ) -> Result<Self, KeyringError> {
        let fingerprint_key = FingerprintKey::load(&store, &ring).await?;
        context.secrets.set_fingerprint_key(fingerprint_key.0);
        let metrics = &context.metrics;
        Ok(Self {
            store,
            ring,
            service_keys,
            limits: Limits::new(),
            logins,
            pages: Pages::new(&context.instance),
            clock: context.clock.clone(),
            gate: context.gate.clone(),
            issued: metrics.counter_family("tokens_issued", "Tokens that authd signed"),
            refused: metrics
                .counter_family("tokens_refused", "Requests for a token that authd refused"),
            instance: context.instance.clone(),
            fingerprint_key,
        })
    }

    /// A signed token of that grant.
    pub(crate) fn mint(&self, grant: &Grant) -> Result<Token, Failure> {
        let now = self.clock.now();
        let token = self.ring.sign(|jwks| grant.claims(&self.instance, now, jwks));
        let token = token.map_err(|error| Failure::internal(&error))?;
        // People are many: their kind is enough of a label.
        let subject = match grant.kind {
            auth::Kind::User => grant.kind.to_string(),
            _ => grant.subject.to_string(),
        };
        self.issued.get_or_create(&Asked { subject }).inc();
        let is_service = grant.kind == auth::Kind::Service;
        Ok(Token {
            token,
            token_type: "Bearer".into(),
            expires_in: grant.life.as_secs(),
            scope: grant.scopes.iter().map(ToString::to_string).collect(),
            fingerprint_key: is_service.then(|| hex::encode(self.fingerprint_key.0)),
        })
    }

    /// The session of a cookie, if it still counts; its use is written down now and then.
    pub(crate) async fn session(&self, cookie: &Capability) -> Result<Option<Session>, StoreError> {
        let now = self.clock.now();
        let found = self.store.session(cookie.hash()).await?;
        self.lasting(found, now).await
    }

    /// The session of that id, if it still counts.
    pub(crate) async fn session_of(&self, act: &Act) -> Result<Option<Session>, StoreError> {
        let found = self.store.session_by_id(act.session).await?;
        self.lasting(found, self.clock.now()).await
    }

    /// Whether a session that nobody ended is not over by itself, nor by a setting that is gone.
    pub(crate) fn counts(&self, session: &Session, now: Timestamp) -> bool {
        let stands = session.rule.as_deref().is_none_or(|rule| self.logins.keep(rule));
        session.is_live(now) && stands
    }

    async fn lasting(
        &self,
        found: Option<Session>,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let Some(mut session) = found.filter(|session| self.counts(session, now)) else {
            return Ok(None);
        };
        if session.wants_note(now) {
            self.store.touch_session(session.id, now).await?;
            session.seen = now;
        }
        Ok(Some(session))
    }

    /// What stands for `session` in the hands of `daemon`.
    pub(crate) fn act(&self, session: &Session, daemon: Daemon) -> Result<String, Failure> {
        let act = Act::new(session.id, daemon, self.clock.now());
        let plain = serde_json::to_vec(&act).map_err(|error| Failure::internal(&error))?;
        let sealed = self.ring.seal_value(ACT, &plain);
        Ok(URL_SAFE_NO_PAD.encode(sealed.map_err(|error| Failure::internal(&error))?))
    }

    /// What [`App::act`] made, if it was this authd that did, and `daemon` may use it now.
    pub(crate) fn acted(&self, text: &str, daemon: Daemon) -> Option<Act> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let plain = self.ring.open_value(ACT, &sealed).ok()?;
        let act: Act = serde_json::from_slice(plain.as_ref()).ok()?;
        act.serves(daemon, self.clock.now()).then_some(act)
    }
}

/// The key under which the instance's daemons fingerprint secrets. It opens nothing.
struct FingerprintKey([u8; 32]);

impl FingerprintKey {
    /// The instance's own, made once.
    async fn load(store: &Store, ring: &Keyring) -> Result<Self, KeyringError> {
        let mut key = [0; 32];
        if let Some(sealed) = store.sealed_value(FINGERPRINT_KEY).await? {
            let opened = ring.open_value(FINGERPRINT_KEY, &sealed)?;
            let opened = <[u8; 32]>::try_from(opened.as_ref());
            return opened.map(Self).map_err(|_| secrets::seal::SealError::NotSealed.into());
        }
        rand::rng().fill_bytes(&mut key);
        store.add_sealed_value(FINGERPRINT_KEY, ring.seal_value(FINGERPRINT_KEY, &key)?).await?;
        Ok(Self(key))
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey(..)")
    }
}
