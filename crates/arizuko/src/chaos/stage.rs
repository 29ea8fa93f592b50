//! The suite with its folders, chats and senders, ready to begin.

use super::{
    args::{AgentsIn, Size},
    containers::{Engine, Told},
    disk::{Disk, Mounts},
    fleet::{DAEMONS, Fleet},
    load::{Face, Load, Sender},
    platform::{ADAPTER_DAEMONS, ADAPTERS, Platform},
    proof::{Proof, Readers},
    rotations::{self, Prepared},
    watch::{Watched, follow},
};
use crate::{
    cli::Global,
    failure::{Exit, Failure},
    instance::Instance,
    session::Session,
};
use kit::{HttpClient, Peer, Peers};
use proto::{
    Daemon, Folder, Jid,
    routd::{ADD_GROUP, ISSUE_LINK, IssueLink, LinkKind, NewGroup},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// The folders: the first half has its platform chat with the adapter that remembers, the others with the other.
const FOLDERS: [&str; 4] = ["chaos/a", "chaos/b", "chaos/c", "chaos/d"];
/// How long the operator's way in may be away.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that a run has.
pub struct Stage {
    /// The processes.
    pub fleet: Fleet,
    /// The data directory's file system, where it has one of its own.
    pub disk: Option<Disk>,
    /// Whether the daemons' clock can be set.
    pub has_clock: bool,
    /// The platform.
    pub platform: Arc<Platform>,
    /// The senders at work.
    pub load: Load,
    /// Web chats, as they are watched, by address.
    pub watched: BTreeMap<Jid, Watched>,
    /// Webhooks, by address: where to ask what became of a message.
    pub hooks: BTreeMap<Jid, String>,
    /// Chats on the platform.
    pub platform_chats: BTreeSet<Jid>,
    /// A client of the edge.
    pub http: HttpClient,
    instance: Instance,
    senders: Vec<Sender>,
    streams: Vec<(String, Watched)>,
    prepared: Option<Prepared>,
    /// The engine that runs agents, where they are containers.
    engine: Option<Engine>,
    /// They read for as long as they are kept.
    _readers: Readers,
}

impl Stage {
    /// Makes an instance, starts its daemons, adds folders, links and senders.
    ///
    /// # Errors
    /// Something of that does not work; nothing was injected yet.
    pub async fn set(size: &Size, told: &Told) -> Result<Self, Failure> {
        let engine = match size.backend {
            AgentsIn::Docker => Some(Engine::find(told).await?),
            AgentsIn::Process => None,
        };
        let mut fleet = Fleet::new()?;
        if engine.is_some() {
            fleet.contain(told.image()?);
        }
        if let Some(wanted) = &size.rotations {
            rotations::tell(&mut fleet, wanted);
        }
        // Where nothing is injured, everything is as it is on the machine; and an engine sees no mount of this process.
        let injured = size.faults > 0;
        let own = injured && engine.is_none();
        let mounts = if own { size.mounts } else { Mounts::Shared };
        let disk = Disk::make(mounts, fleet.data(), size.messages)?;
        let has_clock = injured && fleet.wind_clock();
        let global = Global { data_dir: Some(fleet.data()), ..Global::default() };
        let instance = Instance::find(&global, fleet.environment())?;
        instance.create(fleet.environment()).await?;
        let prepared = match size.rotations.clone() {
            Some(wanted) => Some(rotations::prepare(wanted, &mut fleet, &instance).await?),
            None => None,
        };
        for daemon in DAEMONS {
            fleet.spawn(daemon)?;
        }
        for daemon in DAEMONS {
            fleet.ready(daemon).await?;
        }
        let http = kit::http_client()?;
        let urls =
            DAEMONS.map(|daemon| (daemon, instance.settings.raw(daemon.url_setting(), "").0));
        let routd = Peers::with_token(http.clone(), urls.into(), "").get(Daemon::Routd);
        let mut readers = Readers::new(&instance)?;
        let proofs = proofs(&mut readers, prepared.as_ref(), &instance, &fleet).await?;
        let platform = Arc::new(Platform::new(routd, proofs, size.prove));
        let mut stage = Self {
            fleet,
            disk,
            has_clock,
            platform,
            load: Load::new(),
            watched: BTreeMap::new(),
            hooks: BTreeMap::new(),
            platform_chats: BTreeSet::new(),
            http,
            instance,
            senders: Vec::new(),
            streams: Vec::new(),
            prepared,
            engine,
            _readers: readers,
        };
        tracing::debug!(seed = size.seed, "the stage is set");
        stage.furnish().await?;
        Ok(stage)
    }

    /// Begins: the platform serves, the chats are watched, the senders wait for their pace.
    pub fn begin(&mut self, tasks: &mut JoinSet<()>, seed: u64) {
        for (url, watched) in self.streams.drain(..) {
            tasks.spawn(follow(self.http.clone(), url, watched));
        }
        self.load.begin(std::mem::take(&mut self.senders), seed);
    }

    /// The instance.
    pub const fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The secrets that are to rotate, once.
    pub fn take_prepared(&mut self) -> Option<Prepared> {
        self.prepared.take()
    }

    /// A daemon, called with the operator's token, which is good for five minutes.
    ///
    /// # Errors
    /// The instance gives no token for a minute.
    pub async fn operator(&self, daemon: Daemon) -> Result<Peer, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Session::begin(&self.instance).await {
                Ok(session) => return Ok(session.peer(daemon)),
                Err(failure) if Instant::now() >= deadline => return Err(failure),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Ends every process, and gives the files back to the machine where they are to be looked at.
    pub async fn end(&mut self, keep: bool) -> Result<(), Failure> {
        self.fleet.end().await;
        if let Some(engine) = &self.engine {
            engine.sweep(&self.fleet.data()).await?;
        }
        let Some(disk) = self.disk.take() else { return Ok(()) };
        let kept = self.fleet.dir().join("kept");
        let ended = disk.end(keep.then_some(kept.as_path()));
        ended.map_err(|error| Failure::io("keep the files in", &kept, &error))
    }

    async fn furnish(&mut self) -> Result<(), Failure> {
        let routd = self.operator(Daemon::Routd).await?;
        for (index, name) in FOLDERS.into_iter().enumerate() {
            let folder: Folder = name.parse().map_err(defect)?;
            let (prefix, _) = if index < FOLDERS.len() / 2 { ADAPTERS[0] } else { ADAPTERS[1] };
            let chat: Jid = format!("{prefix}{index}").parse().map_err(defect)?;
            let jid = Some(chat.clone());
            let group = NewGroup {
                folder: folder.clone(),
                jid,
                harness: None,
                command: Vec::new(),
                model: None,
            };
            routd.call(&ADD_GROUP, &group).await?;
            for _ in 0..2 {
                let face = Face::Platform(self.platform.clone(), chat.clone());
                self.add(chat.clone(), face);
            }
            self.platform_chats.insert(chat);
            self.add_web(&routd, &folder).await?;
            self.add_hook(&routd, &folder).await?;
        }
        Ok(())
    }

    /// A web chat with two people in it.
    async fn add_web(&mut self, routd: &Peer, folder: &Folder) -> Result<(), Failure> {
        let link = IssueLink::unsigned(LinkKind::Chat, folder.clone(), None);
        let link = routd.call(&ISSUE_LINK, &link).await?;
        let url = format!("{}{}", self.fleet.edge(), link.path.trim_end_matches('/'));
        for _ in 0..2 {
            let cookie = self.cookie(&url).await?;
            let face = Face::Web(self.http.clone(), url.clone(), cookie);
            self.add(link.link.chat_jid.clone(), face);
        }
        let watched = Watched::default();
        self.watched.insert(link.link.chat_jid, watched.clone());
        self.streams.push((url, watched));
        Ok(())
    }

    async fn add_hook(&mut self, routd: &Peer, folder: &Folder) -> Result<(), Failure> {
        let source = Some("chaos".to_owned());
        let link = IssueLink::unsigned(LinkKind::Hook, folder.clone(), source);
        let link = routd.call(&ISSUE_LINK, &link).await?;
        let url = format!("{}{}", self.fleet.edge(), link.path);
        self.add(link.link.chat_jid.clone(), Face::Hook(self.http.clone(), url.clone()));
        self.hooks.insert(link.link.chat_jid, url);
        Ok(())
    }

    fn add(&mut self, chat: Jid, face: Face) {
        self.senders.push(Sender { index: self.senders.len(), chat, face });
    }

    /// What a browser is given with a chat's page: its messages' ids are its own by that.
    async fn cookie(&self, url: &str) -> Result<String, Failure> {
        let failed =
            |what: String| Failure::new(Exit::Software, format!("no cookie from {url}: {what}"));
        let answer = self.http.get(format!("{url}/")).timeout(PATIENCE).send().await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        let cookie = answer.headers().get("set-cookie").and_then(|value| value.to_str().ok());
        let cookie = cookie.and_then(|cookie| cookie.split(';').next());
        cookie.map(str::to_owned).ok_or_else(|| failed(answer.status().to_string()))
    }
}

/// What the platform's adapters prove themselves with.
async fn proofs(
    readers: &mut Readers,
    prepared: Option<&Prepared>,
    instance: &Instance,
    fleet: &Fleet,
) -> Result<[Proof; 2], Failure> {
    let [one, other] = ADAPTER_DAEMONS;
    let mut watch = async |adapter| {
        let secrets = match prepared {
            Some(prepared) => readers.read(adapter, prepared.chain(adapter).await),
            None => readers.read_instance(adapter, instance, fleet.environment())?,
        };
        Proof::watch(&secrets, adapter).await
    };
    Ok([watch(one).await?, watch(other).await?])
}

/// A failure that no operator can do anything about.
pub fn defect(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Software, error.to_string())
}
