//! `arizuko backup`: the instance as it is at one moment, into a directory, while it runs or not.

use crate::{
    backup::{
        DATABASES, Kept, STORE, TREES,
        manifest::{DatabaseCopy, FORMAT, Manifest, Name, Note, digest},
        tree::{self, Copying},
        unfit,
    },
    cli::Backup,
    failure::{Exit, Failure},
    instance::{self, DOTENV, Instance, SETTINGS_FILE},
    output::{Output, table},
};
use db::{BackupError, Cut, CutError, epoch::Mark};
use kit::Clock;
use proto::Timestamp;
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// What lies in a directory that is being filled, so that what a command that was killed left is told from others'.
const UNFINISHED: &str = ".arizuko-backup-unfinished";

/// What was made.
#[derive(Serialize)]
struct Made {
    path: PathBuf,
    id: String,
    taken_at: Timestamp,
    databases: Vec<String>,
    files: usize,
    bytes: u64,
    secrets_keys: Vec<String>,
    holds_secrets: bool,
    notes: Vec<Note>,
}

pub(super) async fn run(instance: &Instance, args: &Backup, output: Output) -> Result<(), Failure> {
    let dest = std::path::absolute(&args.dest);
    let dest = dest.map_err(|error| Failure::io("use", &args.dest, &error))?;
    let (instance, with_secrets) = (instance.clone(), args.with_secrets);
    let made = tokio::task::spawn_blocking(move || make(&instance, &dest, with_secrets)).await;
    let made = made.map_err(|error| Failure::new(Exit::Software, error.to_string()))??;
    output.print(&made, text)?;
    Ok(())
}

fn text(made: &Made) -> String {
    let keys = match made.secrets_keys.as_slice() {
        [] => "nothing in it is sealed".to_owned(),
        keys => format!("the SECRETS_KEY with the id {} opens it", keys.join(" or ")),
    };
    let secrets = match made.holds_secrets {
        true => "; the secrets of .env are in it: whoever reads it is the instance",
        false => "; no secret is in it: keep that key elsewhere",
    };
    let rows = [
        vec!["in".into(), made.path.display().to_string()],
        vec!["as of".into(), made.taken_at.to_string()],
        vec!["databases".into(), made.databases.join(" ")],
        vec!["files".into(), format!("{} ({} bytes in all)", made.files, made.bytes)],
        vec!["key".into(), format!("{keys}{secrets}")],
    ];
    let mut text = table(&["BACKUP", &made.id], &rows);
    for note in &made.notes {
        let path = note.path.path().unwrap_or_default();
        text.push_str(&format!("\n{}: {}", path.display(), note.what));
    }
    text
}

/// Makes the backup in a directory beside `dest`, which gets its name when all of it is on the disk.
fn make(instance: &Instance, dest: &Path, with_secrets: bool) -> Result<Made, Failure> {
    let databases = databases(instance)?;
    let draft = begin(instance, dest)?;
    let filled = fill(instance, &databases, &draft, with_secrets).and_then(|manifest| {
        finish(&draft, dest)?;
        Ok(manifest)
    });
    let manifest = filled.inspect_err(|_| {
        if let Err(error) = tree::remove(&draft) {
            tracing::warn!(path = %draft.display(), %error, "an incomplete backup could not be removed");
        }
    })?;
    Ok(Made {
        path: dest.to_owned(),
        bytes: manifest.size(),
        id: manifest.id,
        taken_at: manifest.taken_at,
        databases: manifest.databases.into_iter().map(|database| database.file).collect(),
        files: manifest.entries.len(),
        secrets_keys: manifest.secrets_keys,
        holds_secrets: manifest.holds_secrets,
        notes: manifest.notes,
    })
}

/// The databases that the instance has.
fn databases(instance: &Instance) -> Result<Vec<(&'static Kept, PathBuf)>, Failure> {
    let store = instance.dir.join(STORE);
    let mut found = Vec::new();
    for kept in &DATABASES {
        let path = store.join(kept.file);
        match fs::metadata(&path) {
            Ok(of) if of.len() > 0 => found.push((kept, path)),
            // One whose making was cut short holds nothing.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::io("read", &path, &error)),
        }
    }
    if found.is_empty() {
        let line = format!(
            "there is nothing to back up in {}: no database; name the instance with --data-dir or --instance",
            instance.dir.display()
        );
        return Err(Failure::new(Exit::Config, line));
    }
    Ok(found)
}

/// The directory to fill: beside `dest`, so that one rename makes it that.
fn begin(instance: &Instance, dest: &Path) -> Result<PathBuf, Failure> {
    let taken = |what: &str| {
        let line = format!("{} {what}; name a directory that is new or empty", dest.display());
        Failure::new(Exit::CannotCreate, line)
    };
    match fs::read_dir(dest) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(taken("is not empty"));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(taken("is there and is no directory"));
        }
        Err(error) => return Err(Failure::io("read", dest, &error)),
    }
    let name = dest.file_name().ok_or_else(|| taken("cannot be replaced"))?;
    let mut draft = name.to_owned();
    draft.push(".partial");
    let draft = dest.with_file_name(draft);
    let parent = draft.parent().unwrap_or(Path::new("/"));
    let real = fs::canonicalize(parent).map_err(|error| Failure::io("use", parent, &error))?;
    if fs::canonicalize(&instance.dir).is_ok_and(|dir| real.starts_with(dir)) {
        let line = format!(
            "{} is in the instance's own directory; name one elsewhere, best on another disk",
            dest.display()
        );
        return Err(Failure::new(Exit::CannotCreate, line));
    }
    if draft.join(UNFINISHED).exists() {
        tree::remove(&draft).map_err(|error| Failure::io("remove", &draft, &error))?;
    }
    let made = DirBuilder::new().mode(0o700).create(&draft);
    made.map_err(|error| Failure::io("create", &draft, &error))?;
    instance::write_new(&draft.join(UNFINISHED), b"")?;
    Ok(draft)
}

fn fill(
    instance: &Instance,
    databases: &[(&Kept, PathBuf)],
    draft: &Path,
    with_secrets: bool,
) -> Result<Manifest, Failure> {
    let mut copying = Copying::into(draft);
    // What agents sent is on the disk before a row tells of it, and goes after the row says so: what is there before
    // the cut and what is there after it are all that the rows name.
    if instance.dir.join("files").is_dir() {
        copying.directory(&instance.dir, "files")?;
    }
    let id = format!("b-{:016x}", rand::random::<u64>());
    let paths: Vec<PathBuf> = databases.iter().map(|(_, path)| path.clone()).collect();
    let cut = Cut::of(&paths).map_err(not_cut)?;
    let taken_at = Clock::real().now();
    let mark = Mark { backup: id.clone(), taken_at_ms: taken_at.0 };
    let store = draft.join(STORE);
    let made = DirBuilder::new().mode(0o700).create(&store);
    made.map_err(|error| Failure::io("create", &store, &error))?;
    let mut copies = Vec::new();
    for (kept, path) in databases {
        copies.push(copy(&cut, kept, path, &store, &mark)?);
    }
    drop(cut);
    for tree in TREES {
        copying.directory(&instance.dir, tree)?;
    }
    copying.single(&instance.dir, SETTINGS_FILE)?;
    let holds_secrets = with_secrets && copying.single(&instance.dir, DOTENV)?;
    let (entries, notes) = copying.end();
    // A key opens the backup that opens each of its databases.
    let sealed = copies.iter().filter(|copy| !copy.secrets_keys.is_empty());
    let sets = sealed.map(|copy| copy.secrets_keys.iter().cloned().collect::<BTreeSet<_>>());
    let common = sets.reduce(|one, other| one.intersection(&other).cloned().collect());
    let manifest = Manifest {
        format: FORMAT,
        id,
        instance: instance.name.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        taken_at,
        secrets_keys: common.unwrap_or_default().into_iter().collect(),
        holds_secrets,
        databases: copies,
        entries,
        notes,
    };
    manifest.write(draft)?;
    Ok(manifest)
}

fn copy(
    cut: &Cut,
    kept: &Kept,
    path: &Path,
    store: &Path,
    mark: &Mark,
) -> Result<DatabaseCopy, Failure> {
    let target = store.join(kept.file);
    let schema_version = cut.copy(path, &target, mark).map_err(|error| {
        let exit = match &error {
            BackupError::Database(_) => Exit::Data,
            _ => Exit::CannotCreate,
        };
        Failure::new(exit, kit::chain(&error))
    })?;
    let wraps = kept.wraps.map(|wraps| wraps(&target)).transpose().map_err(|e| unfit(&e))?;
    let keys = wraps.unwrap_or_default().into_iter().map(|wrap| wrap.key_id).collect();
    let read = File::open(&target).and_then(digest);
    let (size, sha256) = read.map_err(|error| Failure::io("read", &target, &error))?;
    Ok(DatabaseCopy { file: kept.file.into(), schema_version, size, sha256, secrets_keys: keys })
}

fn not_cut(error: CutError) -> Failure {
    match &error {
        CutError::Open(error) => unfit(error),
        CutError::Busy { .. } => Failure::new(Exit::TryAgain, error.to_string()),
    }
}

/// Has all of it on the disk, and then by its name.
fn finish(draft: &Path, dest: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io("write", dest, &error);
    fs::remove_file(draft.join(UNFINISHED)).map_err(failed)?;
    let dir = File::open(draft).map_err(failed)?;
    rustix::fs::syncfs(&dir).map_err(|error| failed(error.into()))?;
    fs::rename(draft, dest).map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => {
            let line = format!(
                "{} is where a file system is mounted, and cannot be replaced; name a new directory in it",
                dest.display()
            );
            Failure::new(Exit::CannotCreate, line)
        }
        _ => failed(error),
    })?;
    let parent = dest.parent().unwrap_or(Path::new("/"));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)
}

/// The name of an entry that is none of a tree.
pub(super) fn is_single(name: &Name) -> bool {
    matches!(name, Name::Text(text) if text == SETTINGS_FILE || text == DOTENV)
}
