//! The servers compared: which ones, how they are started, asked and ended.
//!
//! Every server runs in a scratch folder of its own, without persistence, on a loopback port that
//! was free a moment before, and dies with its `Server`.

use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};
use tempfile::TempDir;

use crate::options::Options;
use crate::requests::encode;

/// Names looked for on PATH when no reference is given, the base of the ratios first.
const REFERENCES: [&str; 2] = ["redis-server", "valkey-server"];
/// How long a server may take to answer its first PING.
const START: Duration = Duration::from_secs(20);
/// How long any single answer may take; freeing millions of keys is the slowest.
const ANSWER: Duration = Duration::from_secs(120);
/// The wait between two looks at a server that is starting.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A server to be started.
pub(crate) struct Spec {
    name: String,
    path: PathBuf,
    /// Arguments besides those that every server gets.
    args: Vec<String>,
    /// Whether it may be the base of the ratios before ours.
    is_reference: bool,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) name: String,
    /// The version it tells of itself, with its own arguments.
    pub(crate) version: String,
    pub(crate) is_reference: bool,
    address: SocketAddr,
    child: Child,
    /// Its working directory, which also takes its log.
    folder: TempDir,
}

/// Our server first, then the references in order.
pub(crate) fn specs(options: &Options) -> Result<Vec<Spec>> {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_redstart"));
    let path = absolute(&options.server.clone().unwrap_or_else(built))?;
    let args = vec!["--threads".to_owned(), options.threads.to_string()];
    let mut specs = vec![Spec { name: "redstart".to_owned(), path, args, is_reference: false }];
    for reference in &options.references {
        let (name, path) = reference
            .split_once('=')
            .with_context(|| format!("--with takes NAME=PATH, not {reference}"))?;
        specs.push(Spec::reference(name, absolute(Path::new(path))?));
    }
    if options.references.is_empty() {
        for name in REFERENCES {
            // Our own image has these names as links to our server.
            if let Some(path) = on_path(name).filter(|path| !is_same(path, &specs[0].path)) {
                specs.push(Spec::reference(name, path));
            }
        }
    }
    Ok(specs)
}

/// The path from the root, its last link left as it is: some servers go by the name they are
/// called.
fn absolute(path: &Path) -> Result<PathBuf> {
    ensure!(path.is_file(), "no server at {}", path.display());
    Ok(std::path::absolute(path)?)
}

fn on_path(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).find_map(|folder| absolute(&folder.join(name)).ok())
}

fn is_same(one: &Path, other: &Path) -> bool {
    fs::canonicalize(one).ok() == fs::canonicalize(other).ok()
}

impl Spec {
    fn reference(name: &str, path: PathBuf) -> Self {
        Self { name: name.to_owned(), path, args: Vec::new(), is_reference: true }
    }

    /// The version on its `--version` line, as in `Redis server v=8.0.6 sha=...`.
    fn version(&self) -> String {
        let output = Command::new(&self.path).arg("--version").output().map(|output| output.stdout);
        let text = String::from_utf8_lossy(&output.unwrap_or_default()).into_owned();
        let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
        let words = [self.name.as_str(), version.unwrap_or("(version unknown)")];
        words.into_iter().chain(self.args.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }
}

impl Server {
    /// Starts a server and waits until it answers.
    pub(crate) fn start(spec: &Spec) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a scratch folder")?;
        let log = fs::File::create(folder.path().join("log"))?;
        let port = free_port()?;
        let child = Command::new(&spec.path)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--protected-mode", "no"])
            .args(&spec.args)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", spec.path.display()))?;
        let mut server = Self {
            name: spec.name.clone(),
            version: spec.version(),
            is_reference: spec.is_reference,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            child,
            folder,
        };
        server.wait_ready().with_context(|| format!("{}: {}", server.name, server.log_end()))?;
        Ok(server)
    }

    #[expect(clippy::disallowed_methods, reason = "only the port tells: polled with a deadline")]
    fn wait_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while let Err(error) = self.expect(&["PING"], "+PONG") {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended at its start with {status}");
            }
            ensure!(start.elapsed() < START, "not ready after {START:?}: {error:#}");
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// The last lines it logged.
    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// A new blocking connection.
    pub(crate) fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        Ok(stream)
    }

    /// Sends one command and wants that one line, given without its end, as the answer.
    pub(crate) fn expect(&self, args: &[&str], line: &str) -> Result<()> {
        let mut stream = self.connect()?;
        stream.write_all(&encode(&args.iter().map(|arg| arg.as_bytes()).collect::<Vec<_>>()))?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).with_context(|| format!("{args:?}"))?;
            answer.extend(byte);
        }
        let answer = String::from_utf8_lossy(&answer);
        ensure!(answer.trim_end() == line, "{args:?} answered {answer:?}");
        Ok(())
    }

    /// CPU time that its living threads have used so far, from the scheduler's nanosecond counters.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let mut nanos = 0;
        for task in fs::read_dir(&tasks).with_context(|| format!("reading {tasks}"))? {
            // A thread may end between the listing and the reading.
            let Ok(stat) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let first = stat.split_whitespace().next().unwrap_or_default();
            nanos += first.parse::<u64>().context("reading schedstat")?;
        }
        Ok(Duration::from_nanos(nanos))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is worth saving, and a failure means that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("finding a free port")?;
    Ok(listener.local_addr()?.port())
}
