//! The file of users: one `user` line each, nothing else but blank lines.
//!
//! The file is rewritten by ACL SAVE, so comments are refused rather than lost.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::rules::{RuleError, Setting, is_plain, merge_selectors, shown};
use super::user::User;

/// Longest file of users, in bytes.
const FILE_LEN_MAX: u64 = 64 << 20;

/// Users by name.
pub type Loaded = BTreeMap<Box<[u8]>, User>;

/// Why a file of users is not taken: all that is wrong with it, as one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FileError(String);

/// Reads the users of a file; `id` numbers them.
pub(super) fn load(
    path: &str,
    setting: Setting<'_>,
    id: impl FnMut() -> u64,
) -> Result<Loaded, FileError> {
    let text = read(path).map_err(|error| {
        let error = io_text(&error);
        FileError(format!("Error loading ACLs, opening file '{path}': {error}"))
    })?;
    parse(path, &text, setting, id)
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(FILE_LEN_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_LEN_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "File too large"));
    }
    Ok(text)
}

/// What the operating system says, without Rust's number behind it.
fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Reads the users of a text. Every line is looked at, so that all errors are told at once.
pub(super) fn parse(
    path: &str,
    text: &[u8],
    setting: Setting<'_>,
    mut id: impl FnMut() -> u64,
) -> Result<Loaded, FileError> {
    let (mut users, mut errors) = (Loaded::new(), String::new());
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let number = at + 1;
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(b"user"), Some(name)) = (words.next(), words.next()) else {
            let text = "should start with user keyword followed by the username. ";
            errors.push_str(&format!("{path}:{number} {text}"));
            continue;
        };
        if !is_plain(name) {
            let text = format!("username '{}' contains invalid characters. ", shown(name));
            errors.push_str(&format!("'{path}:{number}: {text}"));
            continue;
        }
        let mut user = User::new(name, id(), setting.catalog, setting.all_channels);
        apply(&mut user, words, setting, &format!("{path}:{number}"), &mut errors);
        if users.insert(name.into(), user).is_some() {
            let text = format!("Duplicate user '{}' found on line {number}. ", shown(name));
            errors.push_str(&format!("WARNING: {text}"));
        }
    }
    if errors.is_empty() {
        return Ok(users);
    }
    errors.push_str(
        "WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
    );
    Err(FileError(errors))
}

/// Carries out the rules of a line; what is wrong is appended to `errors`.
fn apply<'l>(
    user: &mut User,
    rules: impl Iterator<Item = &'l [u8]>,
    setting: Setting<'_>,
    place: &str,
    errors: &mut String,
) {
    let Ok(rules) = merge_selectors(rules) else {
        errors.push_str(&format!("{place}: Unmatched parenthesis in selector definition."));
        return;
    };
    let mut is_clean = true;
    for rule in rules {
        match user.apply(setting, rule.trim_ascii()) {
            Ok(()) => {}
            // A command that does not exist is told with its name, which is no secret.
            Err(error @ RuleError::Unknown) => {
                let rule = shown(&rule);
                let text = format!("{place}: Error in applying operation '{rule}': {error}. ");
                errors.push_str(&text);
            }
            Err(error) if is_clean => {
                errors.push_str(&format!("{place}: {error}. "));
                is_clean = false;
            }
            // It may come of the first.
            Err(_) => {}
        }
    }
}

/// Replaces the file by one with `lines`, as a whole and durably.
pub(super) fn save(path: &str, lines: &[u8]) -> io::Result<()> {
    let path = Path::new(path);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".tmp-{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = write(&temporary, lines).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first error tells more than one from cleaning up.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

fn write(path: &Path, lines: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(lines)?;
    file.sync_all()
}
