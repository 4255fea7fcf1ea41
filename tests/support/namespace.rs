//! Private networks for a test: network namespaces with real addresses. They need root.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::skip;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Runs ip(8) with these words and returns whether it succeeded.
fn ip(words: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(words.split(' ')).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Network namespaces. Removed when dropped.
pub(crate) struct Namespaces {
    names: Vec<String>,
}

impl Namespaces {
    /// Makes `count` hosts. `None`, with a reported skip, if the machine does not permit it.
    fn make(test: &str, count: usize) -> Option<Self> {
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let id = format!("{}x{number}", std::process::id());
        let mut made = Self { names: Vec::new() };
        for n in 0..count {
            let name = format!("dl{id}n{n}");
            if !ip(&format!("netns add {name}")) {
                skip(test, "network namespaces need root and iproute2");
                return None;
            }
            ip(&format!("-n {name} link set lo up"));
            made.names.push(name);
        }
        Some(made)
    }

    /// Makes a server, 10.77.1.1 and 10.77.2.1, that routes between two hosts, 10.77.1.2 and 10.77.2.2.
    pub(crate) fn server_and_two(test: &str) -> Option<Self> {
        let made = Self::make(test, 3)?;
        let server = made.name(0);
        for n in 1..3 {
            let host = made.name(n);
            let steps = [
                format!("link add v{n} netns {server} type veth peer name v0 netns {host}"),
                format!("-n {server} addr add 10.77.{n}.1/24 dev v{n}"),
                format!("-n {server} link set v{n} up"),
                format!("-n {host} addr add 10.77.{n}.2/24 dev v0"),
                format!("-n {host} link set v0 up"),
                format!("-n {host} route add default via 10.77.{n}.1"),
            ];
            if !steps.iter().all(|step| ip(step)) {
                skip(test, "cannot make virtual Ethernet devices");
                return None;
            }
        }
        let forward = || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1");
        if made.inside(0, forward).is_err() {
            skip(test, "cannot enable IP forwarding");
            return None;
        }
        Some(made)
    }

    pub(crate) fn name(&self, index: usize) -> &str {
        &self.names[index]
    }

    /// Runs ip(8) in the namespace of a host. Panics if it fails.
    pub(crate) fn ip(&self, index: usize, words: &str) {
        let name = self.name(index);
        assert!(ip(&format!("-n {name} {words}")), "ip {words}");
    }

    /// Calls `what` in the namespace of a host. Sockets that it makes stay in that namespace.
    pub(crate) fn inside<T: Send>(&self, index: usize, what: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.names[index]);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let file = std::fs::File::open(path).expect("a namespace");
                nix::sched::setns(&file, nix::sched::CloneFlags::CLONE_NEWNET).expect("entered");
                what()
            });
            thread.join().expect("done")
        })
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns del {name}"));
        }
    }
}
