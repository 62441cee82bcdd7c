//! The samples in `config/`: each serves as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Conn, Reply, free_addr, server_program, wait_for};

const DEADLINE: Duration = Duration::from_secs(15);

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server with a sample, elsewhere than the sample says, and asks it for directives.
fn serves(args: &[&str], expected: &[(&str, &str)]) {
    let dir = tempfile::tempdir().expect("a folder");
    let addr = free_addr().expect("a free port");
    let log = dir.path().join("log");
    let child = Command::new(server_program())
        .args(args)
        .args(["--port", &addr.port().to_string(), "--bind", "127.0.0.1", "--logfile", "log"])
        .args(["--dir", dir.path().to_str().expect("UTF-8")])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .spawn();
    let _ended = Ended(child.expect("the server can be started"));
    let log = || fs::read_to_string(&log).unwrap_or_default();
    let ready = || log().contains("Ready to accept connections");
    assert!(wait_for(DEADLINE, ready), "{args:?}: {}", log());
    let mut conn = Conn::open(addr).expect("it listens");
    assert_eq!(conn.call(&["SET", "k", "v"]), Reply::Simple(b"OK".to_vec()), "{args:?}");
    for (name, value) in expected {
        let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
        let shown = conn.call(&["CONFIG", "GET", name]);
        assert_eq!(shown, Reply::Array(vec![bulk(name), bulk(value)]), "{args:?}");
    }
}

#[test]
fn every_sample_serves() {
    let samples: [(&str, &[(&str, &str)]); 4] = [
        ("redstart.conf", &[("maxmemory", "0"), ("appendonly", "no")]),
        ("cache.conf", &[("maxmemory-policy", "allkeys-lfu"), ("save", ""), ("appendonly", "no")]),
        ("queue.conf", &[("maxmemory-policy", "noeviction"), ("appendfsync", "everysec")]),
        ("durable.conf", &[("appendfsync", "always"), ("save", "3600 1")]),
    ];
    for (name, expected) in samples {
        serves(&[sample(name).to_str().expect("UTF-8")], expected);
    }
    let known: Vec<&str> = samples.iter().map(|(name, _)| *name).collect();
    for entry in fs::read_dir(sample("")).expect("the folder of samples") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        assert!(!name.ends_with(".conf") || known.contains(&name.as_str()), "{name} is not tested");
    }
}

#[test]
fn the_unit_starts_a_server() {
    let unit = fs::read_to_string(sample("redstart.service")).expect("the sample");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a start");
    // The folder is made by systemd.
    let words: Vec<&str> =
        start.split(' ').map(|word| if word == "/var/lib/redstart" { "." } else { word }).collect();
    assert_eq!(words[..2], ["/usr/local/bin/redstart", "/etc/redstart/redstart.conf"]);
    let file = sample("durable.conf");
    let args = [&[file.to_str().expect("UTF-8")], &words[2..]].concat();
    serves(&args, &[("supervised", "systemd"), ("daemonize", "no"), ("appendonly", "yes")]);
}
