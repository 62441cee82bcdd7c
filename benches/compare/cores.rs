//! Which core runs what: the servers on the first allowed cores, the client on the last one.
//!
//! Affinity is set for this process before it starts the servers, which inherit it, and set anew
//! for the client afterwards; the servers must therefore be started between `enter_server` and
//! `enter_client`.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fmt;

/// The split of the cores this process may use; with a single core nothing is pinned.
pub(crate) struct Cores {
    server: Vec<usize>,
    client: Option<usize>,
}

impl Cores {
    /// Gives the servers up to `threads` cores and the client one that no server uses.
    pub(crate) fn plan(threads: usize) -> Result<Self> {
        let allowed = sched_getaffinity(None).context("reading the allowed cores")?;
        let mut server: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&c| allowed.is_set(c)).collect();
        let client = if server.len() > 1 { server.pop() } else { None };
        if client.is_none() {
            println!("note: one core only, nothing is pinned and the ratios are blurred");
        } else if server.len() < threads {
            println!("note: {threads} threads share {} cores", server.len());
        }
        server.truncate(threads);
        Ok(Self { server, client })
    }

    /// Moves this process, and what it starts from now on, to the servers' cores.
    pub(crate) fn enter_server(&self) -> Result<()> {
        if self.client.is_some() { pin(&self.server) } else { Ok(()) }
    }

    /// Moves this process to the client's core.
    pub(crate) fn enter_client(&self) -> Result<()> {
        self.client.map_or(Ok(()), |core| pin(&[core]))
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client {
            Some(client) => {
                write!(f, "servers on cores {:?}, client on core {client}", self.server)
            }
            None => write!(f, "nothing pinned"),
        }
    }
}

fn pin(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core);
    }
    sched_setaffinity(None, &set).with_context(|| format!("pinning to cores {cores:?}"))
}
