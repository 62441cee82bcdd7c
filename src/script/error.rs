//! Why something about a script was refused, and what functions raise inside of one.

use std::fmt;

use thiserror::Error;

use crate::base::bytes;

/// Why a script, a function or a library was refused; the Display is the wire text with its prefix.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's text says what it means")]
pub enum ScriptError {
    #[error("NOSCRIPT No matching script. Please use EVAL.")]
    NoScript,
    #[error("ERR Error compiling script (new function): {0}")]
    CompileScript(String),
    #[error("ERR Invalid script shebang")]
    Shebang,
    #[error("ERR Invalid engine in script shebang")]
    ShebangEngine,
    #[error("ERR Unexpected engine in script shebang: {0}")]
    ShebangUnknownEngine(String),
    #[error("ERR Unexpected flag in script shebang: {0}")]
    ShebangFlag(String),
    #[error("ERR Unknown lua shebang option: {0}")]
    ShebangOption(String),
    #[error("ERR Can not execute a script with write flag using *_ro command.")]
    WritesInReadOnly,
    #[error("ERR Function not found")]
    FunctionNotFound,
    #[error("ERR Library not found")]
    LibraryNotFound,
    #[error("ERR Missing library metadata")]
    MetadataMissing,
    #[error("ERR Invalid library metadata")]
    Metadata,
    #[error("ERR Invalid metadata value, name argument was given multiple times")]
    MetadataNameTwice,
    #[error("ERR Invalid metadata value given: {0}")]
    MetadataValue(String),
    #[error("ERR Library name was not given")]
    LibraryUnnamed,
    #[error(
        "ERR Library names can only contain letters, numbers, or underscores(_) and must be at \
         least one character long"
    )]
    LibraryName,
    #[error("ERR Engine '{0}' not found")]
    UnknownEngine(String),
    #[error("ERR Library '{0}' already exists")]
    LibraryExists(String),
    #[error("ERR Library {0} already exists")]
    RestoredLibraryExists(String),
    #[error("ERR Function {0} already exists")]
    FunctionExists(String),
    #[error("ERR Error compiling function: {0}")]
    CompileLibrary(String),
    #[error("ERR Error registering functions: {0}")]
    LoadLibrary(String),
    #[error("ERR No functions registered")]
    NoFunctions,
    #[error("NOTBUSY No scripts in execution right now.")]
    NotBusy,
    #[error(
        "UNKILLABLE The busy script was sent by a master instance in the context of replication \
         and cannot be killed."
    )]
    UnkillablePrimary,
    #[error(
        "UNKILLABLE Sorry the script already executed write commands against the dataset. You can \
         either wait the script termination or kill the server in a hard way using the SHUTDOWN \
         NOSAVE command."
    )]
    Unkillable,
    #[error(
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
    )]
    BusyScript,
    #[error(
        "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
    )]
    BusyFunction,
}

/// What a function of the server raises in a script, apart from a plain text.
///
/// Inside Lua it is a userdata until somebody catches it.
#[derive(Debug)]
pub(super) enum Raise {
    /// A reply that is an error: a table with this text as `err`.
    Reply {
        /// The text, code first.
        text: Vec<u8>,
        /// Whether statistics of errors have it already.
        counted: bool,
    },
    /// The end, which nobody can catch: killed, or out of time.
    Stop(&'static str),
}

impl Raise {
    /// An error of the server's functions, whose code is `ERR`.
    pub(super) fn err(text: &str) -> mlua::Error {
        Self::Reply { text: format!("ERR {text}").into_bytes(), counted: false }.into_lua()
    }

    pub(super) fn into_lua(self) -> mlua::Error {
        mlua::Error::external(self)
    }
}

impl fmt::Display for Raise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply { text, .. } => f.write_str(&bytes::text(text)),
            Self::Stop(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Raise {}
