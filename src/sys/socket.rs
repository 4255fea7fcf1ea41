//! TCP and Unix sockets: listening, accepting, and the delivery status of written data.

use std::io::{self, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, UnixAddr,
    sockopt,
};
use nix::sys::stat::Mode;

use super::dir::Dir;
use super::peer::Peer;

/// The maximum number of connections that the kernel queues until they are accepted.
const BACKLOG: i32 = 4096;
/// How long the kernel holds back a connection whose client has sent nothing, in seconds.
const DEFER_SECONDS: libc::c_int = 5;

/// A socket for incoming connections.
#[derive(Debug)]
pub(crate) enum Listener {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A connection of a Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Shuts down the writing side (shutdown(2)).
    pub(crate) fn end_writing(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// Writes the last bytes before [`end_writing`](Self::end_writing): they leave in one packet with the end of the
    /// stream (send(2), MSG_MORE). Returns the number of bytes written.
    pub(crate) fn write_last(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = MsgFlags::from_bits_retain(libc::MSG_MORE) | MsgFlags::MSG_NOSIGNAL;
        Ok(nix::sys::socket::send(
            self.as_fd().as_raw_fd(),
            bytes,
            flags,
        )?)
    }

    /// Appends at most `room` received bytes to `buffer` (recv(2)), and returns their number. Does not touch memory
    /// beyond them.
    pub(crate) fn read_onto(&self, buffer: &mut Vec<u8>, room: usize) -> io::Result<usize> {
        buffer.reserve(room);
        let spare = buffer.spare_capacity_mut();
        let room = room.min(spare.len());
        // SAFETY: the pointer is to `room` writable bytes.
        let n = unsafe { libc::recv(self.as_fd().as_raw_fd(), spare.as_mut_ptr().cast(), room, 0) };
        let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: recv(2) has initialized `n` of them.
        unsafe { buffer.set_len(buffer.len() + n) };
        Ok(n)
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(buffer),
            Stream::Unix(stream) => (&*stream).read(buffer),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(bytes),
            Stream::Unix(stream) => (&*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Binds a Unix socket with the name `name` in `dir`. All users of this machine may connect to it once it listens.
/// Removes a file that an earlier process left there: the caller must make sure that no process uses it. Changes the
/// umask for a moment, so there must be only one thread.
///
/// # Errors
/// Those of `unlink(2)` and `bind(2)`. `InvalidInput` for a path of more than 107 bytes.
pub(crate) fn bind_in(dir: &Dir, name: &str) -> io::Result<UnixListener> {
    match dir.remove(name) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let path = dir.path_of(name);
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "its path is too long");
    let address = UnixAddr::new(&path).map_err(too_long)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // The umask selects the mode. chmod(2) by path could reach another file: the owner of the directory may exchange
    // the socket after bind(2).
    let umask = nix::sys::stat::umask(Mode::from_bits_truncate(0o111));
    let bound = nix::sys::socket::bind(fd.as_raw_fd(), &address);
    nix::sys::stat::umask(umask);
    bound?;
    Ok(UnixListener::from(fd))
}

/// Like [`bind_in`], but removes only the socket of a process that has ended.
///
/// # Errors
/// Those of [`bind_in`]; `AlreadyExists` for another file, `AddrInUse` when a process listens on the socket.
pub(crate) fn bind_unused_in(dir: &Dir, name: &str) -> io::Result<UnixListener> {
    match dir.is_socket(name)? {
        Some(false) => {
            let what = "there is a file that is not a socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
        }
        // A process whose queue is full listens as well.
        Some(true) if is_served(&dir.path_of(name))? => return Err(Errno::EADDRINUSE.into()),
        Some(true) | None => {}
    }
    bind_in(dir, name)
}

fn is_served(path: &Path) -> io::Result<bool> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match nix::sys::socket::connect(fd.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(false),
        Ok(()) | Err(Errno::EAGAIN) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

/// Returns the listening sockets that the service manager passed to this process (sd_listen_fds(3)), non-blocking.
///
/// # Errors
/// When the environment variables are invalid, or a descriptor is not a listening stream socket.
pub(crate) fn inherited_listeners() -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for fd in sd_notify::listen_fds()? {
        // SAFETY: by the protocol, this process owns the descriptor. Each is taken once.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let listens = nix::sys::socket::getsockopt(&fd, sockopt::AcceptConn)?;
        let kind = nix::sys::socket::getsockopt(&fd, sockopt::SockType)?;
        if !listens || kind != SockType::Stream {
            let what =
                "a descriptor is not a listening stream socket (Accept=yes is not supported)";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let address: SockaddrStorage = nix::sys::socket::getsockname(fd.as_raw_fd())?;
        let listener = if address.as_unix_addr().is_some() {
            let listener = UnixListener::from(fd);
            listener.set_nonblocking(true)?;
            Listener::Unix(listener)
        } else {
            let listener = TcpListener::from(fd);
            listener.set_nonblocking(true)?;
            set_tcp_option(listener.as_fd(), libc::TCP_DEFER_ACCEPT, DEFER_SECONDS)?;
            Listener::Tcp(listener)
        };
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Makes a TCP socket that can be bound to `address`. `[::]` accepts IPv4 connections as well.
///
/// The kernel holds back clients that send nothing for some seconds (TCP_DEFER_ACCEPT, see tcp(7)):
/// most of them never cost a process.
pub(crate) fn unbound(address: SocketAddr) -> io::Result<TcpListener> {
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
    set_tcp_option(fd.as_fd(), libc::TCP_DEFER_ACCEPT, DEFER_SECONDS)?;
    Ok(TcpListener::from(fd))
}

/// Binds a socket that [`unbound`] has made. If it fails, it can be tried again.
pub(crate) fn bind(socket: &TcpListener, address: SocketAddr) -> io::Result<()> {
    let address = SockaddrStorage::from(address);
    Ok(nix::sys::socket::bind(socket.as_raw_fd(), &address)?)
}

/// Listens on a bound socket. Until then the kernel refuses connections to it.
///
/// # Errors
/// Those of `listen(2)`: `AddrInUse` when another socket bound to the same port already listens.
pub(crate) fn listen(listener: &impl AsFd) -> io::Result<()> {
    Ok(nix::sys::socket::listen(
        &listener.as_fd(),
        Backlog::new(BACKLOG)?,
    )?)
}

/// Accepts the next waiting connection, and makes it non-blocking. The address of an IPv4 client of an IPv6
/// socket is returned as an IPv4 address.
///
/// # Errors
/// Those of `accept(2)`; `WouldBlock` when none is waiting.
pub(crate) fn accept(listener: &Listener) -> io::Result<(Stream, Peer)> {
    match listener {
        Listener::Tcp(listener) => {
            let (fd, storage) = accept_from(listener.as_fd())?;
            Ok((Stream::Tcp(fd.into()), Peer::Inet(address_of(&storage))))
        }
        Listener::Unix(listener) => {
            let (fd, _) = accept_from(listener.as_fd())?;
            let who = nix::sys::socket::getsockopt(&fd, sockopt::PeerCredentials)?;
            let (uid, pid) = (who.uid(), who.pid());
            Ok((Stream::Unix(fd.into()), Peer::Local { uid, pid }))
        }
    }
}

fn accept_from(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, libc::sockaddr_storage)> {
    // SAFETY: all fields are integers, for which zero is valid.
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
    // SAFETY: accept4(2) has just created this descriptor. It has no other owner.
    Ok((unsafe { OwnedFd::from_raw_fd(fd) }, storage))
}

fn address_of(storage: &libc::sockaddr_storage) -> SocketAddr {
    let (ip, port) = match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family identifies the structure that the kernel wrote.
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

/// The delivery status of the data, and of the end of stream, written to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// TCP: the peer's kernel has acknowledged all data and our FIN, and has sent its own FIN. Unix: the peer
    /// has read all data. The status is final.
    Acknowledged,
    /// Not yet known.
    Pending,
    /// The connection was reset or timed out.
    Lost,
}

/// Returns the delivery status of `stream`, whose writing side was shut down.
pub(crate) fn fate(stream: &Stream) -> io::Result<Fate> {
    let error = match stream {
        Stream::Tcp(stream) => stream.take_error(),
        Stream::Unix(stream) => stream.take_error(),
    };
    if error?.is_some() {
        return Ok(Fate::Lost);
    }
    let mut unacknowledged: libc::c_int = 0;
    // SAFETY: the request writes one int to the pointer (SIOCOUTQ of tcp(7), which equals TIOCOUTQ).
    let done = unsafe {
        libc::ioctl(
            stream.as_fd().as_raw_fd(),
            libc::TIOCOUTQ,
            &raw mut unacknowledged,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let is_over = match stream {
        Stream::Tcp(stream) => state(stream)? == TCP_CLOSE,
        // Bytes leave the queue of a Unix socket when the peer reads them.
        Stream::Unix(_) => true,
    };
    if unacknowledged == 0 && is_over {
        return Ok(Fate::Acknowledged);
    }
    Ok(Fate::Pending)
}

/// The state of a connection that has ended (`TCP_CLOSE` in the kernel's `tcp_states.h`).
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

/// Makes the kernel send each write at once instead of together with the next (TCP_NODELAY). For request-reply traffic.
pub(crate) fn send_at_once(stream: &Stream) -> io::Result<()> {
    match stream {
        Stream::Tcp(stream) => stream.set_nodelay(true),
        Stream::Unix(_) => Ok(()),
    }
}

/// Makes the kernel time `stream` out when the peer has not acknowledged sent data for `limit` (TCP_USER_TIMEOUT of
/// tcp(7)): it detects a peer that has vanished.
pub(crate) fn give_up_after(stream: &Stream, limit: Duration) -> io::Result<()> {
    let Stream::Tcp(stream) = stream else {
        // The kernel reports the end of a local peer at once.
        return Ok(());
    };
    let millis = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
    set_tcp_option(stream.as_fd(), libc::TCP_USER_TIMEOUT, millis)
}

/// Makes the kernel probe an idle connection (SO_KEEPALIVE of socket(7)), so that it detects within about `limit` that
/// the peer has vanished.
pub(crate) fn check_for_life(stream: &Stream, limit: Duration) -> io::Result<()> {
    let Stream::Tcp(stream) = stream else {
        return Ok(());
    };
    nix::sys::socket::setsockopt(stream, sockopt::KeepAlive, &true)?;
    let third = libc::c_int::try_from(limit.as_secs() / 3).unwrap_or(libc::c_int::MAX);
    for option in [libc::TCP_KEEPIDLE, libc::TCP_KEEPINTVL] {
        set_tcp_option(stream.as_fd(), option, third.max(1))?;
    }
    Ok(())
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
