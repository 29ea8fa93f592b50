//! Who is calling, and what they may do. Pure: no I/O, and the time is an argument.
//!
//! - [`Signer`] mints tokens (ES256, `authd` alone holds one); [`Verifier`] checks them against the published
//!   [`Jwks`], and is the only maker of a [`Caller`]. A handler that is given a `Caller` need not ask who made it.
//! - A [`Scope`] is what a caller may ask of a daemon; [`service_scopes`] is the one table of what each daemon may.
//! - [`Acl`] decides what a folder's agent, a person or a role may do to a folder, and says why.
//!
//! Not here: comparing shared secrets (that is `secrets`), fetching keys, and the clock (both `kit`).

mod acl;
mod bearer;
mod caller;
mod claims;
mod glob;
mod id_token;
mod jwks;
mod principal;
mod scope;
mod service;
mod sign;
mod verify;

pub use acl::{
    ADMINISTER, APPROVE, Acl, AclError, Because, Decision, Effect, Membership, OWN_FOLDER_ACTIONS,
    Rule,
};
pub use bearer::bearer;
pub use caller::Caller;
pub use claims::{Claims, Kind};
pub use glob::{Glob, GlobError};
pub use id_token::{ExpectId, IdToken, IdTokenError, ProviderKeys};
pub use jwks::{Jwks, JwksError, PublicJwk};
pub use principal::{Principal, PrincipalError};
pub use scope::{FULL, Scope, ScopeError, Scopes, scopes};
pub use service::{person_scopes, service_scopes};
pub use sign::{KeyError, Pkcs8, Signer};
pub use verify::{Expect, LEEWAY, TokenError, Verifier};

/// The `iss` of an instance's tokens, so that who signs and who checks cannot differ.
pub fn issuer(instance: &str) -> String {
    format!("arizuko:{instance}")
}

/// Makes AWS-LC the cryptography of this process's tokens. Called once, first thing in `main`; a second call, and any
/// other choice that was made before, changes nothing.
pub fn install_crypto() {
    let provider = &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
    // An error means that a provider is installed already, which is what is wanted.
    provider.install_default().ok();
}
