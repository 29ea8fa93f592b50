//! The source that is written: one `.env`, one entry of a server, or a projected directory for each process.

use super::{
    mount::Mount,
    units::{SourceKind, Unit},
};
use crate::{
    chaos::{fleet::Fleet, stage::defect},
    failure::{Exit, Failure},
    instance::Instance,
    sources::Remote,
};
use futures::future::try_join_all;
use proto::Daemon;
use provider_file::{Directory, Dotenv};
use secrets::{Answer, Change, Name, Secret, SecretSource, WriteError};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::sync::Mutex;

/// How much later one directory may be changed than another, in milliseconds. The kubelet takes its time with each
/// pod, in no order.
const LAG: u64 = 250;
/// How often the readers of this process look, beside being told.
const POLL: Duration = Duration::from_secs(1);

/// The values of one unit.
pub type Values = Vec<(Name, Arc<Secret>)>;

/// Where the secrets of a run are to stand.
#[derive(Clone, Debug)]
pub enum From {
    /// In the `.env` of the instance.
    Dotenv,
    /// In a projected directory for each process.
    Directory,
    /// In an entry of this server.
    Server(Remote),
}

impl From {
    /// Reads `dotenv`, `directory`, or the URL of a source that is a server.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "dotenv" => Ok(Self::Dotenv),
            "directory" => Ok(Self::Directory),
            url => Remote::parse(url).map(Self::Server).ok_or_else(|| {
                "expected dotenv, directory, or the URL of a server as in SECRETS_SOURCES".into()
            }),
        }
    }

    /// Which kind of place that is.
    pub const fn kind(&self) -> SourceKind {
        match self {
            Self::Dotenv => SourceKind::Dotenv,
            Self::Directory => SourceKind::Directory,
            Self::Server(_) => SourceKind::Server,
        }
    }
}

/// Where every secret stands.
#[derive(Debug)]
pub enum Source {
    /// One file.
    Dotenv(Dotenv, PathBuf),
    /// One entry: the client that readers of this process have too.
    Server(Arc<dyn SecretSource>),
    /// One directory for each reader.
    Directories(BTreeMap<Daemon, Mutex<Mount>>),
}

impl Source {
    /// Makes the source with these values in it, and has `fleet` read it.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn prepare(
        from: &From,
        units: &[(Unit, Values)],
        fleet: &mut Fleet,
        instance: &Instance,
    ) -> Result<Self, Failure> {
        let path = instance.dotenv();
        let source = match from {
            From::Dotenv => Self::Dotenv(Dotenv::new(&path, POLL), path),
            From::Server(remote) => {
                Self::Server(instance.remotes.get(remote, super::SERVER_OVERLAP)?)
            }
            From::Directory => {
                // Nobody is to read it by mistake.
                fs::remove_file(&path).map_err(|error| Failure::io("remove", &path, &error))?;
                Self::Directories(mounts(units, fleet)?)
            }
        };
        if let Self::Server(server) = &source {
            // All at once: an entry that is there already must be of a run like this.
            let all = units.iter().flat_map(|(_, values)| values);
            change(&**server, all).await?;
            return Ok(source);
        }
        for (unit, values) in units {
            source.write(unit, values).await?;
        }
        Ok(source)
    }

    /// What a reader of this process reads in place of `reader`.
    pub async fn chain(&self, reader: Daemon) -> Vec<Arc<dyn SecretSource>> {
        let source: Arc<dyn SecretSource> = match self {
            Self::Dotenv(_, path) => Arc::new(Dotenv::new(path, POLL)),
            Self::Server(server) => server.clone(),
            Self::Directories(mounts) => match mounts.get(&reader) {
                Some(mount) => Arc::new(Directory::new(mount.lock().await.dir(), POLL)),
                None => return Vec::new(),
            },
        };
        vec![source]
    }

    /// Writes the values of `unit` as somebody from outside does: the file with one rename, each directory with one
    /// swap, but these at different moments.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn write(&self, unit: &Unit, values: &Values) -> Result<(), Failure> {
        match self {
            Self::Dotenv(file, _) => change(file, values).await,
            Self::Server(server) => change(&**server, values).await,
            Self::Directories(mounts) => {
                let readers: BTreeSet<Daemon> =
                    unit.places.iter().map(|place| place.reader).collect();
                let each = readers.into_iter().filter_map(|reader| {
                    Some(swap(mounts.get(&reader)?, placed(unit, reader, values)))
                });
                try_join_all(each).await.map(drop).map_err(defect)
            }
        }
    }

    /// What the file or the entry has under `name` now; directories are written by nobody but this.
    ///
    /// # Errors
    /// It cannot be read, or has no such value.
    pub async fn read(&self, name: &Name) -> Result<Arc<Secret>, Failure> {
        let absent = || defect(format!("the source has no {name}"));
        let source: &dyn SecretSource = match self {
            Self::Dotenv(file, _) => file,
            Self::Server(server) => &**server,
            Self::Directories(_) => return Err(absent()),
        };
        let answers = source.read(std::slice::from_ref(name)).await;
        match answers.map_err(defect)?.pop() {
            Some(Answer::Found(versions)) => Ok(Arc::new(versions.current)),
            _ => Err(absent()),
        }
    }
}

async fn change(
    source: &dyn SecretSource,
    values: impl IntoIterator<Item = &(Name, Arc<Secret>)>,
) -> Result<(), Failure> {
    let changes: Vec<Change<'_>> =
        values.into_iter().map(|(name, value)| Change::Set(name, value)).collect();
    let failed = |error: WriteError| Failure::new(Exit::CannotCreate, kit::chain(&error));
    match source.writer() {
        Some(writer) => writer.change(&changes).await.map_err(failed),
        None => Err(defect(format!("{} cannot be written", source.place()))),
    }
}

async fn swap(mount: &Mutex<Mount>, values: Values) -> io::Result<()> {
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..=LAG))).await;
    mount.lock().await.set(&values)
}

/// The values as `reader` has them.
fn placed(unit: &Unit, reader: Daemon, values: &Values) -> Values {
    let its = unit.places.iter().filter(|place| place.reader == reader);
    let value = |secret: &Name| values.iter().find(|(name, _)| name == secret);
    its.filter_map(|place| Some((place.name.clone(), value(&place.secret)?.1.clone()))).collect()
}

fn mounts(
    units: &[(Unit, Values)],
    fleet: &mut Fleet,
) -> Result<BTreeMap<Daemon, Mutex<Mount>>, Failure> {
    let places = units.iter().flat_map(|(unit, _)| &unit.places);
    let readers: BTreeSet<Daemon> = places.map(|place| place.reader).collect();
    let mut mounts = BTreeMap::new();
    for reader in readers {
        let dir = fleet.dir().join(format!("secrets-{reader}"));
        let mount = Mount::new(dir.clone());
        let mount = mount.map_err(|error| Failure::io("create", &dir, &error))?;
        fleet.set_for(reader, "SECRETS_SOURCES", format!("file://{}", dir.display()));
        mounts.insert(reader, Mutex::new(mount));
    }
    Ok(mounts)
}
