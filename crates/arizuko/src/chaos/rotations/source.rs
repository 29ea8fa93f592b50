//! The source that is written: one `.env`, or a projected directory for each process.

use super::{
    mount::Mount,
    units::{SourceKind, Unit},
};
use crate::{chaos::fleet::Fleet, failure::Failure, instance::Instance};
use futures::future::try_join_all;
use proto::Daemon;
use provider_file::{Directory, Dotenv};
use secrets::{Answer, Change, Name, Secret, SecretSource, SecretWriter};
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

/// Where every secret stands.
#[derive(Debug)]
pub enum Source {
    /// One file.
    Dotenv(Dotenv, PathBuf),
    /// One directory for each reader.
    Directories(BTreeMap<Daemon, Mutex<Mount>>),
}

impl Source {
    /// Makes the source with these values in it, and has `fleet` read it.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn prepare(
        from: SourceKind,
        units: &[(Unit, Values)],
        fleet: &mut Fleet,
        instance: &Instance,
    ) -> Result<Self, Failure> {
        let path = instance.dotenv();
        let source = match from {
            SourceKind::Dotenv => Self::Dotenv(Dotenv::new(&path, POLL), path),
            SourceKind::Directory => {
                // Nobody is to read it by mistake.
                fs::remove_file(&path).map_err(|error| Failure::io("remove", &path, &error))?;
                Self::Directories(mounts(units, fleet)?)
            }
        };
        for (unit, values) in units {
            source.write(unit, values).await?;
        }
        Ok(source)
    }

    /// What a reader of this process reads in place of `reader`.
    pub async fn chain(&self, reader: Daemon) -> Vec<Arc<dyn SecretSource>> {
        let source: Arc<dyn SecretSource> = match self {
            Self::Dotenv(_, path) => Arc::new(Dotenv::new(path, POLL)),
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
            Self::Dotenv(file, _) => {
                let set = |(name, value)| Change::Set(name, value);
                let changes: Vec<Change<'_>> =
                    values.iter().map(|(name, value)| set((name, &**value))).collect();
                file.change(&changes).await.map_err(crate::chaos::stage::defect)
            }
            Self::Directories(mounts) => {
                let readers: BTreeSet<Daemon> =
                    unit.places.iter().map(|place| place.reader).collect();
                let each = readers.into_iter().filter_map(|reader| {
                    Some(swap(mounts.get(&reader)?, placed(unit, reader, values)))
                });
                try_join_all(each).await.map(drop).map_err(crate::chaos::stage::defect)
            }
        }
    }

    /// What the file has under `name` now; directories are written by nobody but this.
    ///
    /// # Errors
    /// It cannot be read, or has no such value.
    pub async fn read(&self, name: &Name) -> Result<Arc<Secret>, Failure> {
        let absent = || crate::chaos::stage::defect(format!("the source has no {name}"));
        let Self::Dotenv(file, _) = self else { return Err(absent()) };
        let answers = file.read(std::slice::from_ref(name)).await;
        match answers.map_err(crate::chaos::stage::defect)?.pop() {
            Some(Answer::Found(versions)) => Ok(Arc::new(versions.current)),
            _ => Err(absent()),
        }
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
