//! Listening sockets, and handing new connections to the least loaded event loop.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::connection::Connection;
use super::reactor::Reactor;
use super::stream::Stream;
use crate::config::Config;
use crate::server::{ClientFlags, ClientHandle, Peer, Server};

/// How long accepting rests after an error such as too many open files.
const ACCEPT_REST: Duration = Duration::from_millis(100);

const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";
const DENIED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is \
enabled and no password is set for the default user. In this mode connections are only accepted \
from the loopback interface. If you want to connect from external computers to Redis you may adopt \
one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET \
protected-mode no' from the loopback interface by connecting to Redis from the same host the \
server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. \
Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the \
protected mode by editing the Redis configuration file, and setting the protected mode option to \
'no', and then restarting the server. 3) If you started the server manually just for testing, \
restart it with the '--protected-mode no' option. 4) Set up an authentication password for the \
default user. NOTE: You only need to do one of the above things in order for the server to start \
accepting connections from the outside.\r\n";

/// Why a listening socket could not be had.
#[derive(Debug, Error)]
#[error("Could not create server TCP listening socket {address}: {source}")]
pub struct BindError {
    /// What was to be bound.
    pub address: String,
    /// Why not.
    pub source: io::Error,
}

/// Sockets that accept connections.
pub struct Listeners {
    tcp: Vec<std::net::TcpListener>,
    unix: Option<(std::os::unix::net::UnixListener, PathBuf)>,
}

/// Opens the sockets of `port`, `bind` and `unixsocket`.
pub fn bind(config: &Config) -> Result<Listeners, BindError> {
    Ok(Listeners { tcp: bind_all(config)?, unix: bind_unix(config)? })
}

/// Opens the sockets of `port` and `bind`.
fn bind_all(config: &Config) -> Result<Vec<std::net::TcpListener>, BindError> {
    let port = u16::try_from(config.int("port")).expect("the table bounds ports");
    let backlog = i32::try_from(config.int("tcp-backlog")).unwrap_or(i32::MAX);
    let mut tcp = Vec::new();
    if port != 0 {
        for word in config.words("bind") {
            let (optional, address) = match word.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, word.as_str()),
            };
            match bind_tcp(address, port, backlog) {
                Ok(listener) => tcp.push(listener),
                Err(error) if optional && is_unavailable(&error) => {}
                Err(source) => {
                    return Err(BindError { address: format!("{address}:{port}"), source });
                }
            }
        }
    }
    Ok(tcp)
}

/// Errors that say the machine lacks such an address, rather than that it is taken.
fn is_unavailable(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
        || error.raw_os_error() == Some(rustix::io::Errno::PROTONOSUPPORT.raw_os_error())
}

fn bind_tcp(address: &str, port: u16, backlog: i32) -> io::Result<std::net::TcpListener> {
    let ip = match address {
        "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "::*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        text => text.parse().or_else(|_| resolve(text))?,
    };
    let address = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

fn resolve(host: &str) -> io::Result<IpAddr> {
    use std::net::ToSocketAddrs;
    let mut found = (host, 0).to_socket_addrs()?;
    found.next().map(|address| address.ip()).ok_or_else(|| ErrorKind::AddrNotAvailable.into())
}

type BoundUnix = (std::os::unix::net::UnixListener, PathBuf);

fn bind_unix(config: &Config) -> Result<Option<BoundUnix>, BindError> {
    let path = config.text("unixsocket");
    if path.is_empty() {
        return Ok(None);
    }
    let open = || -> io::Result<BoundUnix> {
        let path = PathBuf::from(path);
        // A socket file that an earlier run left behind would keep the address taken.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = std::os::unix::net::UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        let mode = u32::try_from(config.int("unixsocketperm")).unwrap_or(0);
        if mode != 0 {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        }
        Ok((listener, path))
    };
    open().map(Some).map_err(|source| BindError { address: path.to_owned(), source })
}

impl Listeners {
    /// The addresses of the TCP sockets.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// The path of the unix socket.
    pub fn unix_path(&self) -> Option<&PathBuf> {
        self.unix.as_ref().map(|(_, path)| path)
    }
}

/// The TCP sockets in use, held a second time to end them from any thread, and the way to the
/// event loop that accepts on new ones.
pub struct Listening {
    sockets: Vec<std::net::TcpListener>,
    opened: UnboundedSender<std::net::TcpListener>,
}

impl Listening {
    /// Listens where `port` and `bind` say now, and nowhere else; returns the addresses.
    ///
    /// The old sockets end first, because a wildcard address and one of its own cannot be listened
    /// on at the same time. When a new one cannot be had, those of `before` are opened again.
    pub fn listen_anew(
        &mut self,
        config: &Config,
        before: &Config,
    ) -> Result<Vec<SocketAddr>, BindError> {
        for socket in self.sockets.drain(..) {
            // Its task sees the end; a socket that has ended already needs none.
            let _ = SockRef::from(&socket).shutdown(std::net::Shutdown::Both);
        }
        let opened = bind_all(config).and_then(|sockets| self.take(sockets));
        if opened.is_err()
            && let Err(error) = bind_all(before).and_then(|sockets| self.take(sockets))
        {
            tracing::warn!("No longer listening: {error}");
        }
        opened
    }

    fn take(&mut self, sockets: Vec<std::net::TcpListener>) -> Result<Vec<SocketAddr>, BindError> {
        let mut addresses = Vec::new();
        for socket in sockets {
            let failed = |source| BindError { address: String::new(), source };
            addresses.push(socket.local_addr().map_err(failed)?);
            self.sockets.push(socket.try_clone().map_err(failed)?);
            // Nobody accepts any more only when the server stops.
            let _ = self.opened.send(socket);
        }
        Ok(addresses)
    }
}

/// A connection on its way to its event loop.
pub struct Arrival {
    socket: Accepted,
    handle: Arc<ClientHandle>,
}

enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Arrival {
    /// Serves the connection on the current event loop.
    pub fn serve(self, reactor: Rc<Reactor>) {
        let stream = match self.socket {
            Accepted::Tcp(socket) => TcpStream::from_std(socket).map(Stream::Tcp),
            Accepted::Unix(socket) => UnixStream::from_std(socket).map(Stream::Unix),
        };
        match stream {
            Ok(stream) => {
                let connection = Connection::new(reactor, stream, self.handle);
                tokio::task::spawn_local(connection.run());
            }
            Err(error) => {
                tracing::warn!("Error registering fd event for the new client: {error}");
                reactor.server().clients.remove(self.handle.id);
            }
        }
    }
}

/// Accepts connections and deals them out to the event loops.
pub struct Acceptor {
    server: Arc<Server>,
    loops: Vec<UnboundedSender<Arrival>>,
    next: AtomicUsize,
}

impl Acceptor {
    /// An acceptor and the receiving ends, one for each event loop.
    pub fn new(server: Arc<Server>) -> (Rc<Self>, Vec<UnboundedReceiver<Arrival>>) {
        let (loops, receivers) = (0..server.threads()).map(|_| unbounded_channel()).unzip();
        (Rc::new(Self { server, loops, next: AtomicUsize::new(0) }), receivers)
    }

    /// Accepts on all of `listeners` in tasks of the current event loop, and on those that take their
    /// place later.
    pub fn start(self: &Rc<Self>, listeners: Listeners) -> io::Result<Listening> {
        let (opened, mut receiver) = unbounded_channel();
        let mut sockets = Vec::new();
        for listener in listeners.tcp {
            sockets.push(listener.try_clone()?);
            self.listen(listener)?;
        }
        let acceptor = Rc::clone(self);
        tokio::task::spawn_local(async move {
            while let Some(listener) = receiver.recv().await {
                if let Err(error) = acceptor.listen(listener) {
                    tracing::warn!("Unrecoverable error creating a listening socket: {error}");
                }
            }
        });
        if let Some((listener, path)) = listeners.unix {
            let (acceptor, listener) = (Rc::clone(self), UnixListener::from_std(listener)?);
            tokio::task::spawn_local(async move { acceptor.accept_unix(listener, path).await });
        }
        Ok(Listening { sockets, opened })
    }

    fn listen(self: &Rc<Self>, listener: std::net::TcpListener) -> io::Result<()> {
        let (acceptor, listener) = (Rc::clone(self), TcpListener::from_std(listener)?);
        tokio::task::spawn_local(async move { acceptor.accept_tcp(listener).await });
        Ok(())
    }

    async fn accept_tcp(&self, listener: TcpListener) {
        loop {
            let accepted = match listener.accept().await {
                Ok((stream, far)) => self.admit(stream, far),
                Err(error) if is_ended(&error) => return,
                Err(error) => Err(error),
            };
            if let Err(error) = accepted {
                rest_after(error).await;
            }
        }
    }

    /// Gives a new connection to an event loop, or turns it away.
    fn admit(&self, stream: TcpStream, far: SocketAddr) -> io::Result<()> {
        let peer = Peer::Tcp(far, stream.local_addr()?);
        self.prepare(&stream)?;
        if let Some(text) = self.refusal(&peer) {
            self.server.stats.rejected_connections.fetch_add(1, Ordering::Relaxed);
            let _ = stream.try_write(text);
            return Ok(());
        }
        let stream = stream.into_std()?;
        self.deal(stream.as_raw_fd(), Accepted::Tcp(stream), peer, 0);
        Ok(())
    }

    async fn accept_unix(&self, listener: UnixListener, path: PathBuf) {
        let path = Arc::new(path);
        loop {
            match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => {
                    let peer = Peer::Unix(Arc::clone(&path));
                    if let Some(text) = self.refusal(&peer) {
                        self.server.stats.rejected_connections.fetch_add(1, Ordering::Relaxed);
                        let _ = std::io::Write::write(&mut &stream, text);
                        continue;
                    }
                    let fd = stream.as_raw_fd();
                    self.deal(fd, Accepted::Unix(stream), peer, ClientFlags::UNIX);
                }
                Err(error) => rest_after(error).await,
            }
        }
    }

    fn prepare(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let seconds = self.server.settings.keepalive_seconds.load(Ordering::Relaxed);
        if let Ok(seconds @ 1..) = u64::try_from(seconds) {
            let interval = Duration::from_secs((seconds / 3).max(1));
            let keepalive = TcpKeepalive::new()
                .with_time(Duration::from_secs(seconds))
                .with_interval(interval)
                .with_retries(3);
            SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
        }
        Ok(())
    }

    /// Why a connection is not wanted, as the reply it gets.
    fn refusal(&self, peer: &Peer) -> Option<&'static [u8]> {
        if self.server.clients.len() >= self.server.settings.clients_max.load(Ordering::Relaxed) {
            return Some(TOO_MANY);
        }
        let local = match peer {
            Peer::Tcp(far, _) => far.ip().to_canonical().is_loopback(),
            Peer::Unix(_) => true,
        };
        let protected = !local
            && self.server.settings.password().is_none()
            && self.server.config.read().flag("protected-mode");
        protected.then_some(DENIED)
    }

    fn deal(&self, fd: i32, socket: Accepted, peer: Peer, flags: u32) {
        let server = &self.server;
        let guarded = server.settings.password().is_some();
        let flags = flags | if guarded { ClientFlags::UNAUTHENTICATED } else { 0 };
        let thread = self.least_loaded();
        let id = server.clients.next_id();
        let handle = Arc::new(ClientHandle::new(id, fd, peer, server.now_ms(), thread, flags));
        server.clients.add(Arc::clone(&handle));
        server.stats.connections.fetch_add(1, Ordering::Relaxed);
        if self.loops[thread].send(Arrival { socket, handle }).is_err() {
            server.clients.remove(id);
        }
    }

    /// The event loop with the fewest connections; among equals they take turns.
    fn least_loaded(&self) -> usize {
        let loads = self.server.clients.loads(self.loops.len());
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..loads.len())
            .map(|step| (first + step) % loads.len())
            .min_by_key(|thread| loads[*thread])
            .expect("there is at least one event loop")
    }
}

/// Whether `accept` failed because the socket was shut down by [`Listening::listen_anew`].
fn is_ended(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error())
}

async fn rest_after(error: io::Error) {
    tracing::warn!("Accepting client connection: {error}");
    tokio::time::sleep(ACCEPT_REST).await;
}
