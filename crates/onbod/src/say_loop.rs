//! The loop that has routd say what is to be said to newcomers.
//!
//! Each line goes under the key of its own row, so that routd says it once however often it is asked. The token of a
//! pairing link is made here, for each try: its hash is on the disk before routd is asked, so that whichever try routd
//! took, the link that it said is good. The others were shown to nobody.

use crate::{
    admission::LINK_MS,
    app::App,
    fault::Fault,
    store::{
        links, notices,
        notices::{Kind, Pending},
    },
    token::Token,
};
use kit::{CallOptions, PeerError};
use proto::{
    Daemon, Timestamp,
    onbod::AdmissionState as State,
    routd::{NOTICE, Notice, Noticed},
};
use std::{sync::Arc, time::Duration};

/// Lines of one pass.
const AT_ONCE: u32 = 64;
/// How long the loop sleeps when nothing wakes it.
const TICK: Duration = Duration::from_secs(5);
/// The waits between tries, in milliseconds, from the first to the longest.
const WAIT_MIN: i64 = 250;
const WAIT_MAX: i64 = 60_000;

/// Runs until the daemon stops.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.context.stop.clone();
    while !stop.is_cancelled() {
        let more = match pass(&app).await {
            Ok(trouble) => {
                let more = trouble.is_none();
                app.context.health.degraded("notices", trouble);
                more
            }
            Err(fault) => {
                tracing::error!(error = kit::chain(&fault), "nothing is said to newcomers");
                false
            }
        };
        let wait = if more { TICK } else { Duration::from_millis(WAIT_MIN.unsigned_abs()) };
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.wake.say.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Says what is due. What is wrong, if something is.
async fn pass(app: &Arc<App>) -> Result<Option<String>, Fault> {
    let mut trouble = None;
    loop {
        let now = app.now();
        let due = app.db.read(move |conn| notices::due(conn, now, AT_ONCE)).await?;
        if due.is_empty() {
            break;
        }
        for notice in due {
            trouble = say(app, notice).await?.or(trouble);
        }
    }
    let pending = app.db.read(notices::pending).await?;
    app.figures.unsaid.set(pending.into());
    // What is put off is still to come.
    Ok(trouble.or_else(|| (pending > 0).then(|| format!("{pending} lines wait for routd"))))
}

async fn say(app: &Arc<App>, notice: Pending) -> Result<Option<String>, Fault> {
    let id = notice.id.clone();
    let token = match notice.kind {
        Kind::Line => None,
        // Somebody was faster than the greeting, or said no.
        Kind::Greeting if notice.state != State::Greeted => {
            let drop = move |tx: &db::Tx<'_>| notices::drop(tx, &id, "not wanted any more");
            app.db.write("notice.drop", drop).await?;
            return Ok(None);
        }
        Kind::Greeting => Some(link(app, &notice).await?),
    };
    let answer = hand_over(app, &notice, token.as_ref()).await;
    let now = app.now();
    let settled = app.db.write("notice.settle", move |tx| {
        match answer {
            Ok(said) => {
                // routd had said it before, with the link of an earlier try: this one reached nobody.
                if let Some(token) = token.filter(|_| said.duplicate) {
                    links::take_back(tx, &token.hash())?;
                }
                notices::said(tx, &id)?;
                Ok(None)
            }
            Err(error) => {
                let why = kit::chain(&error);
                if is_final(&error) {
                    notices::drop(tx, &id, &why)?;
                } else {
                    notices::put_off(tx, &id, &why, now.plus(wait(notice.attempts)))?;
                }
                Ok(Some(why))
            }
        }
    });
    Ok(settled.await?)
}

/// A new pairing link, whose hash is on the disk.
async fn link(app: &Arc<App>, notice: &Pending) -> Result<Token, Fault> {
    let token = Token::random();
    let (hash, admission) = (token.hash(), notice.admission.clone());
    let ends_at: Timestamp = app.now().plus(LINK_MS);
    app.db.write("link.add", move |tx| links::add(tx, &hash, &admission, ends_at)).await?;
    Ok(token)
}

async fn hand_over(
    app: &Arc<App>,
    notice: &Pending,
    token: Option<&Token>,
) -> Result<Noticed, PeerError> {
    let chat_jid = notice.chat_jid.clone();
    let line = match token {
        None => Notice { chat_jid, content: notice.text.clone(), kept: None },
        Some(token) => {
            let base = app.public.base().await;
            let with = |token: &str| format!("{}\n{base}/pair/{token}", notice.text);
            Notice { chat_jid, content: with(token.expose()), kept: Some(with("…")) }
        }
    };
    let mut options = CallOptions::default();
    options.idempotency_key = Some(notice.id.clone());
    app.context.peers.get(Daemon::Routd).send(&NOTICE, &line, options).await
}

/// Whether asking again would be answered alike.
fn is_final(error: &PeerError) -> bool {
    matches!(error.status(), Some(400 | 404..=428 | 430..=499))
}

/// How long to wait after this many tries, in milliseconds.
pub(crate) fn wait(attempts: u32) -> i64 {
    WAIT_MIN.saturating_mul(1 << attempts.min(20)).min(WAIT_MAX)
}
