//! Limits, capabilities, descriptors: what a process gives up by itself.

use super::{Failure, Layers, Report, failed, filter, namespaces, rules};
use crate::process::Order;
use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs;
use std::io;

/// Open files of one process.
const FILES: u64 = 4096;
/// Bytes of one file: a runaway log does not fill the disk at once.
const FILE_SIZE: u64 = 4 << 30;
/// Descriptors looked at where `/proc` does not list them.
const DESCRIPTORS: i32 = 65_536;
/// How much later than the daemons an agent gets a processor (nice(2)).
const NICENESS: i32 = 5;

/// Closes every descriptor that this process was started with, but the first three and the report.
pub(super) fn close_inherited(report: &Report) -> io::Result<()> {
    let keep = report.number();
    let numbers: Vec<i32> = match fs::read_dir("/proc/self/fd") {
        Ok(entries) => {
            let names = entries.flatten().map(|entry| entry.file_name());
            names.filter_map(|name| name.to_str()?.parse().ok()).collect()
        }
        Err(_) => (3..DESCRIPTORS).collect(),
    };
    for number in numbers.into_iter().filter(|number| *number > 2 && Some(*number) != keep) {
        match nix::unistd::close(number) {
            // The one through which the list was read is closed already.
            Ok(()) | Err(nix::errno::Errno::EBADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Leaves some processors to the rest of the machine. A program can undo this, and the nearest thing to a share of a
/// processor without control groups is a whole one.
fn share_processors(order: &Order, layers: &mut Layers) {
    let wanted = usize::try_from(order.limits.cpu_milli.div_ceil(1000)).unwrap_or(usize::MAX);
    // Runs do not all get the first ones.
    let first = order.run.bytes().map(usize::from).sum::<usize>();
    let shared = sched_getaffinity(None).and_then(|all| {
        let there: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
        let mut set = CpuSet::new();
        for cpu in
            there.iter().cycle().skip(first % there.len().max(1)).take(wanted.min(there.len()))
        {
            set.set(*cpu);
        }
        sched_setaffinity(None, &set)
    });
    match shared.and_then(|()| rustix::process::nice(NICENESS)) {
        Ok(_) => layers.enforced.push("some processors only, unless a program undoes that".into()),
        Err(error) => layers.missing.push(format!("processors are not bounded: {error}")),
    }
}

/// Gives up what an agent does not need, and can never have back.
pub(super) fn confine(order: &Order, layers: &mut Layers) -> Result<(), Failure> {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    share_processors(order, layers);
    limits(order, layers)?;
    rustix::thread::set_no_new_privs(true).map_err(failed("cannot forbid new privileges"))?;
    namespaces::empty_bounding_set();
    namespaces::drop_capabilities().map_err(failed("cannot drop the capabilities"))?;
    layers.enforced.push("no capabilities, no new privileges".into());
    if !layers.users && rustix::process::getuid().is_root() {
        layers.missing.push("agents are root by name, without its capabilities".into());
    }
    if order.without.landlock {
        layers.missing.push("no Landlock: it is left out by order".into());
    } else if let Err(error) = rules::restrict(order, layers) {
        layers.missing.push(format!("no Landlock: {}", kit::chain(&error)));
    }
    filter::apply(layers);
    Ok(())
}

/// Bounds each process. What bounds the run as a whole is the shim, which looks at all of them together.
fn limits(order: &Order, layers: &mut Layers) -> Result<(), Failure> {
    // Not the address space: runtimes reserve hundreds of times what they use.
    let memory = u64::from(order.limits.memory_mib) << 20;
    let mut wanted = vec![
        (Resource::Core, 0),
        (Resource::Data, memory),
        (Resource::Nofile, FILES),
        (Resource::Fsize, FILE_SIZE),
        (Resource::Memlock, 1 << 20),
    ];
    if layers.users {
        // Counted in the namespace, and not for root. Outside of one it would count the daemon's processes too.
        wanted.push((Resource::Nproc, u64::from(order.limits.pids)));
    }
    for (resource, most) in wanted {
        // A hard limit that is lower already stays.
        let most = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(failed("cannot set a resource limit"))?;
    }
    layers.enforced.push("limits on memory, files and time; no core dumps".into());
    Ok(())
}

/// Lets no process of the same user look into this one.
pub(super) fn close_to_others() -> Result<(), Failure> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(failed("cannot close this process to others"))
}
