//! The rules of the source that no compiler checks, each reported with file and line.
//!
//! Layers: a module uses only those of the rows above its own in the table at the head of
//! `src/lib.rs`. Sizes: a file has at most 800 lines, a function 70. Words: no leftovers, no names
//! that say nothing, no paths of one machine. Commands: each has documentation, a golden script and
//! a place in README's table. Dependencies: each says why. Unsafe code stays where it is listed.
//!
//! Every rule is a function from text to findings, and has to find what the last test plants.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use redstart::command::{CommandTable, Registered, docs};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// The modules that may hold unsafe code; ARCHITECTURE.md says why each does.
const UNSAFE_MODULES: &[&str] = &[
    "src/base/clock.rs",
    "src/encoding/field.rs",
    "src/encoding/member.rs",
    "src/encoding/scored_set/member.rs",
    "src/encoding/scored_set/mod.rs",
    "src/encoding/table/slot.rs",
    "src/encoding/table/tests.rs",
    "src/keyspace/entry.rs",
    "src/keyspace/lock.rs",
    "src/net/outbox.rs",
    "src/observe/allocator.rs",
    "src/script/intern.rs",
    "src/script/raise.rs",
    "src/script/raw.rs",
];

/// Split, so that this file does not contain them.
const LEFTOVERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("unimple", "mented!"),
    concat!("to", "do!"),
    concat!("db", "g!"),
];
const EMPTY_NAMES: &[&str] = &[concat!("Mana", "ger"), concat!("Hel", "per"), concat!("Ut", "il")];
/// Packages that others named.
const FOREIGN_NAMES: &[&str] = &["hyper_util", "http_body_util"];
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/t", "mp/")];

/// A file of the repository.
struct Source {
    /// From the repository's root, with slashes.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All text files below `dir`, but for build results and recorded inputs.
fn sources(dir: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open = vec![root().join(dir)];
    while let Some(path) = open.pop() {
        let mut entries: Vec<PathBuf> = fs::read_dir(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .map(|entry| entry.expect("an entry of a directory").path())
            .collect();
        entries.sort();
        for entry in entries {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let made = ["target", "corpus", "artifacts", "__pycache__", "node_modules", "dist"];
            if made.contains(&name.as_str()) {
                continue;
            }
            if entry.is_dir() {
                open.push(entry);
            } else if let Ok(text) = fs::read_to_string(&entry) {
                let path = entry.strip_prefix(root()).expect("below the root");
                found.push(Source { path: path.to_string_lossy().into_owned(), text });
            }
        }
    }
    found
}

fn rust_sources() -> Vec<Source> {
    let dirs = ["src", "tests/it", "benches", "examples", "fuzz"];
    let files = dirs.iter().flat_map(|dir| sources(dir));
    files.filter(|source| source.path.ends_with(".rs")).collect()
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

/// The file with tests, comments and the insides of strings blanked, line by line.
fn code(text: &str) -> String {
    let mut blanked = String::new();
    let mut skip_to: Option<String> = None;
    let mut after_cfg = false;
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(end) = &skip_to {
            if line == end.as_str() {
                skip_to = None;
            }
        } else if trimmed.starts_with("#[cfg(test)]") {
            after_cfg = true;
        } else if after_cfg {
            after_cfg = trimmed.starts_with("#[");
            if !after_cfg && !line.ends_with(';') && !line.ends_with('}') {
                skip_to = Some(format!("{}}}", &line[..line.len() - trimmed.len()]));
            }
        } else {
            push_code(&mut blanked, line);
        }
        blanked.push('\n');
    }
    blanked
}

/// Appends a line up to its comment, without what stands between quotes.
fn push_code(out: &mut String, line: &str) {
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            '\'' if !quoted && chars.peek() == Some(&'"') => drop(chars.next()),
            '\\' if quoted => drop(chars.next()),
            '"' => quoted = !quoted,
            _ if quoted => {}
            _ => out.push(char),
        }
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|char: char| !char.is_alphanumeric() && char != '_').filter(|word| !word.is_empty())
}

/// Row numbers by module, out of the table in `src/lib.rs`.
fn layers(lib: &str) -> BTreeMap<String, u32> {
    let mut layers = BTreeMap::new();
    for line in lib.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let mut cells = line.split(" | ");
        let Some(Ok(row)) = cells.next().map(str::parse) else { continue };
        let names = cells.next().unwrap_or_default().split('`').skip(1).step_by(2);
        layers.extend(names.map(|name| (name.trim_matches(['[', ']']).to_owned(), row)));
    }
    layers
}

/// The modules that a line names behind `crate::`, also as `crate::{a, b::c}`.
fn uses(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for rest in line.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => {
                let parts = group.split('}').next().unwrap_or_default().split(", ");
                found.extend(parts.filter_map(|part| words(part).next()));
            }
            None => found.extend(words(rest).next()),
        }
    }
    found
}

fn layer_findings(source: &Source, layers: &BTreeMap<String, u32>) -> Vec<String> {
    let inner = source.path.strip_prefix("src/").expect("a file of the library");
    let module = inner.split(['/', '.']).next().expect("a path has a first part");
    if is_test_file(&source.path) || module == "lib" || module == "main" {
        return Vec::new();
    }
    let Some(own) = layers.get(module) else {
        return vec![format!("{}: {module} has no row in the table of src/lib.rs", source.path)];
    };
    let mut findings = Vec::new();
    for (number, line) in code(&source.text).lines().enumerate() {
        for used in uses(line) {
            let allowed = used == module || layers.get(used).is_some_and(|row| row < own);
            if !allowed {
                let at = format!("{}:{}", source.path, number + 1);
                findings.push(format!("{at}: {module} may not use {used}"));
            }
        }
    }
    findings
}

fn size_findings(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    let lines: Vec<&str> = source.text.lines().collect();
    let is_data = source.path.starts_with("src/command/docs/") || is_test_file(&source.path);
    if lines.len() > FILE_LINES_MAX && !is_data {
        findings.push(format!("{}: {} lines", source.path, lines.len()));
    }
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let is_function = ["fn ", "pub fn ", "async fn ", "pub async fn ", "const fn "]
            .iter()
            .any(|start| trimmed.starts_with(start))
            || trimmed.starts_with("pub(") && trimmed.contains(") fn ");
        if !is_function || line.ends_with('}') || line.ends_with(';') {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - trimmed.len()]);
        let length = lines[start..].iter().position(|line| *line == end).map_or(0, |at| at + 1);
        if length > FUNCTION_LINES_MAX {
            findings.push(format!("{}:{}: {length} lines of function", source.path, start + 1));
        }
    }
    findings
}

/// Leftovers and machine paths anywhere, empty names in code and in file names.
fn word_findings(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let at = format!("{}:{}", source.path, number + 1);
        for word in LEFTOVERS.iter().chain(MACHINE_PATHS).filter(|word| line.contains(**word)) {
            findings.push(format!("{at}: {word}"));
        }
    }
    if !source.path.ends_with(".rs") {
        return findings;
    }
    let is_empty = |word: &str| {
        let small = |name: &str| word.split('_').any(|part| part == name.to_ascii_lowercase());
        let is_bad = EMPTY_NAMES.iter().any(|name| word.contains(name) || small(name));
        is_bad && !FOREIGN_NAMES.contains(&word)
    };
    for (number, line) in code(&source.text).lines().enumerate() {
        for word in words(line).filter(|word| is_empty(word)) {
            findings.push(format!("{}:{}: the name {word}", source.path, number + 1));
        }
    }
    findings
}

fn unsafe_findings(source: &Source) -> Vec<String> {
    if UNSAFE_MODULES.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in code(&source.text).lines().enumerate() {
        if words(line).any(|word| word == "unsafe") {
            findings.push(format!("{}:{}: unsafe code", source.path, number + 1));
        }
    }
    findings
}

fn opening_findings(source: &Source) -> Vec<String> {
    // The compiler needs to be told first that a fuzz target has no `main`.
    let opens = source.text.starts_with("//!");
    if opens { Vec::new() } else { vec![format!("{}:1: does not open with //!", source.path)] }
}

fn dependency_findings(path: &str, manifest: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let (mut inside, mut explained) = (false, false);
    for (number, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && !line.is_empty() && !line.starts_with('#') && !explained {
            findings.push(format!("{path}:{}: a dependency without a reason", number + 1));
        }
        explained = line.starts_with('#');
    }
    findings
}

/// Every command and subcommand: documented, and run by a golden script.
fn command_findings(scripts: &[Source]) -> Vec<String> {
    let table = CommandTable::new(&[]).expect("the table without renames");
    let mut findings = Vec::new();
    for command in table.iter() {
        let name = &command.name;
        let has_script = scripts.iter().any(|script| {
            let file = script.path.rsplit('/').next().unwrap_or_default();
            let stem = file.strip_suffix(".txt").unwrap_or_default();
            stem == name || stem.strip_prefix(name.as_str()).is_some_and(|s| s.starts_with('-'))
        });
        if !has_script {
            findings.push(format!("{name}: no golden script tests/it/scripts/*/{name}.txt"));
        }
        for one in std::iter::once(command).chain(&command.subcommands) {
            if docs::find(&one.name).is_none() {
                findings.push(format!("{}: no row in src/command/docs", one.name));
            }
        }
        for sub in &command.subcommands {
            let call = sub.name.replace('|', " ");
            if !scripts.iter().any(|script| script.text.to_lowercase().contains(&call)) {
                findings.push(format!("{}: no golden script calls it", sub.name));
            }
        }
    }
    findings
}

/// README's table of commands as it should read, from the command table.
fn command_rows() -> String {
    let table = CommandTable::new(&[]).expect("the table without renames");
    let mut groups: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let text = |registered: &Registered| {
        let mut text = registered.name.to_uppercase();
        if !registered.subcommands.is_empty() {
            let names = registered.subcommands.iter().map(|sub| sub.command.name.to_uppercase());
            let names: BTreeSet<String> = names.collect();
            let names: Vec<String> = names.into_iter().collect();
            write!(text, " ({})", names.join(" ")).expect("a String takes everything");
        }
        text
    };
    for command in table.iter() {
        groups.entry(command.command.group.name()).or_default().insert(text(command));
    }
    let row = |(group, names): (&str, BTreeSet<String>)| {
        let names: Vec<String> = names.into_iter().collect();
        format!("| {group} | {} |\n", names.join(", "))
    };
    groups.into_iter().map(row).collect()
}

fn readme_findings(readme: &str) -> Vec<String> {
    let expected = command_rows();
    let is_current = readme.contains(&format!("|---|---|\n{expected}\n"));
    if is_current {
        return Vec::new();
    }
    vec![format!("README.md: the table of commands should read\n{expected}")]
}

fn fail_with(findings: &[String]) {
    assert!(findings.is_empty(), "{} findings\n\n{}\n", findings.len(), findings.join("\n"));
}

#[test]
fn sources_keep_the_rules() {
    let layers = layers(&read("src/lib.rs"));
    assert!(layers.len() > 10, "the table in src/lib.rs cannot be read: {layers:?}");
    let files = rust_sources();
    assert!(files.len() > 80, "{} files are not all", files.len());
    let mut findings = Vec::new();
    for source in &files {
        if source.path.starts_with("src/") {
            findings.extend(layer_findings(source, &layers));
        }
        findings.extend(size_findings(source));
        findings.extend(unsafe_findings(source));
        findings.extend(opening_findings(source));
    }
    fail_with(&findings);
}

#[test]
fn no_file_holds_leftovers_or_machine_paths() {
    let mut files = rust_sources();
    for dir in [".ci", "config", "docker", "docs", "examples", "tests/conformance", "tests/systems"]
    {
        files.extend(sources(dir));
    }
    for path in ["Cargo.toml", "Dockerfile", "README.md", "ARCHITECTURE.md", "deny.toml"] {
        files.push(Source { path: path.to_owned(), text: read(path) });
    }
    fail_with(&files.iter().flat_map(word_findings).collect::<Vec<_>>());
}

#[test]
fn dependencies_say_why() {
    let mut findings = dependency_findings("Cargo.toml", &read("Cargo.toml"));
    findings.extend(dependency_findings("fuzz/Cargo.toml", &read("fuzz/Cargo.toml")));
    fail_with(&findings);
}

#[test]
fn commands_have_scripts_and_documentation() {
    fail_with(&command_findings(&sources("tests/it/scripts")));
}

#[test]
fn readme_lists_the_commands() {
    fail_with(&readme_findings(&read("README.md")));
}

#[test]
fn each_rule_finds_what_breaks_it() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let rows = "//! | 0 | [`base`] | x |\n//! | 1 | [`resp`], [`encoding`] | x |\n";
    let layers = layers(rows);
    let in_resp = |text: &str| layer_findings(&source("src/resp/reply.rs", text), &layers).len();
    assert_eq!(in_resp("use crate::base::glob;\nuse crate::resp::x;\n"), 0);
    assert_eq!(in_resp("use crate::encoding::Table;\n"), 1, "modules of one row");
    assert_eq!(in_resp("use crate::{base, server::Server};\nlet x = crate::net::run();\n"), 2);
    assert_eq!(in_resp("// crate::net\n#[cfg(test)]\nmod tests {\n    use crate::net;\n}\n"), 0);
    assert_eq!(in_resp("#[cfg(test)]\nmod tests;\nuse crate::net;\n"), 1);

    let long = |lines: usize| format!("    fn f(\n{}    }}\n", "        x;\n".repeat(lines));
    let sizes = |text: &str| size_findings(&source("src/a.rs", text)).len();
    assert_eq!((sizes(&long(68)), sizes(&long(69))), (0, 1));
    assert_eq!((sizes(&"\n".repeat(800)), sizes(&"\n".repeat(801))), (0, 1));

    let words = |text: &str| word_findings(&source("src/a.rs", text)).len();
    assert_eq!(words(&format!("// {} later", LEFTOVERS[0])), 1);
    assert_eq!(words(&format!("struct Key{};\nmod {}s;\n", EMPTY_NAMES[0], "util")), 1);
    assert_eq!(words("mod util;\nfn utilize() {}\n"), 1);
    assert_eq!(words(&format!("let path = \"{}x\";", MACHINE_PATHS[0])), 1);

    let blocks = |text: &str| unsafe_findings(&source("src/a.rs", text)).len();
    assert_eq!((blocks("// unsafe\n\"unsafe\"\nunsafe_code\n"), blocks("unsafe { x }")), (0, 1));
    assert_eq!(opening_findings(&source("src/a.rs", "use x;\n//! Late.\n")).len(), 1);

    let manifest = "[dependencies]\n# Why.\na = \"1\"\nb = \"1\"\n[profile.dev]\nopt-level = 1\n";
    assert_eq!(
        dependency_findings("Cargo.toml", manifest),
        ["Cargo.toml:4: a dependency without a reason"]
    );
    assert!(command_findings(&[]).len() > 50, "no scripts, no findings");
    assert_eq!(readme_findings("").len(), 1);
}
