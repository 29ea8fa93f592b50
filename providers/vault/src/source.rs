//! The source: one look for all who ask, and the hints.

use crate::{
    address::Address,
    answers::{self, Metadata, Phrase},
    entry::{Entry, Mark},
    session::{Session, identity},
    trouble::Trouble,
};
use async_trait::async_trait;
use rustify::{
    endpoint::Endpoint,
    enums::{RequestMethod, RequestType, ResponseType},
};
use secrets::{
    Answer, Name, SecretSource, SecretWriter, SourceError,
    remote::{AddressError, Looks, counts},
};
use serde_json::{Map, Value};
use std::{fmt, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use vaultrs::api::{
    kv1::requests::GetSecretRequest,
    kv2::requests::{ReadSecretMetadataRequest, ReadSecretRequest},
};

/// How often the file of a token, and whether a token is to be renewed, are looked at.
const TICK: Duration = Duration::from_secs(1);

/// An entry of a KV engine of Vault or OpenBao.
pub struct Vault {
    pub(crate) address: Address,
    overlap: Duration,
    pub(crate) looks: Looks<State, Result<Arc<Entry>, Trouble>>,
}

/// What one look leaves for the next.
pub(crate) struct State {
    pub(crate) session: Session,
    pub(crate) known: Option<Known>,
    /// Counts what engines without versions do not.
    differences: u64,
}

pub(crate) struct Known {
    mark: Option<Mark>,
    entry: Arc<Entry>,
    /// When the entry was new here.
    at: Instant,
    /// Whether the version before is still held.
    has_previous: bool,
}

impl Vault {
    /// A source for the entry that `url` names (see [`Address`]). What a version replaced is told for
    /// `overlap` and not held longer. Nothing is asked before the first read.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str, overlap: Duration) -> Result<Self, AddressError> {
        let address = Address::parse(url)?;
        let state = State { session: Session::new(address.clone()), known: None, differences: 0 };
        Ok(Self { address, overlap, looks: Looks::new(state) })
    }

    async fn look(&self, state: &mut State) -> Result<Arc<Entry>, Trouble> {
        if !self.address.is_versioned {
            return self.look_unversioned(state).await;
        }
        let Some((metadata, now)) = self.metadata(&mut state.session).await? else {
            state.known = None;
            return Ok(Arc::default());
        };
        let number = metadata.current_version;
        let Some(current) = metadata.version(number) else {
            // There is metadata and no version yet, or none any more.
            state.known = None;
            return Ok(Arc::default());
        };
        if current.destroyed {
            return Err(Trouble::Destroyed(number));
        }
        if current.is_deleted(now) {
            return Err(Trouble::Deleted(number));
        }
        let before = number.checked_sub(1).and_then(|before| metadata.version(before));
        let before = before.filter(|before| !before.destroyed && !before.is_deleted(now));
        let mark = Mark { number, current: current.clone(), before: before.cloned() };
        if let Some(known) = &mut state.known
            && known.mark.as_ref() == Some(&mark)
        {
            if !known.has_previous || known.at.elapsed() <= self.overlap {
                return Ok(known.entry.clone());
            }
            // Its overlap has ended: it must not be in memory any longer.
            known.has_previous = false;
            if let Some(entry) = Arc::get_mut(&mut known.entry) {
                entry.forget_previous();
                return Ok(known.entry.clone());
            }
        }
        let values = self.version(&mut state.session, number).await?;
        let values = answers::values(values.ok_or(Trouble::Deleted(number))?);
        let still_counts = counts(mark.current.created(), now, self.overlap);
        let is_over = state.known.as_ref().is_some_and(|k| k.mark.as_ref() == Some(&mark));
        let previous = match &mark.before {
            Some(_) if still_counts && !is_over => {
                self.version(&mut state.session, number - 1).await?.map(answers::values)
            }
            _ => None,
        };
        let has_previous = previous.is_some();
        let entry = Arc::new(Entry::versioned(&mark, values, previous.unwrap_or_default()));
        let at = Instant::now();
        state.known = Some(Known { mark: Some(mark), entry: entry.clone(), at, has_previous });
        Ok(entry)
    }

    /// The versions of the entry, and the server's time; `None` where there is no entry.
    pub(crate) async fn metadata(
        &self,
        session: &mut Session,
    ) -> Result<Option<(Metadata, Option<std::time::SystemTime>)>, Trouble> {
        let (mount, path) = (&self.address.mount, &self.address.path);
        let request = || ReadSecretMetadataRequest { mount: mount.clone(), path: path.clone() };
        let reply = session.read(request).await?;
        match reply.status.as_u16() {
            200 => Ok(Some((Metadata::parse(&reply.body)?, reply.date))),
            404 => {
                self.not_there(&reply.body)?;
                self.check_engine(session).await.map(|()| None)
            }
            403 => Err(Trouble::Forbidden(format!("read {mount}/metadata/{path}"))),
            status => Err(Trouble::Status(status)),
        }
    }

    /// Whether the engine is of version 2: one of version 1 has no entry `metadata/PATH` either, and
    /// would take what is written to `data/PATH` for an entry of that name.
    async fn check_engine(&self, session: &mut Session) -> Result<(), Trouble> {
        let mount = &self.address.mount;
        let reply = session.read(|| Mount(mount.clone())).await?;
        // Where it may not be asked, the entry is just not there.
        let is_old = reply.status.is_success()
            && answers::engine_version(&reply.body).as_deref() != Some("2");
        if is_old { Err(Trouble::OtherVersion(mount.clone())) } else { Ok(()) }
    }

    /// The keys of one version; `None` where it has been deleted meanwhile.
    pub(crate) async fn version(
        &self,
        session: &mut Session,
        number: u64,
    ) -> Result<Option<Map<String, Value>>, Trouble> {
        let (mount, path) = (&self.address.mount, &self.address.path);
        let request = || ReadSecretRequest {
            mount: mount.clone(),
            path: path.clone(),
            version: Some(number),
        };
        let reply = session.read(request).await?;
        match reply.status.as_u16() {
            200 => answers::versioned(&reply.body),
            404 => Ok(None),
            403 => Err(Trouble::Forbidden(format!("read {mount}/data/{path}"))),
            status => Err(Trouble::Status(status)),
        }
    }

    async fn look_unversioned(&self, state: &mut State) -> Result<Arc<Entry>, Trouble> {
        let (mount, path) = (&self.address.mount, &self.address.path);
        let request = || GetSecretRequest { mount: mount.clone(), path: path.clone() };
        let reply = state.session.read(request).await?;
        let entry = match reply.status.as_u16() {
            200 => {
                let values = answers::values(answers::plain(&reply.body)?);
                let before = state.known.as_ref().map(|known| &*known.entry);
                Arc::new(Entry::unversioned(values, before, &mut state.differences))
            }
            404 => self.not_there(&reply.body).map(|()| Arc::default())?,
            403 => return Err(Trouble::Forbidden(format!("read {mount}/{path}"))),
            status => return Err(Trouble::Status(status)),
        };
        let (at, has_previous) = (Instant::now(), false);
        state.known = Some(Known { mark: None, entry: entry.clone(), at, has_previous });
        Ok(entry)
    }

    /// Whether a 404 says that there is no entry, or that there is no place for one.
    fn not_there(&self, body: &[u8]) -> Result<(), Trouble> {
        match answers::phrase(body) {
            Phrase::NoHandler => Err(Trouble::NoMount(self.address.mount.clone())),
            Phrase::OtherVersion => Err(Trouble::OtherVersion(self.address.mount.clone())),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl SecretSource for Vault {
    fn kind(&self) -> &'static str {
        "vault"
    }

    fn place(&self) -> String {
        self.address.to_string()
    }

    fn is_remote(&self) -> bool {
        true
    }

    async fn read(&self, names: &[Name]) -> Result<Vec<Answer>, SourceError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut look = self.looks.enter().await;
        let outcome = match look.of_others() {
            Some(outcome) => outcome,
            None => self.look(&mut look).await,
        };
        let entry = look.end(outcome);
        let entry = entry.map_err(|trouble| trouble.at(self.place()))?;
        Ok(names.iter().map(|name| entry.answer(name)).collect())
    }

    /// Keeps the token alive meanwhile, and hints where the file that somebody writes it to changed.
    async fn changed(&self) {
        loop {
            sleep(TICK).await;
            let (file, due) = {
                let state = self.looks.enter().await;
                (state.session.token_file(), state.session.due())
            };
            if let Some((path, Some(known))) = file
                && identity(path).await.is_some_and(|now| now != known)
            {
                return;
            }
            if due.is_some_and(|due| due <= Instant::now()) {
                let mut state = self.looks.enter().await;
                // The next read tells what is wrong; a failure has put off the next attempt, or
                // the token has ended, and then a read makes the next attempt.
                if state.session.keep_alive().await.is_err() {
                    drop(state);
                    return std::future::pending().await;
                }
            }
        }
    }

    fn writer(&self) -> Option<&dyn SecretWriter> {
        Some(self)
    }
}

/// What is mounted there: every token may ask that of a mount in which it may do anything.
struct Mount(String);

impl Endpoint for Mount {
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        format!("sys/internal/ui/mounts/{}", self.0)
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::GET
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.address)
    }
}
