//! A root of its own: what the agent may see has a name in it, and nothing else has (pivot_root(2)).

use super::{Layers, paths};
use crate::process::Order;
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};
use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Ids that the launcher needs beside the agent's.
const LAUNCHER_PIDS: u32 = 2;
/// The least that the kernel takes as the bound of process ids.
const PID_MAX_LEAST: u32 = 301;

/// Why the root could not be built: the step and what the system said.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {path}", path = path.display())]
pub(super) struct RootError {
    step: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn at<E: Into<io::Error>>(step: &'static str, path: &Path) -> impl FnOnce(E) -> RootError {
    let path = path.to_owned();
    move |source| RootError { step, path, source: source.into() }
}

/// Builds the root in the empty directory `root` and moves into it. Until the last step the machine's root stays as it
/// was, so that a failure leaves nothing half done.
pub(super) fn build(root: &Path, order: &Order, layers: &mut Layers) -> Result<(), RootError> {
    let slash = Path::new("/");
    mount_change(slash, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(at("keep mounts to itself below", slash))?;
    tmpfs(root, c"mode=0755,size=4m")?;
    for path in paths::SYSTEM.iter().chain(paths::ETC) {
        show(root, Path::new(path))?;
    }
    devices(root)?;
    let temporary = below(root, Path::new("/tmp"));
    make_dir(&temporary)?;
    tmpfs(&temporary, c"mode=1777,size=256m")?;
    // In the namespace's own, no process of the machine can be seen.
    let proc = below(root, Path::new("/proc"));
    make_dir(&proc)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if let Err(error) = mount("proc", &proc, "proc", flags, None::<&CStr>) {
        layers.missing.push(format!("no /proc: {error}"));
    }
    bound_processes(&proc, order, layers);
    bind(root, &order.turn_dir)?;
    bind(root, &order.home)?;
    let programs = std::iter::once(&order.agent.program).chain(&order.shown.claude);
    for program in programs.filter(|program| !paths::is_system(program) && program.exists()) {
        bind(root, program)?;
        protect(&below(root, program), MountFlags::NOSUID | MountFlags::NODEV)?;
    }
    if let Some(skills) = &order.shown.skills {
        let place = below(root, Path::new(paths::SKILLS));
        make_dir(&place)?;
        mount_bind_recursive(skills, &place).map_err(at("show", skills))?;
        protect(&place, MountFlags::NOSUID | MountFlags::NODEV)?;
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    protect(&below(root, &order.turn_dir), flags | MountFlags::NOEXEC)?;
    protect(root, flags)?;
    enter(root)
}

fn enter(root: &Path) -> Result<(), RootError> {
    chdir(root).map_err(at("enter", root))?;
    pivot_root(".", ".").map_err(at("pivot to", root))?;
    // The old root now lies on top of the new one, under the same name.
    unmount(".", UnmountFlags::DETACH).map_err(at("leave the old root of", root))?;
    chdir("/").map_err(at("enter the root of", root))
}

/// Bounds the process ids of the namespace, and so its processes, where the kernel (6.14) counts them for each one.
/// For a daemon that is root there is no other bound that the kernel enforces.
fn bound_processes(proc: &Path, order: &Order, layers: &mut Layers) {
    let most = order.limits.pids.saturating_add(LAUNCHER_PIDS).max(PID_MAX_LEAST);
    if fs::write(proc.join("sys/kernel/pid_max"), most.to_string()).is_ok() {
        layers.enforced.push("a bound on process ids".into());
    }
}

/// Makes `path` of the machine readable in the root. One that is not there is left out.
fn show(root: &Path, path: &Path) -> Result<(), RootError> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if found.is_symlink() {
        let target = fs::read_link(path).map_err(at("read the link", path))?;
        let link = below(root, path);
        make_parent(&link)?;
        return symlink(target, &link).map_err(at("make the link", &link));
    }
    bind(root, path)?;
    protect(&below(root, path), MountFlags::NOSUID | MountFlags::NODEV)
}

fn devices(root: &Path) -> Result<(), RootError> {
    for device in paths::DEVICES {
        bind(root, Path::new(device))?;
    }
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/shm", "/tmp"),
    ] {
        let link = below(root, Path::new(link));
        symlink(target, &link).map_err(at("make the link", &link))?;
    }
    Ok(())
}

/// Shows a file or directory of the machine under its own path.
fn bind(root: &Path, path: &Path) -> Result<(), RootError> {
    let place = below(root, path);
    if path.is_dir() {
        make_dir(&place)?;
    } else {
        make_parent(&place)?;
        fs::File::create(&place).map_err(at("make a place for", path))?;
    }
    mount_bind_recursive(path, &place).map_err(at("show", path))
}

/// Makes a mount read-only. Flags that it has already are kept: in a user namespace none may be taken away.
fn protect(place: &Path, flags: MountFlags) -> Result<(), RootError> {
    let has = statvfs(place).map_err(at("look at", place))?.f_flag;
    let kept = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ]
    .into_iter()
    .filter(|(seen, _)| has.contains(*seen))
    .fold(flags, |flags, (_, flag)| flags | flag);
    mount_remount(place, kept | MountFlags::BIND | MountFlags::RDONLY, "")
        .map_err(at("protect", place))
}

fn tmpfs(place: &Path, options: &CStr) -> Result<(), RootError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", place, "tmpfs", flags, options).map_err(at("mount a file system at", place))
}

fn make_dir(place: &Path) -> Result<(), RootError> {
    fs::create_dir_all(place).map_err(at("make the directory", place))
}

fn make_parent(place: &Path) -> Result<(), RootError> {
    place.parent().map_or(Ok(()), make_dir)
}

/// Where `path` lies in the new root.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
