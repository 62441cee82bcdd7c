//! One server under test and the one connection to it.

use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub(crate) struct Server {
    child: Child,
    stream: TcpStream,
    input: BufReader<TcpStream>,
    /// Its working directory.
    _folder: TempDir,
}

impl Server {
    /// Starts a server and connects to it.
    pub(crate) fn start(path: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a scratch folder")?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut child = Command::new(std::path::absolute(path)?)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", path.display()))?;
        let stream = match connect(port, &mut child) {
            Ok(stream) => stream,
            Err(error) => {
                // It is of no use, and may have ended already.
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        let input = BufReader::new(stream.try_clone()?);
        Ok(Self { child, stream, input, _folder: folder })
    }

    /// Sends requests.
    pub(crate) fn send<const N: usize>(
        &mut self,
        requests: impl Iterator<Item = [Vec<u8>; N]>,
    ) -> Result<()> {
        let mut bytes = Vec::new();
        for request in requests {
            write!(bytes, "*{N}\r\n")?;
            for arg in request {
                write!(bytes, "${}\r\n", arg.len())?;
                bytes.extend(arg);
                bytes.extend(b"\r\n");
            }
        }
        Ok(self.stream.write_all(&bytes)?)
    }

    /// Reads one reply: whether it is something.
    pub(crate) fn reply(&mut self) -> Result<bool> {
        let (line, body) = self.read()?;
        ensure!(!line.starts_with('-'), "the server answered {line}");
        Ok(body.is_some() || !line.starts_with('$'))
    }

    fn read(&mut self) -> Result<(String, Option<Vec<u8>>)> {
        let mut line = String::new();
        self.input.read_line(&mut line)?;
        let Some(len) = line.trim_end().strip_prefix('$') else { return Ok((line, None)) };
        let Ok(len) = len.parse::<usize>() else { return Ok((line, None)) };
        let mut body = vec![0; len + 2];
        self.input.read_exact(&mut body)?;
        Ok((line, Some(body)))
    }

    /// Sends one command, which must succeed.
    pub(crate) fn order(&mut self, words: &[&str]) -> Result<()> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            write!(bytes, "${}\r\n{word}\r\n", word.len())?;
        }
        self.stream.write_all(&bytes)?;
        self.reply().map(drop)
    }

    /// The number behind `name` in a section of INFO.
    pub(crate) fn figure(&mut self, section: &str, name: &str) -> Result<u64> {
        self.send(std::iter::once([b"INFO".to_vec(), section.as_bytes().to_vec()]))?;
        let (_, body) = self.read()?;
        let text = String::from_utf8(body.context("INFO is a text")?)?;
        let (_, rest) = text.split_once(name).with_context(|| format!("INFO without {name}"))?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Ok(digits.parse()?)
    }

    /// CPU time of its threads so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut nanos = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end between the listing and the reading.
            let Ok(stat) = std::fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            nanos += stat.split_whitespace().next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }
}

#[expect(clippy::disallowed_methods, reason = "only the port tells: polled with a deadline")]
fn connect(port: u16, child: &mut Child) -> Result<TcpStream> {
    let start = Instant::now();
    loop {
        if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            stream.set_nodelay(true)?;
            return Ok(stream);
        }
        if let Some(status) = child.try_wait()? {
            bail!("the server ended at its start with {status}");
        }
        ensure!(start.elapsed() < START, "the server does not listen");
        std::thread::sleep(LOOK_AGAIN);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is worth saving, and a failure means that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
