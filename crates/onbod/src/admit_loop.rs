//! The loop that carries admissions out, and lets those in for whom a gate is open.
//!
//! What is decided is a row; routd is asked under the admission's id, and does it once. So this may end at any moment
//! and begin again.

use crate::{
    app::App,
    fault::Fault,
    reception,
    say_loop::wait,
    store::{admissions, admissions::Entry, links},
};
use proto::{
    Daemon, Timestamp,
    routd::{ADMIT_PERSON, AdmitPerson},
};
use std::{sync::Arc, time::Duration};

/// Admissions of one pass.
const AT_ONCE: u32 = 64;
/// How long the loop sleeps when nothing wakes it: how late a gate opens after midnight.
const TICK: Duration = Duration::from_secs(15);
/// The same while something could not be carried out.
const SOON: Duration = Duration::from_millis(500);
/// How often what is over is cleared away.
const TIDY_MS: i64 = 60 * 60 * 1000;

/// Runs until the daemon stops.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.context.stop.clone();
    let mut tidied = Timestamp(i64::MIN);
    while !stop.is_cancelled() {
        let sleep = match pass(&app, &mut tidied).await {
            Ok(None) => {
                app.context.health.degraded("admissions", None);
                TICK
            }
            Ok(Some(trouble)) => {
                app.context.health.degraded("admissions", Some(trouble));
                SOON
            }
            Err(fault) => {
                tracing::error!(error = kit::chain(&fault), "nobody is let in");
                SOON
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.wake.admit.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// Carries out what is due. What is wrong, if something is.
async fn pass(app: &Arc<App>, tidied: &mut Timestamp) -> Result<Option<String>, Fault> {
    let now = app.now();
    let shared = app.clone();
    app.db.try_write("gates", move |tx| reception::release(tx, &shared.values, now)).await?;
    loop {
        let now = app.now();
        let due = app.db.read(move |conn| admissions::due(conn, now, AT_ONCE)).await?;
        if due.is_empty() {
            break;
        }
        for entry in due {
            carry_out(app, entry).await?;
        }
    }
    if now >= tidied.plus(TIDY_MS) {
        app.db.write("tidy", move |tx| links::tidy(tx, now)).await?;
        *tidied = now;
    }
    app.figures.waiting.set(app.db.read(admissions::waiting).await?.into());
    Ok(app.db.read(admissions::trouble).await?)
}

async fn carry_out(app: &Arc<App>, entry: Entry) -> Result<(), Fault> {
    let shown = &entry.shown;
    let (Some(subject), Some(folder)) = (shown.subject.clone(), shown.folder.clone()) else {
        return Err(Fault::Defect(format!("{} has no person or no folder", shown.id)));
    };
    let chat_jid = shown.chat_jid.clone();
    let person = AdmitPerson { admission: shown.id.clone(), subject, folder, chat_jid };
    let answer = app.context.peers.get(Daemon::Routd).call(&ADMIT_PERSON, &person).await;
    let (now, shared) = (app.now(), app.clone());
    let done = answer.is_ok();
    app.db
        .try_write("admission.settle", move |tx| match answer {
            Ok(_) => {
                shared.wake.all(tx);
                reception::finish(tx, &shared.values, &entry, now)
            }
            // Also where routd says no: an operator may put that right, and the queue shows it.
            Err(error) => {
                let (id, why) = (entry.shown.id.as_str(), kit::chain(&error));
                tracing::warn!(id, trouble = why, "somebody is not let in yet");
                let not_before = now.plus(wait(entry.attempts));
                Ok(admissions::put_off(tx, &entry, &why, not_before)?)
            }
        })
        .await?;
    if done {
        app.figures.admitted.inc();
    }
    Ok(())
}
