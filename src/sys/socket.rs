//! TCP sockets: listening, accepting, and finding out what has become of what was written.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, sockopt,
};

/// How many connections the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 4096;
/// For how many seconds the kernel holds back a connection whose client has not said anything.
const DEFER_SECONDS: libc::c_int = 5;

/// Listens on `address`, without blocking in `accept`. `[::]` takes IPv4 connections as well.
///
/// Clients that say nothing are held back by the kernel for some seconds (TCP_DEFER_ACCEPT, see
/// tcp(7)): most of them never cost a process.
///
/// # Errors
/// Those of `socket(2)`, `bind(2)` and `listen(2)`.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = nix::sys::socket::socket(family, SockType::Stream, flags, SockProtocol::Tcp)?;
    nix::sys::socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if let SocketAddr::V6(v6) = address {
        let only = *v6.ip() != Ipv6Addr::UNSPECIFIED;
        nix::sys::socket::setsockopt(&fd, sockopt::Ipv6V6Only, &only)?;
    }
    nix::sys::socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    set_tcp_option(fd.as_fd(), libc::TCP_DEFER_ACCEPT, DEFER_SECONDS)?;
    nix::sys::socket::listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(TcpListener::from(fd))
}

/// The next waiting connection, non-blocking, and where it comes from. An IPv4 address that came in
/// on an IPv6 socket is given as what it is.
///
/// # Errors
/// Those of `accept(2)`; `WouldBlock` when none is waiting.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    // SAFETY: a socket address of any family is valid when all its bytes are zero.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut len = size_of_u32::<libc::sockaddr_storage>();
    // SAFETY: the pointers are to live values, and `len` is the size of the first.
    let fd: RawFd = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            (&raw mut storage).cast(),
            &raw mut len,
            libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows of it.
    let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((stream, address_of(&storage)))
}

fn address_of(storage: &libc::sockaddr_storage) -> SocketAddr {
    let (ip, port) = match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is what the kernel wrote.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            (IpAddr::V4(ip), v4.sin_port)
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            (IpAddr::V6(ip).to_canonical(), v6.sin6_port)
        }
        _ => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    };
    SocketAddr::new(ip, u16::from_be(port))
}

/// What is known of the bytes, and of the end, that were written to a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The other kernel has acknowledged all of it, our end of the stream included, and has ended its
    /// own side: nothing more will happen.
    Acknowledged,
    /// Not yet known.
    Pending,
    /// The connection was reset, or timed out.
    Lost,
}

/// What has become of everything written to `stream`, whose writing side was shut down.
///
/// # Errors
/// When the kernel cannot tell.
pub(crate) fn fate(stream: &TcpStream) -> io::Result<Fate> {
    if stream.take_error()?.is_some() {
        return Ok(Fate::Lost);
    }
    let mut unacknowledged: libc::c_int = 0;
    // SAFETY: this request writes one int to the pointer (tcp(7), SIOCOUTQ, which is TIOCOUTQ).
    let done = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut unacknowledged) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    if unacknowledged == 0 && state(stream)? == TCP_CLOSE {
        return Ok(Fate::Acknowledged);
    }
    Ok(Fate::Pending)
}

/// The kernel's number for a connection that has ended (`TCP_CLOSE` in its `tcp_states.h`).
const TCP_CLOSE: u8 = 7;

fn state(stream: &TcpStream) -> io::Result<u8> {
    // SAFETY: all fields are integers, for which zero is valid.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut len = size_of_u32::<libc::tcp_info>();
    // SAFETY: the pointers are to live values, and `len` is the size of the first.
    let done = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(info.tcpi_state)
}

/// Gives up `stream` when the other kernel has not acknowledged something for as long as `limit` (TCP_USER_TIMEOUT
/// of tcp(7)): whoever vanished without a word is not waited for.
///
/// # Errors
/// Those of `setsockopt(2)`.
pub(crate) fn give_up_after(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    let millis = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
    set_tcp_option(stream.as_fd(), libc::TCP_USER_TIMEOUT, millis)
}

fn set_tcp_option(fd: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer is to a live int, and the length is its size.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of_u32::<libc::c_int>(),
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "a few hundred bytes")]
const fn size_of_u32<T>() -> libc::socklen_t {
    mem::size_of::<T>() as libc::socklen_t
}
