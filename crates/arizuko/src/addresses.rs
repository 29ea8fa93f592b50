//! Where the daemons of an instance are.
//!
//! `arizuko up` takes the ports it gets and writes them down; the command line reads them. What the
//! operator set (`ROUTER_URL` and its like) wins over both that and the default ports. What an `up`
//! that was killed left behind counts for nothing: as long as one lives, it holds a lock.

use crate::{
    daemons,
    failure::{Exit, Failure},
    instance::Instance,
    lock,
};
use kit::{Settings, parse};
use proto::Daemon;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

/// For the lock of an `up`: a command that looks whether there is one holds it for an instant.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a running `up` writes about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The process that has them.
    pub pid: u32,
    /// The edge, for browsers.
    pub edge: String,
    /// The edge, for browsers, by TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge_tls: Option<String>,
    /// Each daemon's own endpoints.
    pub daemons: BTreeMap<Daemon, String>,
}

/// The file in which [`Addresses`] are written. Removed when this is dropped.
#[derive(Debug)]
pub struct Written(PathBuf);

impl Addresses {
    /// Those of the `up` that runs; the default ports where none does.
    ///
    /// # Errors
    /// The file is there and cannot be read, or a setting does not parse.
    pub fn find(instance: &Instance) -> Result<Self, Failure> {
        let mut found = if lock::is_held(&lock_file(instance)) {
            Self::read(instance)?
        } else {
            Self::default()
        };
        for program in daemons::PROGRAMS {
            let daemon = program.daemon;
            let default = || format!("http://127.0.0.1:{}", daemons::port(daemon));
            let known = found.daemons.remove(&daemon).unwrap_or_else(default);
            let url = set_url(&instance.settings, daemon)?.unwrap_or(known);
            found.daemons.insert(daemon, url);
        }
        if found.edge.is_empty() {
            found.edge = format!("http://127.0.0.1:{}", Daemon::Proxyd.default_port());
        }
        Ok(found)
    }

    fn read(instance: &Instance) -> Result<Self, Failure> {
        let path = file(instance);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let line =
                    format!("{} is damaged ({error}); remove it and start again", path.display());
                Failure::new(Exit::Data, line)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::io("read", &path, &error)),
        }
    }

    /// The address that people outside open: the public host, or else the edge's own.
    pub fn public(&self, settings: &Settings) -> String {
        let host = settings.raw("WEB_HOST", "").0;
        if host.is_empty() { self.edge.clone() } else { kit::public_url(&host) }
    }

    /// Writes them down, whole or not at all.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write(&self, instance: &Instance) -> Result<Written, Failure> {
        let path = file(instance);
        let draft = path.with_extension("json.tmp");
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
        let written = fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, &path));
        written.map_err(|error| Failure::io("write", &path, &error))?;
        Ok(Written(path))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // It may be gone with its directory.
        let _gone = fs::remove_file(&self.0).is_err();
    }
}

fn file(instance: &Instance) -> PathBuf {
    instance.run_dir().join("addresses.json")
}

fn lock_file(instance: &Instance) -> PathBuf {
    instance.run_dir().join("up.lock")
}

/// Makes sure that no other `up` has this instance, as long as what this gives is kept.
///
/// # Errors
/// Another one has it, or the directory cannot be written.
pub async fn lock(instance: &Instance) -> Result<File, Failure> {
    let path = lock_file(instance);
    let failed = |error: io::Error| Failure::io("lock", &path, &error);
    let Some(mut file) = lock::take(&path, PATIENCE).await.map_err(failed)? else {
        let by = fs::read_to_string(&path).unwrap_or_default();
        let line = format!(
            "the instance {} runs already, as process {by}; stop that one, or name another with --instance",
            instance.name
        );
        return Err(Failure::new(Exit::TryAgain, line));
    };
    // For the message of whoever comes second; nothing else relies on it.
    let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    written.map(|()| file).map_err(failed)
}

/// Where the operator says that `daemon` is.
///
/// # Errors
/// What was set is no address.
pub fn set_url(settings: &Settings, daemon: Daemon) -> Result<Option<String>, Failure> {
    let (text, place) = settings.raw(daemon.url_setting(), "");
    if text.is_empty() {
        return Ok(None);
    }
    parse::url(&text).map(Some).ok_or_else(|| {
        let (name, place) = (daemon.url_setting(), place.name());
        let line = format!(
            "the setting {name} is `{text}`, from {place}; expected an address such as http://127.0.0.1:8080"
        );
        Failure::new(Exit::Config, line)
    })
}
