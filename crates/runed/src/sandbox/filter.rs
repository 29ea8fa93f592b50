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
    // Its flags lie in memory, where a filter cannot see them: programs then use `clone`.
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let sockets = [libc::SYS_socket, libc::SYS_socketpair].map(|call| Ok((call, vec![stranger()?])));
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

/// Matches a call one of whose arguments has all of these bits.
fn rule(argument: u8, bits: u64) -> Result<SeccompRule, BackendError> {
    let has = SeccompCmpOp::MaskedEq(bits);
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Qword, has, bits)?])
}

fn filter(calls: BTreeMap<i64, Vec<SeccompRule>>, error: i32) -> Result<BpfProgram, BackendError> {
    let answer = SeccompAction::Errno(error.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(calls, SeccompAction::Allow, answer, arch)?.try_into()
}
