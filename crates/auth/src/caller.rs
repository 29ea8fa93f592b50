//! Authority as a value.

use std::sync::Arc;

use proto::{Daemon, Folder};

use crate::acl::{ADMINISTER, Acl};
use crate::claims::Kind;
use crate::glob::Glob;
use crate::principal::Principal;
use crate::scope::Scopes;

/// Who is calling. [`crate::Verifier::verify`] makes one from a token that passed every check; the two other ways,
/// [`Caller::anonymous`] and [`Caller::by_secret`], give nothing, and what the checker of a shared secret says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub(crate) subject: Principal,
    pub(crate) kind: Kind,
    pub(crate) scopes: Scopes,
    pub(crate) folder: Option<Folder>,
    pub(crate) token_id: String,
    pub(crate) session: Option<String>,
    pub(crate) expires_at: i64,
    pub(crate) rights: Option<Arc<Acl>>,
}

impl Caller {
    /// Somebody who proved nothing, and may nothing.
    pub fn anonymous() -> Self {
        Self {
            subject: Principal::anonymous(),
            kind: Kind::Anonymous,
            scopes: Scopes::default(),
            folder: None,
            token_id: String::new(),
            session: None,
            expires_at: i64::MAX,
            rights: None,
        }
    }

    /// Somebody who presented a shared secret, with what that secret is for. To be called by whoever compared it, and
    /// nobody else.
    pub fn by_secret(subject: Principal, scopes: Scopes) -> Self {
        Self { subject, kind: Kind::Secret, scopes, ..Self::anonymous() }
    }

    /// Whether the token carries a scope that covers `scope`.
    pub fn may(&self, scope: impl AsRef<str>) -> bool {
        self.scopes.cover(scope)
    }

    /// The same caller, with the rights that the folders' owner keeps. A person reaches nothing without them.
    #[must_use]
    pub fn with_rights(self, rights: Arc<Acl>) -> Self {
        Self { rights: Some(rights), ..self }
    }

    /// Whether `folder` is the one that the token is limited to, or lies below it; always, where there is no limit. A
    /// person reaches the folders that they administer, and no other.
    pub fn reaches(&self, folder: &Folder) -> bool {
        let within = self.folder.as_ref().is_none_or(|limit| limit.contains(folder));
        let held = |acl: &Arc<Acl>| acl.decide(&self.subject, ADMINISTER, folder).allowed;
        within && (self.kind != Kind::User || self.rights.as_ref().is_some_and(held))
    }

    /// Whether all folders that `scope` stands for are reached.
    pub fn reaches_each(&self, scope: &Glob) -> bool {
        let covers = |text: String| text.parse::<Glob>().is_ok_and(|own| own.covers(scope));
        let below = |limit: &Folder| covers(limit.to_string()) || covers(format!("{limit}/**"));
        let held = |acl: &Arc<Acl>| acl.holds(&self.subject, ADMINISTER, scope).allowed;
        self.folder.as_ref().is_none_or(below)
            && (self.kind != Kind::User || self.rights.as_ref().is_some_and(held))
    }

    /// Whether the caller is limited to no folder.
    pub fn reaches_all(&self) -> bool {
        let everything = || "**".parse::<Glob>().is_ok_and(|all| self.reaches_each(&all));
        self.folder.is_none() && (self.kind != Kind::User || everything())
    }

    /// The subject, as the ACL knows it.
    pub fn subject(&self) -> &Principal {
        &self.subject
    }

    /// What the caller proved itself with.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Which daemon this is, by its token or by a secret of its own.
    pub fn service(&self) -> Option<Daemon> {
        if self.subject.kind() == "service" { self.subject.id().parse().ok() } else { None }
    }

    /// Whether this is that daemon.
    pub fn is_service(&self, daemon: Daemon) -> bool {
        self.service() == Some(daemon)
    }

    /// Whether this is an operator.
    pub fn is_operator(&self) -> bool {
        self.kind == Kind::Operator
    }

    /// The scopes it holds.
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// The folder it is limited to.
    pub fn folder(&self) -> Option<&Folder> {
        self.folder.as_ref()
    }

    /// The token's id, for audit rows; empty where there was no token.
    pub fn token_id(&self) -> &str {
        &self.token_id
    }

    /// The login session it came from.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// When the token ends, in seconds since 1970: a stream that outlives it must ask again. Without a token, never.
    pub fn expires_at(&self) -> i64 {
        self.expires_at
    }
}
