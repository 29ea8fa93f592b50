//! A disk that fills up: the data directory is a file system of its own, of which nobody else sees anything.
//!
//! The program leaves the machine's mounts for some of its own before it has threads, and puts a tmpfs where the
//! data directory is to be. Full it is when its size is what is used: every daemon then meets `ENOSPC`, whatever it
//! writes. The kernel removes all of it with the last process. Where neither root nor a user namespace is to be had,
//! one process at a time is bounded instead (RLIMIT_FSIZE, see [`super::fleet::fill_disk`]), and the report says so.

use crate::failure::Failure;
use nix::sched::{CloneFlags, unshare};
use rustix::{
    fs::statvfs,
    mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount,
        unmount,
    },
};
use std::{
    ffi::CString,
    fs, io,
    path::{Path, PathBuf},
};

/// Bytes of the file system, and for each message beyond. It takes memory only for what is written.
const SIZE: u64 = 256 << 20;
const FOR_EACH_MESSAGE: u64 = 32 << 10;
/// Pages come and go while the size is set; it is set again until nothing is free.
const TRIES: usize = 50;

/// Whether the program has mounts of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mounts {
    /// It has.
    Own,
    /// It shares them with the machine.
    #[default]
    Shared,
}

impl Mounts {
    /// Leaves the machine's mounts, if the kernel lets this user. Only before the program has a second thread: the
    /// others would stay behind.
    pub fn leave() -> Self {
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        let left = if user.is_root() {
            unshare(CloneFlags::CLONE_NEWNS).is_ok()
        } else {
            let own = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
            let (user, group) = (user.as_raw(), group.as_raw());
            unshare(own).is_ok()
                && fs::write("/proc/self/setgroups", "deny").is_ok()
                && fs::write("/proc/self/uid_map", format!("{user} {user} 1\n")).is_ok()
                && fs::write("/proc/self/gid_map", format!("{group} {group} 1\n")).is_ok()
        };
        let alone = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        if left && mount_change("/", alone).is_ok() { Self::Own } else { Self::Shared }
    }
}

/// The file system of the data directory.
#[derive(Debug)]
pub struct Disk {
    place: PathBuf,
    size: u64,
}

impl Disk {
    /// Makes the directory `place`, on a file system of its own if there are mounts for one.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn make(mounts: Mounts, place: PathBuf, messages: u32) -> Result<Option<Self>, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        if mounts == Mounts::Shared {
            return Ok(None);
        }
        let made = fs::DirBuilder::new().mode(0o700).create(&place);
        made.map_err(|error| Failure::io("create", &place, &error))?;
        let size = SIZE + u64::from(messages) * FOR_EACH_MESSAGE;
        let options = CString::new(format!("mode=0700,size={size}")).unwrap_or_default();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        let mounted = mount("tmpfs", &place, "tmpfs", flags, options.as_c_str());
        Ok(mounted.is_ok().then_some(Self { place, size }))
    }

    /// Leaves no byte free. Whether that was possible.
    pub fn fill(&self) -> bool {
        for _ in 0..TRIES {
            let Ok(seen) = statvfs(&self.place) else { return false };
            if seen.f_bfree == 0 {
                return true;
            }
            // Refused where more was written meanwhile: the next look sees it.
            let _again = self.resize((seen.f_blocks - seen.f_bfree) * seen.f_frsize).is_err();
        }
        statvfs(&self.place).is_ok_and(|seen| seen.f_bfree == 0)
    }

    /// Makes room again. Whether that was possible.
    pub fn free(&self) -> bool {
        self.resize(self.size).is_ok()
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        // Nothing at all would be no bound.
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        Ok(mount_remount(&self.place, flags, format!("size={}", size.max(4_096)))?)
    }

    /// Copies the files to `kept`, where they outlive this program, and unmounts.
    pub fn end(&self, kept: Option<&Path>) -> io::Result<()> {
        if let Some(kept) = kept {
            copy(&self.place, kept)?;
        }
        Ok(unmount(&self.place, UnmountFlags::DETACH)?)
    }
}

/// Copies directories and files; sockets are nothing without their process.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
