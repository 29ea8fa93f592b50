//! Those who show credentials all the time while these rotate: for tokens, and at the TLS listener.

use super::{desk::Desk, edge};
use crate::chaos::proof::Readers;
use crate::{chaos::stage::defect, failure::Failure};
use kit::{Peers, ServiceKey, chain, service_key_bundle};
use proto::{
    Daemon, Nothing,
    authd::{SERVICE_TOKEN, ServiceTokenRequest, Token},
    kit::SECRETS,
};
use secrets::{Attempt, Watched};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

/// Before the next time.
const PAUSE: Duration = Duration::from_millis(150);
/// The daemons that prove themselves to authd.
const MINTING: [Daemon; 6] =
    [Daemon::Routd, Daemon::Runed, Daemon::Timed, Daemon::Onbod, Daemon::Webd, Daemon::Proxyd];

/// The certificates that the edge has had, in order, and how many of them are known to be over.
#[derive(Debug, Default)]
pub struct Shown {
    all: Mutex<Vec<Vec<u8>>>,
    over: AtomicUsize,
}

impl Shown {
    /// One more, which may be shown from now on.
    pub fn issue(&self, der: Vec<u8>) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(der);
    }

    /// The last one is in use: no other may be shown any more.
    pub fn settle(&self) {
        let count = self.all.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.over.store(count.saturating_sub(1), Ordering::SeqCst);
    }

    fn over(&self) -> usize {
        self.over.load(Ordering::SeqCst)
    }

    fn position(&self, der: &[u8]) -> Option<usize> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).iter().position(|one| one == der)
    }

    /// Whether `der` is the last one.
    pub fn is_last(&self, der: &[u8]) -> bool {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.last().is_some_and(|last| last == der)
    }
}

/// Begins to mint tokens as each daemon does, with its service key as its own source has it.
///
/// # Errors
/// A source has none.
pub async fn mint(
    desk: &Arc<Desk>,
    readers: &mut Readers,
    tasks: &mut JoinSet<()>,
) -> Result<(), Failure> {
    for daemon in MINTING {
        let Some(bundle) = service_key_bundle(daemon) else { continue };
        let secrets = readers.read(daemon, desk.source.chain(daemon).await);
        let key = secrets.watch(bundle).await.map_err(defect)?;
        tasks.spawn(minting(desk.clone(), daemon, key));
    }
    Ok(())
}

async fn minting(desk: Arc<Desk>, daemon: Daemon, key: Watched<ServiceKey>) {
    loop {
        match one(&desk, daemon, &key).await {
            Ok(()) => desk.tally().minted += 1,
            Err(why) => desk.failed(format!("a token for {daemon}: {why}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Mints one, and has a daemon that checks it say that it is good.
async fn one(desk: &Desk, daemon: Daemon, key: &Watched<ServiceKey>) -> Result<(), String> {
    let authd = desk.peers.get(Daemon::Authd);
    let (authd, audience) = (&authd, Daemon::Routd);
    let minted = key.present(|key| async move {
        let request = ServiceTokenRequest { daemon, audience: Some(audience) };
        match authd.call_with(&SERVICE_TOKEN, &request, key.secret().expose()).await {
            Ok(token) => Attempt::Done(token),
            // The probes have the address refused often, and whom authd does not know yet is told so.
            Err(error) if matches!(error.status(), Some(401 | 429)) => Attempt::Refused(error),
            Err(error) => Attempt::Failed(error),
        }
    });
    let Token { token, .. } = minted.await.map_err(|error| chain(&error))?;
    let url = desk.instance.settings.raw(audience.url_setting(), "").0;
    let peers = Peers::with_token(desk.http.clone(), [(audience, url)].into(), &token);
    match peers.get(audience).call(&SECRETS, &Nothing {}).await {
        Ok(_) => Ok(()),
        // It may not read that, which only a token that was believed is told.
        Err(error) if error.status() == Some(403) => Ok(()),
        Err(error) => Err(format!("{audience} does not believe it: {}", chain(&error))),
    }
}

/// Makes handshakes with the edge, one after the other.
pub async fn shake_hands(desk: Arc<Desk>, shown: Arc<Shown>) {
    loop {
        let over = shown.over();
        match seen(&desk).await {
            Ok(der) => match shown.position(&der) {
                Some(at) if at < over => {
                    desk.tally().late.add("a certificate that was replaced".to_owned());
                }
                Some(_) => desk.tally().handshakes += 1,
                None => desk.failed("a handshake showed a certificate of nobody's".to_owned()),
            },
            Err(why) => desk.failed(format!("a TLS handshake: {why}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The certificate that a new handshake shows.
///
/// # Errors
/// It failed.
pub async fn seen(desk: &Desk) -> Result<Vec<u8>, String> {
    let address = desk.edge;
    let shaken = tokio::task::spawn_blocking(move || edge::handshake(address)).await;
    shaken.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
