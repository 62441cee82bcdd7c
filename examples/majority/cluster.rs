//! Server processes on loopback ports, which are killed, paused, and started again empty.
//!
//! Ports are below those that the system gives to clients, so that nobody gets one while its server
//! is dead. Nothing is kept on disk. All processes end with the `Cluster`.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::pause;

const PORTS: Range<u16> = 20_000..32_000;
const START_DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Cluster {
    program: PathBuf,
    servers: Vec<Server>,
}

struct Server {
    port: u16,
    child: Child,
}

impl Cluster {
    pub(crate) fn start(program: &Path, count: usize) -> Result<Cluster> {
        let mut cluster = Cluster { program: program.to_owned(), servers: Vec::new() };
        let deadline = Instant::now() + START_DEADLINE;
        while cluster.servers.len() < count {
            let port = fastrand::u16(PORTS);
            if cluster.servers.iter().any(|server| server.port == port) {
                continue;
            }
            let child = spawn(program, port)?;
            cluster.servers.push(Server { port, child });
            // The port may be somebody else's.
            if !cluster.wait_for(cluster.servers.len() - 1, deadline) {
                cluster.kill(cluster.servers.len() - 1);
                cluster.servers.pop();
            }
            if Instant::now() > deadline {
                bail!("{} does not start", program.display());
            }
        }
        Ok(cluster)
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.servers.iter().map(|server| url(server.port)).collect()
    }

    /// SIGKILL: the server's memory is gone.
    pub(crate) fn kill(&mut self, place: usize) {
        let child = &mut self.servers[place].child;
        // Both fail only when the process is gone already.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Starts a server that was killed, empty, and waits until it answers.
    pub(crate) fn start_again(&mut self, place: usize) -> Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        while Instant::now() < deadline {
            let port = self.servers[place].port;
            self.servers[place].child = spawn(&self.program, port)?;
            if self.wait_for(place, deadline) {
                return Ok(());
            }
        }
        bail!("a server does not start again on port {}", self.servers[place].port)
    }

    /// SIGSTOP: the server does not answer, but keeps its memory and its connections.
    pub(crate) fn stop(&self, place: usize) -> Result<()> {
        self.signal(place, Signal::STOP)
    }

    pub(crate) fn go_on(&self, place: usize) -> Result<()> {
        self.signal(place, Signal::CONT)
    }

    fn signal(&self, place: usize, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.servers[place].child);
        kill_process(pid, signal).context("a server is gone that nobody has killed")
    }

    /// False when the process has ended, or the time is over.
    fn wait_for(&mut self, place: usize, deadline: Instant) -> bool {
        let Server { port, child } = &mut self.servers[place];
        while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
            if process_id(*port).is_ok_and(|pid| pid == child.id()) {
                return true;
            }
            pause(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.servers.len()).for_each(|place| self.kill(place));
    }
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/")
}

fn spawn(program: &Path, port: u16) -> Result<Child> {
    Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", "no", "--loglevel", "warning"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("{}", program.display()))
}

/// Asks who answers on the port.
fn process_id(port: u16) -> Result<u32> {
    let client = redis::Client::open(url(port))?;
    let mut connection = client.get_connection_with_timeout(Duration::from_millis(500))?;
    connection.set_read_timeout(Some(Duration::from_millis(500)))?;
    let info: String = redis::cmd("INFO").arg("server").query(&mut connection)?;
    let line = info.lines().find_map(|line| line.strip_prefix("process_id:"));
    Ok(line.context("INFO without process_id")?.parse()?)
}
