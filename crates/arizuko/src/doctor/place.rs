//! The data directory: whose it is, who may enter, what room there is, whether its databases can be used.

use super::Finding;
use crate::{
    backup::{DATABASES, STORE, unfit},
    failure::Exit,
    instance::{DOTENV, Instance},
};
use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::Path,
};

/// Below this, the next few messages may find no room.
const ROOM_MIN: u64 = 64 << 20;
/// Less than this part of a disk, or of its inodes, is a problem, and less than the second should be thought about.
const PARTS: (u64, u64) = (50, 10);

pub(super) fn check(instance: &Instance) -> Vec<Finding> {
    let dir = &instance.dir;
    let place = dir.display().to_string();
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let next = "run as the user whose instance it is, or as root";
            return vec![Finding::problem(
                "permissions",
                Exit::Permission,
                place,
                error.to_string(),
                next,
            )];
        }
        _ => {
            let next = format!(
                "make it with `arizuko create {}`, or name another with --instance or --data-dir",
                instance.name
            );
            return vec![Finding::problem(
                "place",
                Exit::Config,
                place,
                "there is no instance",
                next,
            )];
        }
    }
    let mut found = Vec::new();
    if let Err(failure) = instance.must_be_whole() {
        let next = "run `arizuko restore` again; it begins anew";
        found.push(Finding::problem("place", Exit::Data, place, failure.line, next));
    }
    found.extend(permissions(instance));
    found.extend(room(dir));
    found
}

/// Everything that only this user may use.
fn permissions(instance: &Instance) -> Vec<Finding> {
    let dir = &instance.dir;
    let mut found: Vec<Finding> = [
        (dir.clone(), 0o700),
        (dir.join(DOTENV), 0o600),
        (dir.join(STORE), 0o700),
        (dir.join("homes"), 0o711),
        (dir.join("run"), 0o711),
        (dir.join("run/admin.sock"), 0o600),
    ]
    .iter()
    .filter_map(|(path, mode)| closed(path, *mode))
    .collect();
    let databases = DATABASES.iter().map(|kept| dir.join(STORE).join(kept.file));
    found.extend(databases.filter_map(|path| closed(&path, 0o600)));
    if found.is_empty() {
        found.push(Finding::good("permissions", dir.display().to_string(), "its owner's alone"));
    }
    found
}

/// What is wrong where more may be done with `path` than `mode` says.
fn closed(path: &Path, mode: u32) -> Option<Finding> {
    let found = fs::symlink_metadata(path).ok()?;
    let place = path.display().to_string();
    let has = found.permissions().mode() & 0o777;
    if has & !mode & 0o077 != 0 {
        let what = format!("others may use it: its mode is {has:04o}");
        let next = format!("chmod {mode:o} {place}");
        return Some(Finding::problem("permissions", Exit::Permission, place, what, next));
    }
    let own = rustix::process::geteuid();
    if found.uid() != own.as_raw() && !own.is_root() && !found.file_type().is_socket() {
        let what = format!("it belongs to the user {}, and this is {}", found.uid(), own.as_raw());
        let next = "run as its owner, or give it to this user with chown";
        return Some(Finding::problem("permissions", Exit::Permission, place, what, next));
    }
    None
}

/// The disk: bytes and inodes.
fn room(dir: &Path) -> Vec<Finding> {
    let place = dir.display().to_string();
    let of = match rustix::fs::statvfs(dir) {
        Ok(of) => of,
        Err(error) => {
            let next = "see whether the disk is mounted";
            return vec![Finding::problem(
                "disk",
                Exit::CannotCreate,
                place,
                error.to_string(),
                next,
            )];
        }
    };
    let (free, all) = (of.f_bavail * of.f_frsize, of.f_blocks * of.f_frsize);
    let mebibytes = |bytes: u64| bytes >> 20;
    let bytes = format!("{} MiB of {} are free", mebibytes(free), mebibytes(all));
    let inodes = format!("{} of {} inodes are free", of.f_favail, of.f_files);
    let next = "make room, or move the data to a larger disk; without room messages are refused and none is lost";
    let few = "remove files that nobody needs, such as those in homes/, or make a file system with more inodes";
    let mut found = Vec::new();
    if free < ROOM_MIN || free < all / PARTS.0 {
        found.push(Finding::problem(
            "disk",
            Exit::CannotCreate,
            place.clone(),
            bytes.clone(),
            next,
        ));
    } else if free < all / PARTS.1 {
        found.push(Finding::advice("disk", place.clone(), bytes.clone(), next));
    }
    // Some file systems count none.
    if of.f_files > 0 && of.f_favail < of.f_files / PARTS.0 {
        found.push(Finding::problem(
            "disk",
            Exit::CannotCreate,
            place.clone(),
            inodes.clone(),
            few,
        ));
    } else if of.f_files > 0 && of.f_favail < of.f_files / PARTS.1 {
        found.push(Finding::advice("disk", place.clone(), inodes.clone(), few));
    }
    if found.is_empty() {
        found.push(Finding::good("disk", place, format!("{bytes}, {inodes}")));
    }
    found
}

/// Each database: whole, its daemon's, and not newer than this program. Reads all of each.
pub(super) fn databases(instance: &Instance) -> Vec<Finding> {
    let mut found = Vec::new();
    for kept in &DATABASES {
        let path = instance.dir.join(STORE).join(kept.file);
        let place = path.display().to_string();
        if !fs::metadata(&path).is_ok_and(|of| of.len() > 0) {
            continue;
        }
        found.push(match kept.schema.check(&path) {
            Ok(version) => Finding::good("databases", place, format!("whole, schema {version}")),
            Err(error) => {
                let next = match &error {
                    db::OpenError::Newer { .. } | db::OpenError::MigrationChanged { .. } => {
                        "run the release that made it; or bring back a backup of this one with `arizuko restore`"
                    }
                    db::OpenError::Corrupt { .. } | db::OpenError::Foreign { .. } => {
                        "stop the instance, move the data directory away, and bring back a backup with `arizuko restore`"
                    }
                    _ => "see whether this user may read it, and who has it open",
                };
                let exit = match error.exit_code() {
                    65 => Exit::Data,
                    77 => Exit::Permission,
                    _ => Exit::TryAgain,
                };
                Finding::problem("databases", exit, place, unfit(&error).line, next)
            }
        });
    }
    if found.is_empty() {
        let what = "there is none yet: the instance never ran";
        let place = instance.dir.join(STORE).display().to_string();
        found.push(Finding::unknown("databases", place, what, "start it with `arizuko up`"));
    }
    found
}
