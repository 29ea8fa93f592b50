//! One instance: where its data is, what was set for it, and how it is made.

use crate::{
    cli::Global,
    failure::{Exit, Failure},
    lock, sources,
};
use kit::{Setting, Settings, parse};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// How long another process may take to make the instance.
const PATIENCE: Duration = Duration::from_secs(5);

/// The name of the settings file in the data directory.
pub const SETTINGS_FILE: &str = "settings.env";
/// What is in the data directory while a backup is brought back into it.
pub const RESTORING: &str = "restore.partial";
/// The name of the file that holds a bare host's secrets.
pub const DOTENV: &str = ".env";

/// What a data directory may hold before it is an instance's: what one that was cut short left
/// there, what an operator prepared, and what every new file system has.
const OURS: [&str; 5] = ["store", "homes", "run", DOTENV, "lost+found"];
/// The instance's name.
pub static INSTANCE_NAME: Setting<String> = Setting {
    name: "INSTANCE_NAME",
    default: "demo",
    about: "The instance's name. It is part of every token, so two instances never believe each other.",
    expects: "1 to 32 lowercase letters, digits and dashes",
    parse: |text| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let good =
            (1..=32).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-');
        good.then(|| text.to_owned())
    },
};

/// The instance's data directory.
pub static DATA_DIR: Setting<Option<PathBuf>> = Setting {
    name: "DATA_DIR",
    default: "",
    about: "The data directory. Unset: /srv/data/arizuko_<INSTANCE_NAME>, or the same below the user's data directory where that cannot be made.",
    expects: "an absolute path",
    parse: |text| match text {
        "" => Some(None),
        text => parse::path(text).filter(|path| path.is_absolute()).map(Some),
    },
};

/// The process's environment, read once by `main`.
pub type Environment = BTreeMap<String, String>;

/// An instance that may not be there yet.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its data directory.
    pub dir: PathBuf,
    /// What was set for it.
    pub settings: Settings,
    /// The servers that hold its secrets, each with one client for the process.
    pub remotes: sources::Remotes,
}

/// What making an instance came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Whether the data directory is new.
    pub directory: bool,
    /// The secrets that were generated.
    pub secrets: Vec<String>,
}

impl Instance {
    /// The instance that the flags and the environment name.
    ///
    /// # Errors
    /// A setting does not parse, or the settings file cannot be read.
    pub fn find(global: &Global, environment: &Environment) -> Result<Self, Failure> {
        let mut environment = environment.clone();
        if let Some(name) = &global.instance {
            environment.insert(INSTANCE_NAME.name.into(), name.clone());
        }
        if let Some(dir) = &global.data_dir {
            let dir = std::path::absolute(dir).map_err(|e| Failure::io("use", dir, &e))?;
            environment.insert(DATA_DIR.name.into(), dir.display().to_string());
        }
        let before = Settings::new(environment.clone(), []);
        let name = before.get(&INSTANCE_NAME)?;
        let dir = match before.get(&DATA_DIR)? {
            Some(dir) => dir,
            None => default_dir(&name, &environment),
        };
        let file = read_settings(&dir.join(SETTINGS_FILE))?;
        let remotes = sources::Remotes::new(&environment);
        let settings = Settings::new(environment, file);
        // The settings file may carry the name that `create` gave the instance.
        let name = settings.get(&INSTANCE_NAME)?;
        Ok(Self { name, dir, settings, remotes })
    }

    /// The same, with the settings of another file.
    ///
    /// # Errors
    /// The file cannot be read, or a setting does not parse.
    pub fn with_settings(self, environment: &Environment, file: &Path) -> Result<Self, Failure> {
        let settings = Settings::new(environment.clone(), read_settings(file)?);
        Ok(Self { settings, ..self })
    }

    /// Whether the instance is whole: no backup is being brought back into it, or was when the power failed.
    ///
    /// # Errors
    /// One is, or was.
    pub fn must_be_whole(&self) -> Result<(), Failure> {
        let partial = self.dir.join(RESTORING);
        if !partial.exists() {
            return Ok(());
        }
        let line = format!(
            "a restore into {} is in progress or was cut short ({} is there); run `arizuko restore` again",
            self.dir.display(),
            partial.display()
        );
        Err(Failure::new(Exit::Data, line))
    }

    /// The file with a bare host's secrets.
    pub fn dotenv(&self) -> PathBuf {
        self.dir.join(DOTENV)
    }

    /// Where sockets are, and what a running instance writes about itself.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Makes what is missing. What is there is left as it is.
    ///
    /// # Errors
    /// Which of permission, a full or read-only disk and a wrong path it is, is in the line.
    pub async fn create(&self, environment: &Environment) -> Result<Made, Failure> {
        let directory = !self.dir.exists();
        self.must_be_whole()?;
        for dir in
            [self.dir.clone(), self.dir.join("store"), self.dir.join("homes"), self.run_dir()]
        {
            make_dir(&dir)?;
        }
        let _one_at_a_time = self.lock().await?;
        let settings = self.dir.join(SETTINGS_FILE);
        if !settings.exists() {
            let text = format!(
                "# Settings of this instance: NAME=value, one a line. The environment wins over them.\n\
                 # `arizuko settings` lists all of them. Secrets do not belong here.\n\
                 INSTANCE_NAME={}\n",
                self.name
            );
            write_new(&settings, text.as_bytes())?;
        }
        let made = sources::provision(self, environment, false).await?.made;
        let secrets = made.iter().map(ToString::to_string).collect();
        self.examine_databases()?;
        Ok(Made { directory, secrets })
    }

    /// Held while this process makes the instance, so that two make one.
    async fn lock(&self) -> Result<fs::File, Failure> {
        let path = self.run_dir().join("create.lock");
        let held = lock::take(&path, PATIENCE).await.map_err(|e| Failure::io("lock", &path, &e))?;
        held.ok_or_else(|| {
            let line = format!("another process makes the instance {}; try again", self.name);
            Failure::new(Exit::TryAgain, line)
        })
    }

    /// The name that the settings file gives, if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn named(&self) -> Result<Option<String>, Failure> {
        let settings = read_settings(&self.dir.join(SETTINGS_FILE))?;
        let name = settings.into_iter().find(|(name, _)| name == INSTANCE_NAME.name);
        Ok(name.map(|(_, value)| value))
    }

    /// Looks whether the databases that are there can be used: better now than when a daemon starts.
    fn examine_databases(&self) -> Result<(), Failure> {
        let store = self.dir.join("store");
        let failed = |error: io::Error| Failure::io("read", &store, &error);
        for entry in fs::read_dir(&store).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|ending| ending == "db") {
                db::examine(&path).map_err(|error| Failure {
                    code: error.exit_code(),
                    line: kit::chain(&error),
                })?;
            }
        }
        Ok(())
    }
}

/// Writes a file that is not there yet, for its owner alone, whole or not at all.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| Failure::io("write", path, &error))
}

fn make_dir(dir: &Path) -> Result<(), Failure> {
    match fs::metadata(dir) {
        // A directory that others may enter would show them sockets and databases.
        Ok(found) if found.is_dir() && found.permissions().mode() & 0o077 != 0 => close(dir),
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Failure::new(
            Exit::CannotCreate,
            format!(
                "{} is there and is no directory; move it away, or choose another --data-dir",
                dir.display()
            ),
        )),
        Err(_) => {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(|error| Failure::io("create", dir, &error))
        }
    }
}

/// Closes a directory to others, unless they keep things there: `/tmp` or somebody's home is theirs.
fn close(dir: &Path) -> Result<(), Failure> {
    let is_ours = |name: &OsStr| OURS.iter().any(|ours| name == *ours);
    let found = fs::read_dir(dir).map_err(|error| Failure::io("read", dir, &error))?;
    let mut names = found.filter_map(|entry| Some(entry.ok()?.file_name()));
    if !dir.join(SETTINGS_FILE).exists() && !names.all(|name| is_ours(&name)) {
        let line = format!(
            "{} holds other things than an instance, and others may enter it; choose an empty --data-dir",
            dir.display()
        );
        return Err(Failure::new(Exit::CannotCreate, line));
    }
    let closed = fs::set_permissions(dir, PermissionsExt::from_mode(0o700));
    closed.map_err(|error| Failure::io("protect", dir, &error))
}

/// `/srv/data/arizuko_NAME` where that is or can be made, else the same below the user's own data.
fn default_dir(name: &str, environment: &Environment) -> PathBuf {
    let directory = format!("arizuko_{name}");
    let shared = Path::new("/srv/data").join(&directory);
    let writable = |dir: &Path| rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok();
    let parent = ["/srv/data", "/srv"].into_iter().map(Path::new).find(|dir| dir.exists());
    if shared.exists() || parent.is_some_and(writable) {
        return shared;
    }
    let home = || environment.get("HOME").map(|home| Path::new(home).join(".local/share"));
    let data =
        environment.get("XDG_DATA_HOME").filter(|dir| dir.starts_with('/')).map(PathBuf::from);
    data.or_else(home).map_or(shared, |data| data.join(directory))
}

fn read_settings(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let line = format!("{} is not text in UTF-8; mend it", path.display());
            return Err(Failure::new(Exit::Config, line));
        }
        Err(error) => return Err(Failure::io("read", path, &error)),
    };
    let mut settings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            let line =
                format!("line {} of {} is not NAME=value; mend it", index + 1, path.display());
            return Err(Failure::new(Exit::Config, line));
        };
        settings.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(settings)
}
