//! The arguments with which a process inside the sandbox may make a system call, or may not.

use libc::c_long;
use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// Conditions on the arguments of a call, one of which must hold; none if the call is allowed with any arguments.
pub(super) type Conditions = Vec<SeccompRule>;

/// A call and the conditions on its arguments.
pub(super) type Rule = (c_long, Conditions);

/// Calls that a process with `Calls::Programs` may not make with some arguments.
pub(super) fn of_programs() -> Result<Vec<Rule>, BackendError> {
    let mut all = Vec::new();
    let spaces = NAMESPACES.iter().map(|flag| with(0, *flag));
    all.push((libc::SYS_clone, spaces.collect::<Result<_, _>>()?));
    // The families that nss modules use: a daemon of this machine, a server, or the routes of this machine.
    let families = [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
    ];
    let none = families.map(|family| int(0, SeccompCmpOp::Ne, family));
    let none = none.into_iter().collect::<Result<_, _>>()?;
    all.push((libc::SYS_socket, vec![SeccompRule::new(none)?]));
    let raw = [libc::AF_INET, libc::AF_INET6].map(|family| {
        SeccompRule::new(vec![
            int(0, SeccompCmpOp::Eq, family)?,
            int(1, SeccompCmpOp::MaskedEq(SOCKET_TYPE), libc::SOCK_RAW)?,
        ])
    });
    for rule in raw {
        all.push((libc::SYS_socket, vec![rule?]));
    }
    let both = bits(libc::PROT_WRITE | libc::PROT_EXEC);
    all.push((libc::SYS_mmap, vec![with(2, both)?]));
    // The dynamic linker maps code, and changes no memory to code.
    all.push((libc::SYS_mprotect, vec![with(2, bits(libc::PROT_EXEC))?]));
    Ok(all)
}

/// The part of the type of a socket without its flags (`SOCK_TYPE_MASK` of the kernel).
const SOCKET_TYPE: u64 = 0xf;

/// The flags of clone(2) that make namespaces. That for time is one of unshare(2) only.
const NAMESPACES: [u64; 7] = [
    bits(libc::CLONE_NEWNS),
    bits(libc::CLONE_NEWCGROUP),
    bits(libc::CLONE_NEWUTS),
    bits(libc::CLONE_NEWIPC),
    bits(libc::CLONE_NEWUSER),
    bits(libc::CLONE_NEWPID),
    bits(libc::CLONE_NEWNET),
];

/// What fork(2) of the C libraries asks of clone(2): the exit signal, and the thread ID in the memory of the child.
const OF_FORK: u64 = 0xff | bits(libc::CLONE_CHILD_SETTID) | bits(libc::CLONE_CHILD_CLEARTID);

/// Calls that all processes need with some arguments only.
pub(super) fn limited() -> Result<Vec<Rule>, BackendError> {
    let exec = bits(libc::PROT_EXEC);
    let fcntl = [
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_SETPIPE_SZ,
        libc::F_GETPIPE_SZ,
    ];
    // Not F_SETOWN and F_SETSIG, which signal other processes.
    let prctl = [
        libc::PR_SET_PDEATHSIG,
        libc::PR_SET_NAME,
        // glibc names its memory.
        PR_SET_VMA,
        libc::PR_GET_DUMPABLE,
    ];
    Ok(vec![
        (libc::SYS_mmap, vec![without(2, exec)?]),
        (libc::SYS_mprotect, vec![without(2, exec)?]),
        (libc::SYS_clone, vec![without(0, !OF_FORK)?]),
        (libc::SYS_fcntl, one_of(1, &fcntl)?),
        (libc::SYS_prctl, one_of(0, &prctl)?),
        // Another filter, which can only refuse more.
        (libc::SYS_seccomp, one_of(0, &[SET_MODE_FILTER])?),
        // abort(3), by which a process ends that gets no more memory.
        (libc::SYS_tgkill, one_of(2, &[libc::SIGABRT])?),
        (libc::SYS_tkill, one_of(1, &[libc::SIGABRT])?),
        // Of this process only.
        (libc::SYS_prlimit64, one_of(0, &[0])?),
        // Lines for syslogd, and answers.
        (libc::SYS_sendto, vec![without(3, FAST_OPEN)?]),
        (libc::SYS_sendmsg, vec![without(2, FAST_OPEN)?]),
    ])
}

/// `SECCOMP_SET_MODE_FILTER` of linux/seccomp.h.
const SET_MODE_FILTER: libc::c_int = 1;

/// `PR_SET_VMA` of linux/prctl.h.
const PR_SET_VMA: libc::c_int = 0x5356_4d41;

/// The flag of send(2) that connects a TCP socket.
const FAST_OPEN: u64 = bits(libc::MSG_FASTOPEN);

/// Calls that the master and its children need with some arguments only.
pub(super) fn of_serving() -> Result<Vec<Rule>, BackendError> {
    // To ask the login helper.
    let families = [libc::AF_UNIX];
    let options = [
        (libc::IPPROTO_TCP, libc::TCP_NODELAY),
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
        (libc::IPPROTO_TCP, libc::TCP_CORK),
        (libc::SOL_SOCKET, libc::SO_LINGER),
        (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
        (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    ];
    let options = options.iter().map(|(level, option)| {
        SeccompRule::new(vec![
            int(1, SeccompCmpOp::Eq, *level)?,
            int(2, SeccompCmpOp::Eq, *option)?,
        ])
    });
    // The master ends its children, or asks them to yield, one by one.
    let kill = [libc::SIGTERM, libc::SIGKILL, libc::SIGUSR2].map(|signal| {
        SeccompRule::new(vec![
            int(0, SeccompCmpOp::MaskedEq(SIGN), 0)?,
            int(0, SeccompCmpOp::Ne, 0)?,
            int(1, SeccompCmpOp::Eq, signal)?,
        ])
    });
    Ok(vec![
        (libc::SYS_socketpair, one_of(0, &families)?),
        (libc::SYS_ioctl, one_of(1, &REQUESTS)?),
        (libc::SYS_setsockopt, options.collect::<Result<_, _>>()?),
        (libc::SYS_kill, kill.into_iter().collect::<Result<_, _>>()?),
    ])
}

/// Requests of ioctl(2), from asm-generic/ioctls.h, because the C libraries give them different types: TIOCOUTQ,
/// FIONREAD and FIONBIO for connections, TCGETS to detect a terminal.
const REQUESTS: [libc::c_int; 4] = [0x5411, 0x541b, 0x5421, 0x5401];

/// The sign bit of a PID: a negative one stands for a process group.
const SIGN: u64 = 1 << 31;

/// Returns the bits of a flag, without an extension of its sign.
const fn bits(flag: libc::c_int) -> u64 {
    flag.cast_unsigned() as u64
}

/// Returns a condition on an argument whose type is int, of which the kernel ignores the upper half.
fn int(arg: u8, op: SeccompCmpOp, value: libc::c_int) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(arg, SeccompCmpArgLen::Dword, op, bits(value))
}

/// The argument is one of these values.
fn one_of(arg: u8, values: &[libc::c_int]) -> Result<Conditions, BackendError> {
    let one = |value: &libc::c_int| SeccompRule::new(vec![int(arg, SeccompCmpOp::Eq, *value)?]);
    values.iter().map(one).collect()
}

/// The argument has all of these bits.
fn with(arg: u8, bits: u64) -> Result<SeccompRule, BackendError> {
    masked(arg, bits, bits)
}

/// The argument has none of these bits.
fn without(arg: u8, bits: u64) -> Result<SeccompRule, BackendError> {
    masked(arg, bits, 0)
}

fn masked(arg: u8, mask: u64, value: u64) -> Result<SeccompRule, BackendError> {
    let op = SeccompCmpOp::MaskedEq(mask);
    SeccompRule::new(vec![SeccompCondition::new(
        arg,
        SeccompCmpArgLen::Qword,
        op,
        value,
    )?])
}
