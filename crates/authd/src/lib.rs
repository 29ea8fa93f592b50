//! authd: the only signer of tokens.
//!
//! # The design
//!
//! 1. Tokens are signed with ES256 by keys that live in `authd.db`, sealed under a data key of that
//!    database, which is itself sealed under `SECRETS_KEY`. Rotating `SECRETS_KEY` seals one key anew
//!    and touches no other row.
//! 2. A signing key is pending (published), active (signs), retired (still published), and then
//!    deleted. [`signing_key::sweep`] decides, from the rows and the time alone.
//! 3. A daemon proves itself with its service key and gets a token of fifteen minutes; what the
//!    token allows is one table, in `auth`.
//! 4. The operator proves himself by being at the other end of `run/admin.sock`: he gets tokens of
//!    five minutes, and links that log one browser in, once.
//! 5. A login is a random cookie; the edge asks here whose it is.
//! 6. A daemon behind the edge that serves somebody's request may act for them, and for nobody else:
//!    the edge gets, beside who it is, an [`act`] for that one daemon, and hands it on; the daemon
//!    brings it here (`POST /v1/user-token`, with `sessions:act`) and gets a token of that person, of
//!    five minutes and for one peer. An operator's allows what the admin socket's does. A person's
//!    opens the endpoints of [`auth::person_scopes`], and routd asks its ACL which folders they reach.
//!
//! # What always holds
//!
//! - What is published is what is kept: every change of a key is committed first and loaded from
//!   there. Exactly one key signs.
//! - A token verifies until it ends, through any rotation, unless an operator says that the secret
//!   behind it must not be trusted any more.
//! - No private key, code, cookie or service key is in the database as it is, in a log, or in an
//!   answer that was not made to hand it out.
//! - A link is spent, and a session begun, in one transaction and by one request.
//! - What was done, and what was refused, is a row of the audit log, in the same transaction.

mod act;
mod admin;
mod app;
mod client_secret;
mod flow;
mod http;
mod keyring;
mod limits;
mod login;
mod logins;
mod outside;
mod pages;
mod program;
mod secrets_loop;
mod service_key;
mod session;
mod settings;
mod sign_in;
pub mod signing_key;
mod start_error;
mod store;
mod sweep_loop;
mod token;
mod vouched;

pub use service_key::NO_SERVICE_KEY;
pub use settings::{KEY_ROTATION_INTERVAL, SETTINGS};
pub use store::{SCHEMA, wraps};
pub use token::{ACCESS_TOKEN_LIFE, OPERATOR_TOKEN_LIFE, SERVICE_TOKEN_LIFE, USER_TOKEN_LIFE};

use app::App;
use axum::Router;
use client_secret::ClientSecrets;
use keyring::{Keyring, Rules};
use kit::{Api, Context, StartError, UnixSocket};
use logins::Logins;
use secrets::{
    AnyBundle, Bundle, Role,
    seal::{SECRETS_KEY_NEEDS, SecretsKey},
};
use service_key::ServiceKeys;
use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt, path::Path, sync::Arc, time::Duration};
use store::Store;

static SECRETS_KEY: Bundle<SecretsKey> =
    Bundle { needs: SECRETS_KEY_NEEDS, role: Role::Uses, parse: SecretsKey::parse };

/// The secrets that authd declares.
pub const BUNDLES: &[&dyn AnyBundle] = service_key::BUNDLES;

/// A retired key is served this much longer than the last token it can have signed, for a request
/// that was being signed when the key retired.
const MARGIN: Duration = Duration::from_secs(60);

/// Opens the keys, takes the admin socket, and answers with what is served over TCP.
///
/// # Errors
/// A setting or a secret does not do, no `SECRETS_KEY` opens the database, the database or the
/// socket cannot be had. Nothing is left running, and a database that does not open is untouched.
pub async fn start(context: Context) -> Result<Router, StartError> {
    // Before the first watch, so that the log has the first values too.
    let events = context.secrets.events();
    let app = assemble(&context).await?;
    // After the database's lock: a second authd must not take the socket from the first.
    let socket = bind_admin(&context)?;
    run_beside(&context, &app, events);
    let admin = admin::router(&context, &app);
    context.tasks.spawn("authd.admin", socket.serve(admin, context.stop.clone()));
    let mut api = Api::new(&context);
    http::mount(&mut api, &app);
    login::mount(&mut api, &app);
    sign_in::mount(&mut api, &app);
    program::mount(&mut api, &app);
    Ok(api.into_router())
}

/// Opens the database and the keys.
async fn assemble(context: &Context) -> Result<Arc<App>, StartError> {
    let rules = rules(context)?;
    let secrets_key = context.secrets.watch(&SECRETS_KEY).await?;
    // Together, because the keeper leaves a pause between two looks at a source.
    let (service_keys, client_secrets) = futures::future::try_join(
        ServiceKeys::watch(&context.secrets),
        ClientSecrets::watch(&context.secrets),
    )
    .await?;
    let logins = Logins::new(context, &client_secrets)?;
    let path = context.database();
    if let Some(directory) = path.parent() {
        own_directory(directory)?;
    }
    let store =
        Store::open(&path).await.map_err(|error| StartError::sorted(error.exit_code(), &error))?;
    context.keep(store.kept());
    let keeper = store.keeper();
    context.gate.keep_refusals(move |acts| keeper.clone().keep(acts));
    let ring = Keyring::open(&store, secrets_key, rules, context.clock.clone()).await?;
    context.gate.use_keys(Arc::new(ring.clone()));
    let app = App::new(context, store, ring, service_keys, logins).await;
    let app = Arc::new(app.map_err(start_error::at_start)?);
    context.gate.on_forget(Arc::new(secrets_loop::Distrust(Arc::downgrade(&app))));
    Ok(app)
}

fn rules(context: &Context) -> Result<Rules, StartError> {
    let leeway = Duration::from_secs(auth::LEEWAY.unsigned_abs());
    let policy = signing_key::Policy {
        rotate_every: context.settings.get(&KEY_ROTATION_INTERVAL)?,
        publish_before: signing_key::CACHE_LIFETIME,
        serve_after: [SERVICE_TOKEN_LIFE, OPERATOR_TOKEN_LIFE, USER_TOKEN_LIFE, ACCESS_TOKEN_LIFE]
            .into_iter()
            .max()
            .unwrap_or(SERVICE_TOKEN_LIFE)
            + leeway
            + MARGIN,
    };
    Ok(Rules { policy, overlap: context.settings.get(&kit::SECRETS_OVERLAP)? })
}

fn bind_admin(context: &Context) -> Result<UnixSocket, StartError> {
    let directory = context.run_dir();
    own_directory(&directory)?;
    kit::bind_unix(&directory.join("admin.sock"))
}

/// Makes a directory for this user alone, unless it is there.
fn own_directory(path: &Path) -> Result<(), StartError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::CannotCreate { path: path.into(), source })
}

fn run_beside(
    context: &Context,
    app: &Arc<App>,
    events: tokio::sync::broadcast::Receiver<secrets::Event>,
) {
    let (swept, health) = (app.clone(), context.health.clone());
    let stop = context.stop.clone();
    context.tasks.supervise("authd.sweep", move || {
        let (app, health, stop) = (swept.clone(), health.clone(), stop.clone());
        async move {
            tokio::select! {
                () = sweep_loop::run(app, health) => {}
                () = stop.cancelled() => {}
            }
        }
    });
    let (app, stop) = (app.clone(), context.stop.clone());
    context.tasks.spawn("authd.secrets", async move {
        tokio::select! {
            () = secrets_loop::run(app, events) => {}
            () = stop.cancelled() => {}
        }
    });
}
