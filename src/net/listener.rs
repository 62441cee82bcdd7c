//! Listening sockets, and handing new connections to the least loaded event loop.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::bind::{BindError, BoundUnix, Port, Protocol, bind_unix};
use super::connection::Connection;
use super::reactor::Reactor;
use super::stream::Stream;
use super::tls::{Session, Tls, TlsSlot, secure};
use crate::base::limits::TLS_HANDSHAKE_MAX;
use crate::config::Config;
use crate::server::{ClientFlags, ClientHandle, Couriers, Listener, Peer, Secure, Server};

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

/// Sockets that accept connections.
pub struct Listeners {
    ports: [Port; 2],
    unix: Option<BoundUnix>,
    tls: Option<Arc<Tls>>,
    outgoing: Option<Secure>,
}

/// Opens the sockets of `port`, `tls-port`, `bind` and `unixsocket`.
pub fn bind(config: &Config) -> Result<Listeners, BindError> {
    let (tls, outgoing) = (Tls::of(config)?, secure(config)?);
    let plain = Port::open(config, Protocol::Plain)?;
    let unix = bind_unix(config)?;
    let ports = [plain, Port::open(config, Protocol::Tls)?];
    let listeners = Listeners { ports, unix, tls, outgoing };
    if listeners.shown().is_empty() {
        return Err(BindError::Nowhere);
    }
    Ok(listeners)
}

impl Listeners {
    /// What INFO shows of them.
    pub fn shown(&self) -> Vec<Listener> {
        shown(&self.ports, self.unix_path().map(PathBuf::as_path))
    }

    /// The path of the unix socket.
    pub fn unix_path(&self) -> Option<&PathBuf> {
        self.unix.as_ref().map(|(_, path)| path)
    }
}

/// What INFO shows, in the order of Redis.
fn shown(ports: &[Port; 2], unix: Option<&Path>) -> Vec<Listener> {
    let unix = unix.map(|path| Listener {
        kind: "unix",
        binds: vec![path.display().to_string()],
        port: 0,
    });
    let [plain, tls] = ports.each_ref().map(Port::listener);
    plain.into_iter().chain(unix).chain(tls).collect()
}

/// The TCP sockets in use, held a second time to end them from any thread, and the way to the
/// event loop that accepts on new ones.
pub struct Listening {
    ports: [Port; 2],
    unix: Option<PathBuf>,
    opened: UnboundedSender<(Protocol, std::net::TcpListener)>,
    tls: TlsSlot,
    couriers: Couriers,
}

impl Listening {
    /// Listens where `port`, `tls-port` and `bind` say now, and nowhere else, and speaks TLS as the
    /// directives and their files say; returns what INFO shows. If that is not possible, everything
    /// stays as `before` says.
    ///
    /// Old sockets end before new ones are opened, because a wildcard address and one of its own cannot
    /// be listened on at the same time.
    pub fn listen_anew(
        &mut self,
        config: &Config,
        before: &Config,
    ) -> Result<Vec<Listener>, BindError> {
        let (tls, outgoing) = (Tls::of(config)?, secure(config)?);
        let moved =
            |port: &Port| !port.is_as(config) || config.words("bind") != before.words("bind");
        let moving: Vec<_> =
            self.ports.iter().filter(|port| moved(port)).map(Port::protocol).collect();
        for port in self.ports.iter_mut().filter(|port| moving.contains(&port.protocol())) {
            for socket in port.sockets.drain(..) {
                // Its task sees the end; a socket that has ended already needs none.
                let _ = SockRef::from(&socket).shutdown(std::net::Shutdown::Both);
            }
        }
        if let Err(error) = self.open(config, &moving) {
            if let Err(error) = self.open(before, &moving) {
                tracing::warn!("No longer listening: {error}");
            }
            return Err(error);
        }
        *self.tls.write() = tls;
        self.couriers.set_secure(outgoing);
        Ok(shown(&self.ports, self.unix.as_deref()))
    }

    /// Opens the sockets of the ports that are `moving`, or none of them.
    fn open(&mut self, config: &Config, moving: &[Protocol]) -> Result<(), BindError> {
        let opened: Result<Vec<_>, _> =
            moving.iter().map(|protocol| Port::open(config, *protocol)).collect();
        for port in opened? {
            for socket in &port.sockets {
                let copy = socket.try_clone().map_err(|_| port.failed())?;
                // Nobody accepts any more only when the server stops.
                let _ = self.opened.send((port.protocol(), copy));
            }
            let place = &mut self.ports[port.protocol() as usize];
            *place = port;
        }
        Ok(())
    }
}

/// A connection on its way to its event loop.
pub struct Arrival {
    socket: Accepted,
    handle: Arc<ClientHandle>,
}

enum Accepted {
    Tcp(std::net::TcpStream),
    Tls(std::net::TcpStream, Arc<Tls>),
    Unix(std::os::unix::net::UnixStream),
}

impl Arrival {
    /// Serves the connection on the current event loop.
    pub fn serve(self, reactor: Rc<Reactor>) {
        let stream = match self.socket {
            Accepted::Tcp(socket) => TcpStream::from_std(socket).map(Stream::Tcp),
            Accepted::Unix(socket) => UnixStream::from_std(socket).map(Stream::Unix),
            Accepted::Tls(socket, tls) => {
                tokio::task::spawn_local(serve_tls(reactor, socket, tls, self.handle));
                return;
            }
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

/// Serves a connection after its handshake.
async fn serve_tls(
    reactor: Rc<Reactor>,
    socket: std::net::TcpStream,
    tls: Arc<Tls>,
    handle: Arc<ClientHandle>,
) {
    let shaken = tokio::time::timeout(TLS_HANDSHAKE_MAX, shake_hands(socket, &tls, &handle)).await;
    match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok((stream, users)) => {
            let mut connection = Connection::new(reactor, stream, handle);
            connection.authenticate_as(&users);
            connection.run().await;
        }
        Err(error) => {
            tracing::debug!(
                "Error accepting a client connection: {error} (addr={} laddr={})",
                handle.peer.addr(),
                handle.peer.laddr()
            );
            reactor.server().clients.remove(handle.id);
        }
    }
}

/// The connection after the handshake, and the users that the client's certificate names.
async fn shake_hands(
    socket: std::net::TcpStream,
    tls: &Tls,
    handle: &ClientHandle,
) -> io::Result<(Stream, Vec<String>)> {
    let (mut reader, writer) = TcpStream::from_std(socket)?.into_split();
    let session = Session::new(tls)?;
    std::future::poll_fn(|cx| {
        handle.register(cx.waker());
        if handle.is_killed() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        session.poll_handshake(&mut reader, cx)
    })
    .await?;
    let users = session.users(tls);
    Ok((Stream::Tls(reader, writer, Rc::new(session)), users))
}

/// Accepts connections and deals them out to the event loops.
pub struct Acceptor {
    server: Arc<Server>,
    tls: TlsSlot,
    loops: Vec<UnboundedSender<Arrival>>,
    next: AtomicUsize,
}

impl Acceptor {
    /// An acceptor and the receiving ends, one for each event loop.
    pub fn new(server: Arc<Server>) -> (Rc<Self>, Vec<UnboundedReceiver<Arrival>>) {
        let (loops, receivers) = (0..server.threads()).map(|_| unbounded_channel()).unzip();
        (
            Rc::new(Self { server, loops, next: AtomicUsize::new(0), tls: TlsSlot::default() }),
            receivers,
        )
    }

    /// Accepts on all of `listeners` in tasks of the current event loop, and on those that take their
    /// place later.
    pub fn start(self: &Rc<Self>, listeners: Listeners) -> io::Result<Listening> {
        let (opened, mut receiver) = unbounded_channel();
        *self.tls.write() = listeners.tls;
        self.server.couriers.set_secure(listeners.outgoing);
        for port in &listeners.ports {
            for listener in &port.sockets {
                self.listen(port.protocol(), listener.try_clone()?)?;
            }
        }
        let unix = listeners.unix.as_ref().map(|(_, path)| path.clone());
        let acceptor = Rc::clone(self);
        tokio::task::spawn_local(async move {
            while let Some((protocol, listener)) = receiver.recv().await {
                if let Err(error) = acceptor.listen(protocol, listener) {
                    tracing::warn!("Unrecoverable error creating a listening socket: {error}");
                }
            }
        });
        if let Some((listener, path)) = listeners.unix {
            let (acceptor, listener) = (Rc::clone(self), UnixListener::from_std(listener)?);
            tokio::task::spawn_local(async move { acceptor.accept_unix(listener, path).await });
        }
        let (tls, couriers) = (Arc::clone(&self.tls), self.server.couriers.clone());
        Ok(Listening { ports: listeners.ports, unix, opened, tls, couriers })
    }

    fn listen(
        self: &Rc<Self>,
        protocol: Protocol,
        listener: std::net::TcpListener,
    ) -> io::Result<()> {
        let (acceptor, listener) = (Rc::clone(self), TcpListener::from_std(listener)?);
        tokio::task::spawn_local(async move { acceptor.accept_tcp(protocol, listener).await });
        Ok(())
    }

    async fn accept_tcp(&self, protocol: Protocol, listener: TcpListener) {
        loop {
            let accepted = match listener.accept().await {
                Ok((stream, far)) => self.admit(protocol, stream, far),
                Err(error) if is_ended(&error) => return,
                Err(error) => Err(error),
            };
            if let Err(error) = accepted {
                rest_after(error).await;
            }
        }
    }

    /// Gives a new connection to an event loop, or turns it away.
    fn admit(&self, protocol: Protocol, stream: TcpStream, far: SocketAddr) -> io::Result<()> {
        let peer = Peer::Tcp(far, stream.local_addr()?);
        self.prepare(&stream)?;
        if let Some(text) = self.refusal(&peer) {
            self.server.stats.rejected_connections.fetch_add(1, Ordering::Relaxed);
            // Before the handshake nothing can be said by TLS.
            if protocol == Protocol::Plain {
                let _ = stream.try_write(text);
            }
            return Ok(());
        }
        let stream = stream.into_std()?;
        let fd = stream.as_raw_fd();
        match protocol {
            Protocol::Plain => self.deal(fd, Accepted::Tcp(stream), peer, 0),
            Protocol::Tls => {
                // Nothing is there only while the port is being closed.
                let tls = self.tls.read().clone().ok_or(io::ErrorKind::ConnectionAborted)?;
                self.deal(fd, Accepted::Tls(stream, tls), peer, 0);
            }
        }
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
        let protected = !peer.is_local()
            && self.server.acl.takes_any_password()
            && self.server.config.read().flag("protected-mode");
        protected.then_some(DENIED)
    }

    fn deal(&self, fd: i32, socket: Accepted, peer: Peer, flags: u32) {
        let server = &self.server;
        let guarded = !server.acl.is_open();
        let flags = flags | if guarded { ClientFlags::UNAUTHENTICATED } else { 0 };
        let thread = self.least_loaded();
        let id = server.clients.next_id();
        let handle = Arc::new(ClientHandle::new(id, fd, peer, server.now_ms(), thread, flags));
        handle.set_user(server.acl.default_user());
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

/// Whether `accept` failed because the socket was shut down, as by [`Listening::listen_anew`].
pub fn is_ended(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error())
}

async fn rest_after(error: io::Error) {
    tracing::warn!("Accepting client connection: {error}");
    tokio::time::sleep(ACCEPT_REST).await;
}
