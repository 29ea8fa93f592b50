//! onbod: lets new people in.
//!
//! # The design
//!
//! routd tells of every message that no route takes. What happens then is one function, [`admission::on_knock`]: nothing,
//! a greeting with a pairing link, or a place in the queue. Who opens the link and logs in says that the chat is theirs;
//! then they come in by an operator's word, by a gate or by an invite, or wait.
//!
//! 1. Everything is a row of `onbod.db`. [`reception`] has one function for each thing that happens, each one
//!    transaction, and each asks [`admission`], which is pure.
//! 2. What follows is asked of routd, which alone has folders, rights, routes and chats, under a key that is in the row:
//!    the [`admit_loop`] has it make the folder, the right and the route, in one call; the [`say_loop`] has it say a
//!    line. Both do what the rows say until routd has answered, so that either may end at any moment.
//! 3. The pages ([`http`]) believe the edge alone about who is logged in.
//!
//! # What always holds
//!
//! - A stranger whom the policy refuses hears nothing, and no row is made.
//! - A link is spent by the form of its page, never by opening it, once, and within ten minutes. Here is
//!   the hash of its token alone, and no row of routd has it once it is sent.
//! - A person has one folder, whose name is made of their subject by a hash: nobody chooses it.
//! - A chat is greeted so often and no more, and the instance addresses so many strangers an hour.
//! - What was decided, by whom, is a row of the audit log, in the same transaction.

mod admission;
mod admit_loop;
mod app;
mod fault;
mod figures;
mod folder;
mod form;
mod http;
mod pages;
mod public;
mod reception;
mod say_loop;
mod settings;
mod store;
mod token;
mod words;

pub use settings::SETTINGS;
pub use store::SCHEMA;

use admission::Policy;
use app::App;
use axum::Router;
use kit::{Acting, Context, StartError};
use secrets::AnyBundle;
use std::sync::Arc;

/// The secrets that onbod needs, besides its service key: none.
pub const BUNDLES: &[&dyn AnyBundle] = &[];

/// Starts onbod: answers with what it serves.
///
/// # Errors
/// A setting does not do, or the database cannot be had.
pub async fn start(context: Context) -> Result<Router, StartError> {
    let values = settings::Values::read(&context.settings)?;
    let db = store::open(&context.database()).await?;
    context.keep(store::kept(&db));
    let now = context.clock.now();
    let begun = db.write("epoch", move |tx| store::begin_epoch(tx, now)).await;
    begun.map_err(|error| {
        StartError::Other("onbod cannot write its database".into(), Some(error.into()))
    })?;
    let keeper = db::audit::Keeper::of(&db);
    context.gate.keep_refusals(move |acts| keeper.clone().keep(acts));
    let public = public::Public::of(&context, &values.web_host);
    if values.policy != Policy::Refuse && !public.is_set() {
        tracing::warn!("WEB_HOST is not set: the links that strangers get lead to this machine");
    }
    let app = Arc::new(App {
        pages: pages::Pages::new(&context.instance, &values.assistant),
        figures: figures::Figures::new(&context.metrics),
        forms: form::Forms::new(),
        wake: app::Wake::default(),
        acting: Acting::new(&context.peers),
        context: context.clone(),
        db,
        values,
        public,
    });
    let said = app.clone();
    context.tasks.supervise("onbod.say", move || say_loop::run(said.clone()));
    let admitted = app.clone();
    context.tasks.supervise("onbod.admit", move || admit_loop::run(admitted.clone()));
    Ok(http::router(&app))
}
