//! Listening sockets: opening those that the configuration names.
//!
//! A TCP address that starts with `-` may be missing on this host, and one of a protocol that the
//! host does not speak is passed over, as by Redis (`listenToPort` in server.c). Must not know who
//! accepts on the sockets.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

use super::tls::TlsError;
use crate::base::os_error;
use crate::config::Config;
use crate::server::Listener;

/// Why the server cannot listen.
#[derive(Debug, Error)]
pub enum BindError {
    /// An address of `bind` cannot be had; the log says which.
    #[error("Failed listening on port {port} ({kind}), aborting.")]
    Port {
        /// What is spoken there.
        kind: &'static str,
        /// The port.
        port: u16,
    },
    /// The Unix socket cannot be had.
    #[error("Failed opening Unix socket: {0}")]
    Unix(String),
    /// TLS cannot be spoken as configured.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Neither a port nor a Unix socket is configured.
    #[error("Configured to not listen anywhere, exiting.")]
    Nowhere,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Plain,
    Tls,
}

impl Protocol {
    /// The directive with the port.
    fn directive(self) -> &'static str {
        match self {
            Self::Plain => "port",
            Self::Tls => "tls-port",
        }
    }

    /// What INFO and the log call it.
    fn kind(self) -> &'static str {
        match self {
            Self::Plain => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// The sockets of one port, in the order of `bind`.
pub(super) struct Port {
    protocol: Protocol,
    port: u16,
    pub(super) sockets: Vec<TcpListener>,
    /// The words of `bind` that they are from.
    words: Vec<String>,
}

/// How sockets of a port are opened.
struct Options {
    port: u16,
    backlog: i32,
    mark: u32,
}

impl Port {
    /// Opens the sockets of `bind` and the port of that protocol.
    pub(super) fn open(config: &Config, protocol: Protocol) -> Result<Self, BindError> {
        let port = port_of(config, protocol);
        let opened = open_each(config, "bind", port, protocol.kind())?;
        let (sockets, words) = opened.into_iter().unzip();
        Ok(Self { protocol, port, sockets, words })
    }

    /// What is spoken there.
    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether it has the number that `config` says.
    pub(super) fn is_as(&self, config: &Config) -> bool {
        self.port == port_of(config, self.protocol)
    }

    /// That it cannot be listened on.
    pub(super) fn failed(&self) -> BindError {
        BindError::Port { kind: self.protocol.kind(), port: self.port }
    }

    /// What INFO shows of it, if anything is open.
    pub(super) fn listener(&self) -> Option<Listener> {
        (!self.sockets.is_empty()).then(|| Listener {
            kind: self.protocol.kind(),
            binds: self.words.clone(),
            port: self.port,
        })
    }
}

/// Opens the sockets of `http-bind` and `http-port`.
pub fn bind_http(config: &Config) -> Result<Vec<TcpListener>, BindError> {
    let port = u16::try_from(config.int("http-port")).expect("the table bounds ports");
    let opened = open_each(config, "http-bind", port, "http")?;
    Ok(opened.into_iter().map(|(socket, _)| socket).collect())
}

/// Opens a port on each address that a directive names; returns the sockets with the words they are
/// from.
fn open_each(
    config: &Config,
    directive: &str,
    port: u16,
    kind: &'static str,
) -> Result<Vec<(TcpListener, String)>, BindError> {
    let mark = u32::try_from(config.int("socket-mark-id")).expect("the table bounds marks");
    let options = Options { port, backlog: backlog(config), mark };
    let mut opened = Vec::new();
    for word in config.words(directive).iter().filter(|_| port != 0) {
        let (optional, address) = match word.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, word.as_str()),
        };
        match options.bind(address) {
            Ok(socket) => opened.push((socket, word.clone())),
            Err(error) => {
                tracing::warn!(
                    "Warning: Could not create server TCP listening socket {address}:{port}: {}",
                    os_error::text(&error)
                );
                let missing = optional && error.kind() == ErrorKind::AddrNotAvailable;
                if !missing && !is_unsupported(&error) {
                    return Err(BindError::Port { kind, port });
                }
            }
        }
    }
    Ok(opened)
}

impl Options {
    fn bind(&self, address: &str) -> io::Result<TcpListener> {
        let ip = match address {
            "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            "::*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            text => text.parse().or_else(|_| resolve(text))?,
        };
        let address = SocketAddr::new(ip, self.port);
        let socket =
            Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(self.backlog)?;
        if self.mark > 0
            && let Err(error) = socket.set_mark(self.mark)
        {
            tracing::warn!("Can't mark the listening socket {address}: {}", os_error::text(&error));
        }
        Ok(socket.into())
    }
}

fn port_of(config: &Config, protocol: Protocol) -> u16 {
    u16::try_from(config.int(protocol.directive())).expect("the table bounds ports")
}

fn backlog(config: &Config) -> i32 {
    i32::try_from(config.int("tcp-backlog")).unwrap_or(i32::MAX)
}

/// Errors that say the host does not speak a protocol.
fn is_unsupported(error: &io::Error) -> bool {
    let unsupported = [
        Errno::AFNOSUPPORT,
        Errno::PFNOSUPPORT,
        Errno::PROTONOSUPPORT,
        Errno::NOPROTOOPT,
        Errno::SOCKTNOSUPPORT,
    ];
    unsupported.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

/// The IPv4 address of a host, or its IPv6 address if it has no other.
fn resolve(host: &str) -> io::Result<IpAddr> {
    let found: Vec<_> = (host, 0).to_socket_addrs()?.collect();
    let best = found.iter().find(|address| address.is_ipv4()).or(found.first());
    best.map(SocketAddr::ip).ok_or_else(|| ErrorKind::NotFound.into())
}

/// The Unix socket and its path.
pub(super) type BoundUnix = (UnixListener, PathBuf);

/// Opens the socket of `unixsocket`, if there is one.
pub(super) fn bind_unix(config: &Config) -> Result<Option<BoundUnix>, BindError> {
    let path = config.text("unixsocket");
    if path.is_empty() {
        return Ok(None);
    }
    // A socket file that an earlier run left behind would keep the address taken.
    let _ = std::fs::remove_file(path);
    let failed = |step: &str, error: &io::Error| {
        BindError::Unix(format!("{step}: {}", os_error::text(error)))
    };
    let bind = || -> io::Result<UnixListener> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        Ok(socket.into())
    };
    let socket = bind().map_err(|error| failed("bind", &error))?;
    let mode = u32::try_from(config.int("unixsocketperm")).unwrap_or(0);
    if mode != 0 {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).map_err(|error| failed("chmod", &error))?;
    }
    let group = config.text("unixsocketgroup");
    if !group.is_empty() {
        let id = group_id(group)
            .ok_or_else(|| BindError::Unix(format!("no group is called '{group}'")))?;
        std::os::unix::fs::chown(path, None, Some(id)).map_err(|error| failed("chown", &error))?;
    }
    // Only now may anybody connect.
    let listen = socket2::SockRef::from(&socket).listen(backlog(config));
    listen.map_err(|error| failed("listen", &error))?;
    Ok(Some((socket, PathBuf::from(path))))
}

/// The number of a group by its name in `/etc/group`, or by the number itself.
fn group_id(group: &str) -> Option<u32> {
    let text = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let named = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (name == group).then(|| fields.nth(1)?.parse().ok())?
    });
    named.or_else(|| group.parse().ok())
}
