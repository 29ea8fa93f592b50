//! A filter of system calls (seccomp(2)): those with which a program reaches into other processes or deep into the
//! kernel, and which no agent needs. What namespaces and capabilities forbid already is forbidden once more, because a
//! hole in the kernel is most often behind one of these.

use super::Layers;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter, sock_filter,
};
use std::collections::BTreeMap;

/// Refused with `EPERM`.
const REFUSED: &[i64] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // Namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    // Programs, keys and memory in the kernel's hands.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // The machine.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
];

/// The flags of `clone` that make a namespace.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// The families of sockets that there are: the others reach past a network of its own (vsock the machine's hypervisor),
/// or are kernel that no agent needs.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// The calls that give a file its mode, and which argument the mode is. An agent of a daemon that is root makes files of
/// root's: one that sets the user who runs it would be root's for whoever finds it.
const MODES: &[(i64, u8)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, 1),
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    (FCHMODAT2, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, 1),
    (libc::SYS_mknodat, 2),
];

/// Those that give one where their flags say so; which argument the flags are, and the mode.
const OPENING: &[(i64, u8, u8)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1, 2),
    (libc::SYS_openat, 2, 3),
];

/// `fchmodat2`, which has one number everywhere.
const FCHMODAT2: i64 = 452;

/// System calls from here on are those of x32, a second interface of some kernels under numbers of its own.
const X32: u32 = 0x4000_0000;

/// Applies the filter to this process and all it starts.
pub(super) fn apply(layers: &mut Layers) {
    let applied = programs()
        .map_err(seccompiler::Error::from)
        .and_then(|programs| programs.iter().try_for_each(|program| apply_filter(program)));
    match applied {
        Ok(()) => layers.enforced.push("a filter of system calls".into()),
        Err(error) => layers.missing.push(format!("no filter of system calls: {error}")),
    }
}

fn programs() -> Result<[BpfProgram; 4], BackendError> {
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let flags = u64::from(NAMESPACES.unsigned_abs());
    let each = (0..u64::BITS).map(|bit| 1 << bit).filter(|bit| flags & bit != 0);
    let making = each.map(|bit| rule(0, bit)).collect::<Result<_, _>>()?;
    refused.insert(libc::SYS_clone, making);
    refused.extend(set_ids()?);
    // What these are asked lies in memory, where a filter cannot see it: programs then use `clone` and `openat`.
    let unknown = [libc::SYS_clone3, libc::SYS_openat2].map(|call| (call, Vec::new())).into();
    let sockets =
        [libc::SYS_socket, libc::SYS_socketpair].map(|call| Ok((call, vec![stranger()?])));
    let sockets = sockets.into_iter().collect::<Result<_, BackendError>>()?;
    Ok([
        filter(refused, libc::EPERM)?,
        filter(unknown, libc::ENOSYS)?,
        filter(sockets, libc::EAFNOSUPPORT)?,
        no_x32(),
    ])
}

/// Matches a call whose first argument is none of the families.
fn stranger() -> Result<SeccompRule, BackendError> {
    let other = |family: i32| {
        let family = u64::from(family.unsigned_abs());
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
    };
    SeccompRule::new(FAMILIES.into_iter().map(other).collect::<Result<_, _>>()?)
}

/// Answers every call of x32 with `ENOSYS`, as a kernel without it does: the other filters go by numbers.
fn no_x32() -> BpfProgram {
    let step = |code: u32, jt: u8, k: u32| sock_filter { code: code as u16, jt, jf: 0, k };
    vec![
        // The number is the first word of what a filter is given.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, X32),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
    ]
}

/// Matches every call that makes a file set the user or the group of whoever runs it.
fn set_ids() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let bits = [libc::S_ISUID, libc::S_ISGID].map(u64::from);
    let mut calls = BTreeMap::new();
    for (call, mode) in MODES {
        let rules = bits.into_iter().map(|bit| rule(*mode, bit)).collect::<Result<_, _>>()?;
        calls.insert(*call, rules);
    }
    // `O_TMPFILE` without what it has in common with `O_DIRECTORY`.
    let making = [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY];
    for (call, flags, mode) in OPENING {
        let mut rules = Vec::new();
        for (bit, made) in bits.into_iter().flat_map(|bit| making.map(|made| (bit, made))) {
            let made = u64::from(made.unsigned_abs());
            rules.push(SeccompRule::new(vec![has(*flags, made)?, has(*mode, bit)?])?);
        }
        calls.insert(*call, rules);
    }
    Ok(calls)
}

/// Matches a call one of whose arguments has all of these bits.
fn rule(argument: u8, bits: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![has(argument, bits)?])
}

fn has(argument: u8, bits: u64) -> Result<SeccompCondition, BackendError> {
    let all = SeccompCmpOp::MaskedEq(bits);
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, all, bits)
}

fn filter(calls: BTreeMap<i64, Vec<SeccompRule>>, error: i32) -> Result<BpfProgram, BackendError> {
    let answer = SeccompAction::Errno(error.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(calls, SeccompAction::Allow, answer, arch)?.try_into()
}
