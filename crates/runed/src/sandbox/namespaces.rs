//! Namespaces of its own (namespaces(7), user_namespaces(7)).

use super::{Failure, Layers, failed, loopback};
use nix::sched::{CloneFlags, unshare};
use rustix::system::sethostname;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    set_capabilities,
};
use std::fs;

/// The user id an agent sees as its own when its daemon is root: programs do not think they are root.
const NOT_ROOT: u32 = 1000;

/// Enters the namespaces, with users of its own where the kernel lets this user have them, and without where it is
/// root and may do it all the same. Where neither works, it says so and nothing has changed.
///
/// # Errors
/// The kernel began and did not finish, as where a security module forbids the rest. This process is of no use then.
pub(super) fn enter(layers: &mut Layers) -> Result<(), Failure> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let own = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    match unshare(own | CloneFlags::CLONE_NEWUSER) {
        Ok(()) => {
            map_users(uid, gid)?;
            layers.users = true;
        }
        Err(refused) => {
            if let Err(error) = unshare(own) {
                layers.missing.push(format!("no namespaces: {refused}; without users: {error}"));
                return Ok(());
            }
        }
    }
    (layers.processes, layers.network) = (true, true);
    if layers.users {
        forbid_more();
    }
    // The machine's name is nobody's business, and no loss if it stays.
    let _kept = sethostname(b"agent").is_err();
    layers.loopback = loopback::up().is_ok();
    Ok(())
}

/// Forbids user namespaces below this one: each would give back capabilities, and with them the reach into the kernel
/// that comes with those. The limit is this namespace's own; outside of one it would be the machine's.
fn forbid_more() {
    // A kernel without the limit, or a /proc that cannot be written, leaves it as it was.
    let _kept = fs::write("/proc/sys/user/max_user_namespaces", "0").is_err();
}

/// Says what entering has given.
pub(super) fn describe(layers: &mut Layers) {
    let users = if layers.users { "user, " } else { "" };
    layers.enforced.push(format!("{users}mount, PID, network, IPC and UTS namespaces of its own"));
    if !layers.loopback {
        layers.missing.push("the loopback interface is down: no TCP bridge for programs".into());
    }
}

/// Maps the one user and group. The kernel allows no more than that without privilege, and nobody needs more.
fn map_users(uid: u32, gid: u32) -> Result<(), Failure> {
    let seen = |id: u32| if id == 0 { NOT_ROOT } else { id };
    fs::write("/proc/self/setgroups", "deny").map_err(failed("cannot give up setting groups"))?;
    fs::write("/proc/self/uid_map", format!("{} {uid} 1\n", seen(uid)))
        .map_err(failed("cannot map the user into its namespace"))?;
    fs::write("/proc/self/gid_map", format!("{} {gid} 1\n", seen(gid)))
        .map_err(failed("cannot map the group into its namespace"))
}

/// Keeps, of all the capabilities in the new namespace, the one that mounting needs, across the next `execve`; and
/// drops the rest for good. The next step drops that one too.
pub(super) fn keep_mounting(layers: &Layers) -> Result<(), Failure> {
    let mut sets = capabilities(None).map_err(failed("cannot read the capabilities"))?;
    if !layers.users && !sets.permitted.contains(CapabilitySet::SYS_ADMIN) {
        return Ok(());
    }
    sets.inheritable = CapabilitySet::SYS_ADMIN;
    set_capabilities(None, sets).map_err(failed("cannot keep the capability to mount"))?;
    configure_capability_in_ambient_set(CapabilitySet::SYS_ADMIN, true)
        .map_err(failed("cannot keep the capability to mount across execve"))?;
    empty_bounding_set();
    Ok(())
}

/// Takes every capability out of what a program could ever gain.
pub(super) fn empty_bounding_set() {
    for number in 0..64 {
        let Some(capability) = CapabilitySet::from_bits(1 << number) else { continue };
        // Numbers that this kernel does not have, and a user who may not, are refused: then `no_new_privs` stands alone.
        let _refused = rustix::thread::remove_capability_from_bounding_set(capability).is_err();
    }
}

/// Gives up every capability this process has.
pub(super) fn drop_capabilities() -> rustix::io::Result<()> {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}
