//! One test per family of golden scripts: every `*.txt` in `scripts/<family>` runs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::Server;
use crate::script::run_file;

fn scripts_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/scripts")
}

/// The entries of a directory, sorted, so that every run takes the same order.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory of scripts");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("entries have names").to_string_lossy().into_owned()
}

/// Runs all scripts of a family on one server, then fails with every difference found.
/// `REDSTART_TEST_SCRIPT=set.txt` runs only the files of that name.
fn run_family(family: &str) {
    let only = std::env::var("REDSTART_TEST_SCRIPT").ok();
    let server = Server::start(&[]);
    let mut failures = Vec::new();
    for path in entries(&scripts_dir().join(family)) {
        let name = file_name(&path);
        if name.ends_with(".txt") && only.as_ref().is_none_or(|only| *only == name) {
            failures.extend(run_file(&path, &format!("tests/it/scripts/{family}/{name}"), &server));
        }
    }
    let count = failures.len();
    assert!(failures.is_empty(), "{count} differences\n\n{}\n", failures.join("\n\n"));
}

#[test]
fn acl() {
    run_family("acl");
}

#[test]
fn bitmap() {
    run_family("bitmap");
}

#[test]
fn client() {
    run_family("client");
}

#[test]
fn config() {
    run_family("config");
}

#[test]
fn connection() {
    run_family("connection");
}

#[test]
fn expire() {
    run_family("expire");
}

#[test]
fn geo() {
    run_family("geo");
}

#[test]
fn hyperloglog() {
    run_family("hyperloglog");
}

#[test]
fn hash() {
    run_family("hash");
}

#[test]
fn introspect() {
    run_family("introspect");
}

#[test]
fn key() {
    run_family("key");
}

#[test]
fn list() {
    run_family("list");
}

#[test]
fn pubsub() {
    run_family("pubsub");
}

#[test]
fn scan() {
    run_family("scan");
}

#[test]
fn scripting() {
    run_family("scripting");
}

#[test]
fn server() {
    run_family("server");
}

#[test]
fn set() {
    run_family("set");
}

#[test]
fn transaction() {
    run_family("transaction");
}

#[test]
fn zset() {
    run_family("zset");
}

#[test]
fn stream() {
    run_family("stream");
}

#[test]
fn string() {
    run_family("string");
}

/// A directory without a test, or a script without commands and replies, would pass unseen.
#[test]
fn every_script_is_run_and_says_something() {
    for family in entries(&scripts_dir()) {
        let call = format!("run_family(\"{}\");", file_name(&family));
        assert!(include_str!("scripts.rs").contains(&call), "no test runs {}", family.display());
        for script in entries(&family).iter().filter(|path| file_name(path).ends_with(".txt")) {
            let text = fs::read_to_string(script).expect("a script is readable UTF-8");
            let mut replies = text.split("\n---\n").skip(1).peekable();
            let recorded = replies.peek().is_some()
                && replies.all(|rest| rest.lines().next().is_some_and(|line| !line.is_empty()));
            assert!(recorded, "{} has no commands, or some without replies", script.display());
        }
    }
}
