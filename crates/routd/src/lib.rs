//! routd: the conversation plane. Messages come in, turns answer them, and what is said goes out.
//!
//! # The design
//!
//! Everything that matters is a row of `routd.db`; what is in memory can be lost at any instant.
//!
//! 1. [`ingest`] commits a message with its routing decision and its turn in one transaction, and answers then.
//! 2. The [`turn_loop`] claims what may start; a [`drive`] per attempt has runed run it, and follows the run.
//! 3. The agent fetches its [`input`], and posts progress and its one result, on a socket of its attempt alone
//!    ([`endpoints`]), or, in a cluster, on the listener of turns, where its pod says who it is ([`pods`]); its tools ([`mcp`]) are there too. Nothing that it holds is worth stealing.
//! 4. What is said is one transaction ([`say`]): the message, its outbox row, its place in the feed.
//! 5. What it asks of models goes through the [`gateway`], which adds the key and counts the cost.
//! 6. The [`outbox_loop`] hands messages to adapters; webd reads the feed.
//! 7. A call of a tool that a row holds waits for a person ([`approving`]); the [`approval_loop`] makes what was approved.
//!
//! Decisions are pure: [`approval`], [`route`], [`turn`], [`prompt`], [`adapters`]. All SQL is in [`store`].
//!
//! # What always holds
//!
//! - A message is acknowledged after it is committed, and its id with its chat is taken once.
//! - A turn ends once, and each end is one that the person can see. An attempt that did something visible or lasting
//!   is never repeated.
//! - A call on a socket counts for that socket's attempt alone, and only while it is the one in progress.
//! - What an agent may touch is decided by [`rights`], on every call, from rows; an error is never a permission.
//! - A message whose fate is unknown is shown as that, and never silently sent again.
//! - A change by a person, an agent or an adapter has its audit row in its own transaction.

mod adapters;
mod admit;
mod app;
mod approval;
mod approval_loop;
mod approving;
mod attachment;
mod attempt;
mod binding;
mod delegation;
mod desk;
mod drive;
mod endpoints;
mod fault;
mod figures;
mod file_loop;
mod files;
mod gateway;
mod hand_on;
mod http;
mod hub;
mod ids;
mod ingest;
mod input;
mod keyring;
mod knock_loop;
mod mcp;
mod origin;
mod outbox_loop;
mod outside;
mod pods;
mod progress;
mod prompt;
mod record;
mod rights;
mod route;
mod say;
mod schedule;
mod scheduling;
mod scrub;
mod search;
mod secret_loop;
mod secrets;
mod settings;
mod signing;
mod steer;
mod store;
mod tenant;
mod traced;
mod turn;
mod turn_loop;
mod typing_loop;
mod wake;
mod word_loop;

pub use self::secrets::BUNDLES;
pub use settings::SETTINGS;
pub use store::{SCHEMA, wraps};

use app::App;
use axum::Router;
use kit::{Context, StartError};
use std::{collections::HashSet, sync::Arc};

/// Starts routd: answers with what it serves.
///
/// The sockets of turns in progress are bound before anything else happens with them, so that an agent that outlived
/// the routd before this one finds its turn again.
pub async fn start(context: Context) -> Result<Router, StartError> {
    let settings = settings::Values::read(&context.settings)?;
    let endpoints = endpoints::Endpoints::prepare(&context.data_dir)?;
    // Before the first secret is watched, so that its loading is recorded.
    let events = context.secrets.events();
    let channel = secrets::ChannelCheck::watch(&context.secrets).await?;
    // Together, because the keeper leaves a pause between two looks at a source.
    let models = async { Ok(gateway::key::ModelKeys::watch(&context.secrets).await?) };
    let (key, models) = futures::future::try_join(keyring::watch(&context), models).await?;
    let db = store::open(&context.database()).await?;
    context.keep(store::kept(&db));
    let keeper = db::audit::Keeper::of(&db);
    context.gate.keep_refusals(move |acts| keeper.clone().keep(acts));
    let overlap = context.settings.get(&kit::SECRETS_OVERLAP)?;
    let (keyring, link_key) = keyring::open(&db, key, context.clock.clone(), overlap).await?;
    let (pods, listening) = pods::Pods::open(&settings, &keyring).await?.unzip();
    let (first_folder, now) = (settings.default_folder.clone(), context.clock.now());
    let begun = db.try_write("start", move |tx| {
        store::epoch::begin(tx, now)?;
        let doubtful = store::outbox::doubt_unfinished(tx, now)?;
        if doubtful > 0 {
            tracing::warn!(doubtful, "messages may or may not have been sent");
        }
        store::usage::lose_open(tx)?;
        let epoch = store::count_up(tx, "epoch")?;
        if let Some(folder) = first_folder.filter(|_| epoch == 1) {
            store::groups::add(tx, &folder, store::groups::Wanted::default(), now)?;
            record::record(tx, now, "service:routd", "group.add", folder.as_str(), "the first")?;
        }
        Ok::<_, fault::Fault>((epoch, store::turns::with_endpoint(tx)?))
    });
    let (epoch, in_progress) = begun.await.map_err(|fault| {
        StartError::Other("routd cannot write its database".into(), Some(fault.into()))
    })?;
    let figures = figures::Figures::new(&context.metrics);
    let app = Arc::new(App {
        context: context.clone(),
        db: db.clone(),
        wake: wake::Wake::default(),
        figures,
        channel: channel.clone(),
        link_key,
        keyring: keyring.clone(),
        endpoints,
        pods,
        gateway: gateway::Gateway::new(&settings, models)?,
        settings,
        outside: outside::Outside::new()?,
        files: files::Files::prepare(&context.data_dir)?,
        desk: desk::Desk::new(epoch),
        epoch,
    });
    let kept: HashSet<i64> = in_progress.iter().filter_map(|turn| turn.endpoint).collect();
    app.endpoints.sweep(&kept);
    for turn in &in_progress {
        // What its agent asks for before its driver is there again belongs to no trace.
        app.endpoints.ensure(&app, turn, &kit::Span::default())?;
    }
    context.gate.accept_secret("CHANNEL_SECRET", Arc::new(channel));
    context.gate.ask_rights(Arc::new(rights::OfPeople::of(&db)));
    context.gate.on_forget(Arc::new(keyring::Distrust::of(&keyring)));
    if let Some(listening) = listening {
        context.tasks.spawn("turn listener", pods::serve(app.clone(), listening));
    }
    begin_loops(&app, events);
    Ok(http::router(&app))
}

fn begin_loops(app: &Arc<App>, events: tokio::sync::broadcast::Receiver<::secrets::Event>) {
    let tasks = &app.context.tasks;
    let turns = app.clone();
    tasks.supervise("turns", move || turn_loop::run(turns.clone()));
    let outbox = app.clone();
    tasks.supervise("outbox", move || outbox_loop::run(outbox.clone()));
    let files = app.clone();
    tasks.supervise("files", move || file_loop::run(files.clone()));
    let knocks = app.clone();
    tasks.supervise("newcomers", move || knock_loop::run(knocks.clone()));
    let approved = app.clone();
    tasks.supervise("approvals", move || approval_loop::run(approved.clone()));
    let words = app.clone();
    tasks.supervise("words", move || word_loop::run(words.clone()));
    let (context, ring) = (app.context.clone(), app.keyring.clone());
    tasks.supervise("database key", move || keyring::follow(context.clone(), ring.clone()));
    tasks.spawn("secret audit", secret_loop::run(app.clone(), events));
}
