//! `arizuko restore`: an instance from a backup, under a new epoch.
//!
//! Everything is looked at before anything is written: the checksums, whether this program knows the databases, whether
//! a `SECRETS_KEY` at hand opens them. What is written goes into a directory of its own in the data directory first. As
//! long as that is there, no daemon starts, and running the command again begins anew.

use super::backup::is_single;
use crate::{
    backup::{
        STORE, TREES, damaged, database,
        manifest::{Entry, Kind, Manifest, Name, Note, digest},
        tree, unfit,
    },
    cli::Restore,
    failure::{Exit, Failure},
    instance::{DOTENV, Environment, Instance, RESTORING, SETTINGS_FILE},
    output::{Output, table},
    sources,
};
use proto::Timestamp;
use secrets::seal::{SECRETS_KEY, SecretsKey, unlock};
use serde::Serialize;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a data directory may hold into which a backup is brought: what an operator prepared.
const PREPARED: [&str; 4] = [DOTENV, SETTINGS_FILE, "lost+found", "run"];

/// What was done.
#[derive(Serialize)]
struct Restored {
    from: PathBuf,
    id: String,
    taken_at: Timestamp,
    /// Where it is now; nothing where it was only looked at.
    data_dir: Option<PathBuf>,
    databases: Vec<String>,
    files: usize,
    bytes: u64,
    /// Which of those that open it is at hand; nothing where nothing is sealed.
    secrets_key: Option<String>,
    notes: Vec<String>,
}

pub(super) async fn run(
    instance: &Instance,
    environment: &Environment,
    args: &Restore,
    output: Output,
) -> Result<(), Failure> {
    let from = std::path::absolute(&args.src);
    let from = from.map_err(|error| Failure::io("use", &args.src, &error))?;
    let manifest = Manifest::read(&from)?;
    if !args.check {
        must_be_empty(&instance.dir)?;
    }
    let (dir, whole) = (from.clone(), manifest.clone());
    let checked = tokio::task::spawn_blocking(move || verify(&dir, &whole)).await;
    checked.map_err(|error| Failure::new(Exit::Software, error.to_string()))??;
    let secrets_key = opened_by(instance, environment, &from, &manifest).await?;
    let mut restored = Restored {
        from: from.clone(),
        id: manifest.id.clone(),
        taken_at: manifest.taken_at,
        data_dir: None,
        databases: manifest.databases.iter().map(|database| database.file.clone()).collect(),
        files: manifest.entries.len(),
        bytes: manifest.size(),
        secrets_key,
        notes: manifest.notes.iter().map(said).collect(),
    };
    if !args.check {
        let to = instance.dir.clone();
        let brought = tokio::task::spawn_blocking(move || bring_back(&from, &to, &manifest)).await;
        let brought =
            brought.map_err(|error| Failure::new(Exit::Software, error.to_string()))??;
        restored.data_dir = Some(instance.dir.clone());
        if brought.of_others > 0 {
            restored.notes.push(format!(
                "{} files belonged to other users and are this user's now; as root, restore gives them back",
                brought.of_others
            ));
        }
        restored.notes.extend(afterwards(restored.taken_at));
    }
    output.print(&restored, text)
}

fn said(note: &Note) -> String {
    format!("{}: {}", note.path.path().unwrap_or_default().display(), note.what)
}

/// What the operator has to think of, because no program can know it.
fn afterwards(taken: Timestamp) -> [String; 3] {
    [
        "start it with `arizuko up` or its daemons; from then on it is an instance of its own: never start the one that it was copied from again".into(),
        "every token and login has ended; what waited to be sent to a platform is held, and `arizuko status` counts it".into(),
        format!(
            "links, rights and invites that were taken back or spent after {taken} are good again: see `arizuko token list`, `arizuko acl list` and `arizuko invite list`"
        ),
    ]
}

fn text(restored: &Restored) -> String {
    let place = match &restored.data_dir {
        Some(dir) => dir.display().to_string(),
        None => "nowhere: it was only checked, and is whole".into(),
    };
    let key = match &restored.secrets_key {
        Some(id) => format!("the SECRETS_KEY at hand opens it ({id})"),
        None => "nothing in it is sealed".into(),
    };
    let rows = [
        vec!["from".into(), restored.from.display().to_string()],
        vec!["as of".into(), restored.taken_at.to_string()],
        vec!["to".into(), place],
        vec!["databases".into(), restored.databases.join(" ")],
        vec!["files".into(), format!("{} ({} bytes in all)", restored.files, restored.bytes)],
        vec!["key".into(), key],
    ];
    let table = table(&["RESTORE", &restored.id], &rows);
    std::iter::once(table).chain(restored.notes.iter().cloned()).collect::<Vec<_>>().join("\n")
}

/// Whether `dir` holds no instance yet, or what a restore that was cut short left.
fn must_be_empty(dir: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io("read", dir, &error);
    if dir.join(RESTORING).exists() {
        return Ok(());
    }
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if PREPARED.iter().any(|known| name == *known) {
            continue;
        }
        let may_be_empty = TREES.iter().chain([&STORE]).any(|known| name == *known);
        let is_empty =
            || fs::read_dir(entry.path()).is_ok_and(|mut inside| inside.next().is_none());
        if !may_be_empty || !is_empty() {
            let line = format!(
                "{} is not empty ({}); a backup is brought into an empty data directory: move what is there away, or choose another --data-dir",
                dir.display(),
                entry.path().display()
            );
            return Err(Failure::new(Exit::CannotCreate, line));
        }
    }
    Ok(())
}

/// Compares everything with the manifest, and each database with what this program knows. Writes nothing.
fn verify(from: &Path, manifest: &Manifest) -> Result<(), Failure> {
    for copy in &manifest.databases {
        let path = from.join(STORE).join(&copy.file);
        let kept = database(&copy.file).ok_or_else(|| {
            let line = format!(
                "{} belongs to no daemon of this program ({}); use the release that made the backup ({})",
                path.display(),
                env!("CARGO_PKG_VERSION"),
                manifest.version
            );
            Failure::new(Exit::Data, line)
        })?;
        same(&path, copy.size, &copy.sha256)?;
        kept.schema.check(&path).map_err(|error| unfit(&error))?;
    }
    for entry in &manifest.entries {
        let path = tree::below(from, entry)?;
        if let Kind::File { size, sha256 } = &entry.kind {
            same(&path, *size, sha256)?;
        }
        let name = entry.path.beneath().unwrap_or_default();
        if !is_single(&entry.path) && !TREES.iter().any(|tree| name.starts_with(tree)) {
            return Err(damaged(format!("{} is nothing of an instance", path.display())));
        }
    }
    Ok(())
}

fn same(path: &Path, size: u64, sha256: &str) -> Result<(), Failure> {
    let open = || OpenOptions::new().read(true).custom_flags(libc_nofollow()).open(path);
    match open().and_then(digest) {
        Ok(found) if found == (size, sha256.to_owned()) => Ok(()),
        Ok(_) => Err(damaged(format!("{} is not what was written", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(damaged(format!("{} is missing", path.display())))
        }
        Err(error) => Err(Failure::io("read", path, &error)),
    }
}

/// `O_NOFOLLOW`, as the standard library takes it.
fn libc_nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

/// The `SECRETS_KEY` at hand that opens every database of the backup; its id. Nothing, where nothing is sealed.
///
/// # Errors
/// None does. The line says which would.
async fn opened_by(
    instance: &Instance,
    environment: &Environment,
    from: &Path,
    manifest: &Manifest,
) -> Result<Option<String>, Failure> {
    let sealed: Vec<_> = manifest
        .databases
        .iter()
        .filter_map(|copy| Some((copy, database(&copy.file)?.wraps?)))
        .collect();
    if sealed.is_empty() {
        return Ok(None);
    }
    let keys = at_hand(instance, environment, from, manifest).await?;
    for (copy, wraps) in sealed {
        let wraps = wraps(&from.join(STORE).join(&copy.file)).map_err(|error| unfit(&error))?;
        // A database without a key yet has nothing that needs one.
        if !wraps.is_empty() && unlock(&copy.file, &wraps, &keys).is_err() {
            let wanted: Vec<&str> = wraps.iter().map(|wrap| wrap.key_id.as_str()).collect();
            return Err(no_key(instance, &wanted.join(" or "), &keys));
        }
    }
    Ok(keys.first().map(|key| key.id().to_owned()))
}

fn no_key(instance: &Instance, wanted: &str, keys: &[Arc<SecretsKey>]) -> Failure {
    let found = match keys {
        [] => "there is none at hand".to_owned(),
        keys => {
            let ids: Vec<&str> = keys.iter().map(|key| key.id()).collect();
            format!("the one at hand has the id {}", ids.join(" and "))
        }
    };
    let line = format!(
        "this backup opens with the SECRETS_KEY whose id is {wanted}, and {found}; nothing was written. Put the right one into a source of this instance, such as {}, as SECRETS_KEY or beside the present one as SECRETS_KEY_PREVIOUS",
        instance.dotenv().display()
    );
    Failure::new(Exit::Config, line)
}

/// Every value of `SECRETS_KEY` that the instance's sources have, or those that come with the backup.
async fn at_hand(
    instance: &Instance,
    environment: &Environment,
    from: &Path,
    manifest: &Manifest,
) -> Result<Vec<Arc<SecretsKey>>, Failure> {
    let mut of = instance.clone();
    let names =
        |name: &str| manifest.entries.iter().any(|entry| entry.path == Name::Text(name.into()));
    if names(SETTINGS_FILE) && !instance.dir.join(SETTINGS_FILE).exists() {
        of = of.with_settings(environment, &from.join(SETTINGS_FILE))?;
    }
    if manifest.holds_secrets && !instance.dotenv().exists() {
        // As if this were the data directory: its `.env` is the one that will be used.
        of.dir = from.to_owned();
    }
    let found = sources::find(&of, environment, [SECRETS_KEY]).await?.remove(&SECRETS_KEY);
    let Some(found) = found else { return Ok(Vec::new()) };
    let values = [found.current.ok(), found.previous];
    let keys = values.iter().flatten().filter_map(|value| SecretsKey::new(value).ok());
    Ok(keys.map(Arc::new).collect())
}

/// Writes the instance into a directory within `to`, and then moves it to its place: databases last.
fn bring_back(from: &Path, to: &Path, manifest: &Manifest) -> Result<tree::Brought, Failure> {
    let staging = to.join(RESTORING);
    let failed = |doing: &'static str| {
        let staging = staging.clone();
        move |error: io::Error| Failure::io(doing, &staging, &error)
    };
    if staging.exists() {
        // Nothing started since, so all that is there is of the restore that was cut short.
        for name in TREES.iter().chain([&STORE]) {
            tree::remove(&to.join(name)).map_err(failed("remove"))?;
        }
        tree::remove(&staging).map_err(failed("remove"))?;
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(to);
    made.map_err(|error| Failure::io("create", to, &error))?;
    DirBuilder::new().mode(0o700).create(&staging).map_err(failed("create"))?;
    let written = write(from, to, &staging, manifest);
    let (brought, singles) = written.inspect_err(|_| {
        // What was not moved yet: the data directory is as it was.
        if let Err(error) = tree::remove(&staging) {
            tracing::warn!(path = %staging.display(), %error, "what was written could not be removed");
        }
    })?;
    for name in TREES.iter().copied().chain(singles).chain([STORE]) {
        let (written, place) = (staging.join(name), to.join(name));
        if written.exists() {
            fs::rename(&written, &place).map_err(|error| Failure::io("make", &place, &error))?;
        }
    }
    fs::remove_dir(&staging).map_err(failed("remove"))?;
    let synced = File::open(to).and_then(|dir| dir.sync_all());
    synced.map_err(|error| Failure::io("write", to, &error))?;
    Ok(brought)
}

/// Everything into `staging`, on the disk. Which single files are among it.
fn write(
    from: &Path,
    to: &Path,
    staging: &Path,
    manifest: &Manifest,
) -> Result<(tree::Brought, Vec<&'static str>), Failure> {
    // What the operator put there stays.
    let is_kept = |entry: &&Entry| {
        !is_single(&entry.path) || !entry.path.beneath().is_some_and(|name| to.join(name).exists())
    };
    let entries: Vec<Entry> = manifest.entries.iter().filter(is_kept).cloned().collect();
    let brought = tree::bring_back(from, staging, &entries)?;
    let store = staging.join(STORE);
    let made = DirBuilder::new().mode(0o700).create(&store);
    made.map_err(|error| Failure::io("create", &store, &error))?;
    for copy in &manifest.databases {
        let (source, target) = (from.join(STORE).join(&copy.file), store.join(&copy.file));
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&target);
        let copied = file.and_then(|mut file| io::copy(&mut File::open(&source)?, &mut file));
        copied.map_err(|error| Failure::io("write", &target, &error))?;
        same(&target, copy.size, &copy.sha256)?;
    }
    let dir = File::open(staging).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
    dir.map_err(|error| Failure::io("write", staging, &error))?;
    let is_there = |name: &&str| staging.join(name).exists();
    Ok((brought, [SETTINGS_FILE, DOTENV].into_iter().filter(is_there).collect()))
}
