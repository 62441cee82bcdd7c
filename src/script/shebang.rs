//! The first line of a script or library: `#!lua flags=no-writes`, `#!lua name=mylib`.

use super::error::ScriptError;
use super::unit::ScriptFlags;
use crate::base::bytes::text;
use crate::base::quote;

/// The words of the first line and what follows it, its line feed included, so that the numbers of
/// lines stay; nothing without a line feed, and no words where quotes are not closed.
fn split(code: &[u8]) -> Option<(Vec<Vec<u8>>, &[u8])> {
    // Up to the first NUL byte, as in C.
    let end = code.iter().position(|&byte| byte == b'\n' || byte == 0)?;
    if code[end] != b'\n' {
        return None;
    }
    Some((quote::split_args(&code[..end]).unwrap_or_default(), &code[end..]))
}

/// The flags of a script and its code without the shebang.
pub(super) fn script(body: &[u8]) -> Result<(ScriptFlags, &[u8]), ScriptError> {
    if !body.starts_with(b"#!") {
        return Ok((ScriptFlags::COMPAT, body));
    }
    let (words, code) = split(body).ok_or(ScriptError::Shebang)?;
    let (engine, options) = words.split_first().ok_or(ScriptError::ShebangEngine)?;
    if engine != b"#!lua" {
        return Err(ScriptError::ShebangUnknownEngine(text(engine)));
    }
    let mut flags = ScriptFlags::NONE;
    for option in options {
        let list = option.strip_prefix(b"flags=");
        let list = list.ok_or_else(|| ScriptError::ShebangOption(text(option)))?;
        for name in list.split(|&byte| byte == b',').filter(|_| !list.is_empty()) {
            let known = ScriptFlags::NAMED.iter().find(|(_, known)| known.as_bytes() == name);
            flags = flags.with(known.ok_or_else(|| ScriptError::ShebangFlag(text(name)))?.0);
        }
    }
    Ok((flags, code))
}

/// The name of a library and its code without the shebang.
pub(super) fn library(source: &[u8]) -> Result<(String, &[u8]), ScriptError> {
    if !source.starts_with(b"#!") {
        return Err(ScriptError::MetadataMissing);
    }
    let (words, code) = split(source).ok_or(ScriptError::Metadata)?;
    let (engine, options) = words.split_first().ok_or(ScriptError::Metadata)?;
    let mut name = None;
    for option in options {
        let prefix = option.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"name="));
        if !prefix {
            return Err(ScriptError::MetadataValue(text(option)));
        }
        if name.replace(&option[5..]).is_some() {
            return Err(ScriptError::MetadataNameTwice);
        }
    }
    let name = name.ok_or(ScriptError::LibraryUnnamed)?;
    if !is_name(name) {
        return Err(ScriptError::LibraryName);
    }
    let engine = engine.strip_prefix(b"#!").unwrap_or_default();
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(ScriptError::UnknownEngine(text(engine)));
    }
    Ok((text(name), code))
}

/// Whether libraries and functions can be called that.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_declare_flags() {
        assert_eq!(script(b"return 1"), Ok((ScriptFlags::COMPAT, b"return 1".as_slice())));
        let (flags, code) = script(b"#!lua flags=no-writes,allow-oom\nreturn 1").unwrap();
        assert_eq!(flags, ScriptFlags::NO_WRITES.with(ScriptFlags::ALLOW_OOM));
        assert_eq!(code, b"\nreturn 1");
        assert_eq!(script(b"#!lua flags=\n").unwrap().0, ScriptFlags::NONE);
        for (body, error) in [
            ("#!lua", "ERR Invalid script shebang"),
            ("#!lua\0\n", "ERR Invalid script shebang"),
            ("#!\"lua\n", "ERR Invalid engine in script shebang"),
            ("#!python\n", "ERR Unexpected engine in script shebang: #!python"),
            ("#!lua badger=data\n", "ERR Unknown lua shebang option: badger=data"),
            ("#!lua flags=what?\n", "ERR Unexpected flag in script shebang: what?"),
            ("#!lua flags=no-writes,\n", "ERR Unexpected flag in script shebang: "),
        ] {
            assert_eq!(script(body.as_bytes()).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn libraries_have_names() {
        assert_eq!(library(b"#!LUA name=x\ny"), Ok(("x".into(), b"\ny".as_slice())));
        assert_eq!(library(b"#!lua NAME=\"x\"\n").unwrap().0, "x");
        for (source, error) in [
            ("x", "ERR Missing library metadata"),
            ("#!lua name=x", "ERR Invalid library metadata"),
            ("#!lua\n", "ERR Library name was not given"),
            ("#!lua name=a name=b\n", "name argument was given multiple times"),
            ("#!lua name=a b=c\n", "ERR Invalid metadata value given: b=c"),
            ("#!lua name=a-b\n", "ERR Library names can only contain letters"),
            ("#!lua name=\n", "ERR Library names can only contain letters"),
            ("#! name=a\n", "ERR Engine '' not found"),
            ("#!v8 name=a\n", "ERR Engine 'v8' not found"),
        ] {
            let message = library(source.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(error), "{source}: {message}");
        }
    }
}
