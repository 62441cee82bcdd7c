//! Who looks after the process: `daemonize`, `pidfile` and `supervised`.
//!
//! To go to the background the program starts itself once more and ends: the second process knows by a
//! variable what it is for. So nothing has to be forked, and what was read from standard input is
//! handed over by a pipe.

use std::ffi::OsString;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::Context;
use rustix::process::{Signal, getpid, kill_process, setsid};

use crate::base::os_error;
use crate::config::Config;

/// Tells a process that it is the one in the background.
const BACKGROUND: &str = "REDSTART_BACKGROUND";
/// Where the process id goes when the server runs in the background and nothing else is said.
const DEFAULT_PIDFILE: &str = "/var/run/redis.pid";

/// Who started the process and waits to be told that it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Supervisor {
    Nobody,
    Upstart,
    Systemd,
}

impl Supervisor {
    /// Who it is, as `supervised` says.
    pub(super) fn of(config: &Config) -> Self {
        let has = |name: &str| std::env::var_os(name).is_some();
        match config.text("supervised") {
            "upstart" => Self::Upstart,
            "systemd" => Self::Systemd,
            "auto" if has("UPSTART_JOB") => {
                tracing::debug!("Upstart supervision detected.");
                Self::Upstart
            }
            "auto" if has("NOTIFY_SOCKET") => {
                tracing::debug!("Systemd supervision detected.");
                Self::Systemd
            }
            _ => Self::Nobody,
        }
    }

    /// Begins to be supervised; nobody if that does not work.
    pub(super) fn begin(self) -> Self {
        match self {
            Self::Nobody => Self::Nobody,
            Self::Upstart if std::env::var_os("UPSTART_JOB").is_none() => {
                tracing::warn!("upstart supervision requested, but UPSTART_JOB not found!");
                Self::Nobody
            }
            Self::Upstart => {
                tracing::info!("supervised by upstart, will stop to signal readiness.");
                // A process may always stop itself.
                let _ = kill_process(getpid(), Signal::STOP);
                Self::Upstart
            }
            Self::Systemd => {
                if self.tell("STATUS=Redis is loading...\n") {
                    tracing::info!(
                        "supervised by systemd. Please make sure you set appropriate values for \
                         TimeoutStartSec and TimeoutStopSec in your service unit."
                    );
                    Self::Systemd
                } else {
                    Self::Nobody
                }
            }
        }
    }

    /// Sends a message of `sd_notify`; `false` if it did not arrive. Only systemd wants any.
    pub(super) fn tell(self, message: &str) -> bool {
        if self != Self::Systemd {
            return false;
        }
        let Some(place) = std::env::var_os("NOTIFY_SOCKET") else {
            tracing::warn!("systemd supervision error: NOTIFY_SOCKET not found!");
            return false;
        };
        let send = || {
            let bytes = place.as_encoded_bytes();
            let address = match bytes.strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name)?,
                None => SocketAddr::from_pathname(&place)?,
            };
            UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)
        };
        let sent = send();
        if let Err(error) = &sent {
            tracing::warn!("systemd supervision error: {}", os_error::text(error));
        }
        sent.is_ok()
    }

    /// As INFO shows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nobody => "no",
            Self::Upstart => "upstart",
            Self::Systemd => "systemd",
        }
    }
}

/// How the process goes on after [`go_to_background`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has been started to serve in the background.
    Background,
    /// It serves where it was started.
    Foreground,
    /// Another one serves; this one ends.
    Elsewhere,
}

/// Starts the program once more in the background where `daemonize` says so, with the same arguments and
/// the same standard input.
pub(super) fn go_to_background(
    config: &Config,
    args: &[OsString],
    stdin: Option<&[u8]>,
) -> anyhow::Result<Place> {
    if std::env::var_os(BACKGROUND).is_some() {
        // Not a leader of its group, so that a session can begin; otherwise it has begun already.
        let _ = setsid();
        return Ok(Place::Background);
    }
    if !config.flag("daemonize") || Supervisor::of(config) != Supervisor::Nobody {
        return Ok(Place::Foreground);
    }
    let (name, rest) = args.split_first().context("a program has a name")?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg0(name)
        .args(rest)
        .env(BACKGROUND, "1")
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("Can't start in the background")?;
    if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
        pipe.write_all(text).context("Can't hand the configuration over")?;
    }
    Ok(Place::Elsewhere)
}

/// A file with the process id, removed when the server stops in order.
pub(super) struct PidFile(Option<String>);

impl PidFile {
    /// Writes the file of `pidfile`; that it cannot be written is only logged, as by Redis.
    pub(super) fn create(config: &Config, place: Place) -> Self {
        let path = match config.text("pidfile") {
            "" if place == Place::Background => DEFAULT_PIDFILE,
            "" => return Self(None),
            path => path,
        };
        if let Err(error) = std::fs::write(path, format!("{}\n", std::process::id())) {
            tracing::warn!("Failed to write PID file: {}", os_error::text(&error));
        }
        // The working directory may change.
        let path = std::path::absolute(path).map(|path| path.to_string_lossy().into_owned());
        Self(path.ok())
    }

    /// Removes the file.
    pub(super) fn remove(self) {
        if let Some(path) = self.0 {
            tracing::info!("Removing the pid file.");
            let _ = std::fs::remove_file(path);
        }
    }
}
