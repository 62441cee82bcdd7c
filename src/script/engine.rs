//! The engine: finds what is to run, runs it, and keeps what was compiled.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use mlua::Value;
use sha1::{Digest as _, Sha1};

use super::cache::{Cache, Digest};
use super::error::ScriptError;
use super::library::{Function, Libraries, Library, RestorePolicy};
pub use super::reply::Outcome;
use super::run::{Kind, RUN, Request, Run, State};
use super::sandbox::{Sandbox, Scope, message};
use super::shared::Shared;
use super::unit::{ScriptFlags, Unit};
use super::{Call, Host, What, api, reply, shebang};
use crate::base::bytes;
use crate::base::limits::{SCRIPT_COLLECT_RUNS, SCRIPT_MEMORY_MAX};
use crate::resp::{Argv, ReplyBuf};

/// How long a library may take to register its functions.
const LOAD_TIMEOUT: Duration = Duration::from_millis(500);

/// The interpreter with everything that was compiled.
pub struct Engine {
    sandbox: Sandbox,
    cache: Cache,
    libraries: Libraries,
    state: State,
    shared: Arc<Shared>,
    version: String,
    runs: u32,
}

/// A script or function that was found and may run.
#[derive(Clone, Debug)]
pub struct Prepared {
    unit: Arc<Unit>,
}

impl Prepared {
    /// What it declared.
    pub fn flags(&self) -> ScriptFlags {
        self.unit.flags
    }

    /// The digest of a script, the name of a function.
    pub fn name(&self) -> &str {
        &self.unit.name
    }

    /// Whether it is a function of a library.
    pub fn is_function(&self) -> bool {
        self.unit.is_function
    }
}

impl Engine {
    pub(super) fn new(version: &str, shared: Arc<Shared>) -> Self {
        let sandbox = Sandbox::new(version).expect("the prelude is right");
        let mut engine = Self {
            sandbox,
            cache: Cache::default(),
            libraries: Libraries::default(),
            state: State::new(Arc::clone(&shared)),
            shared,
            version: version.to_owned(),
            runs: 0,
        };
        engine.note_figures();
        engine
    }

    /// Finds, or compiles, what `call` names in the request `argv`.
    pub fn prepare(&mut self, call: &Call, argv: Argv<'_>) -> Result<Prepared, ScriptError> {
        let name = argv.arg(1);
        let unit = match call.what {
            What::Body => self.script(name)?,
            What::Sha => {
                let digest = parse_digest(name).ok_or(ScriptError::NoScript)?;
                self.cache.run(&digest).ok_or(ScriptError::NoScript)?
            }
            What::Function => {
                Arc::clone(self.libraries.function(name).ok_or(ScriptError::FunctionNotFound)?)
            }
        };
        let harmless = ScriptFlags::COMPAT.with(ScriptFlags::NO_WRITES);
        if call.read_only && !unit.flags.has(harmless) {
            return Err(ScriptError::WritesInReadOnly);
        }
        Ok(Prepared { unit })
    }

    /// Runs what was prepared for `call` and appends its reply to `out`.
    pub fn run(
        &mut self,
        prepared: &Prepared,
        host: &mut dyn Host,
        argv: Argv<'_>,
        call: &Call,
        out: &mut ReplyBuf,
    ) -> Outcome {
        let unit = &*prepared.unit;
        let request = Request { argv, name: &unit.name, is_function: unit.is_function };
        self.state.begin();
        let run = Run { kind: Kind::Call(request, host), state: &mut self.state };
        let (sandbox, parts) = (&self.sandbox, (call.keys.clone(), call.args.clone()));
        let result = RUN.set(run, || sandbox.run(unit, argv, parts));
        let mark = out.mark();
        let outcome = match result {
            Ok((true, value)) => reply::write(out, &value, self.state.protocol),
            Ok((false, error)) => Ok(write_failure(out, &unit.name, &error)),
            Err(error) => Err(error),
        };
        let outcome = outcome.unwrap_or_else(|error| {
            out.rewind(mark);
            write_failure_text(out, &unit.name, message(&error).as_bytes())
        });
        self.state.end();
        self.tidy();
        outcome
    }

    /// Compiles a script and keeps it for good; its digest in hexadecimal.
    pub fn load_script(&mut self, body: &[u8]) -> Result<String, ScriptError> {
        let digest = Sha1::digest(body).into();
        if !self.cache.keep(&digest) {
            self.compile_script(digest, body, false)?;
            self.note_figures();
        }
        Ok(api::hex(&digest))
    }

    /// Bytes that the interpreter uses.
    pub fn used_memory(&self) -> usize {
        self.sandbox.lua().used_memory()
    }

    /// Whether the script with that digest is in the cache.
    pub fn has_script(&self, digest: &[u8]) -> bool {
        parse_digest(digest).is_some_and(|digest| self.cache.contains(&digest))
    }

    /// The source of the script with that digest.
    pub fn script_source(&self, digest: &[u8]) -> Option<&[u8]> {
        self.cache.source(&parse_digest(digest)?)
    }

    /// Empties the cache of scripts.
    pub fn flush_scripts(&mut self) {
        self.cache.clear();
        self.sandbox.reset(Scope::Script);
        self.collect();
    }

    /// Loads a library and returns its name. `timeout` is off where it has been loaded before, as
    /// when it comes from a file.
    pub fn load_library(
        &mut self,
        source: &[u8],
        replace: bool,
        timeout: bool,
    ) -> Result<String, ScriptError> {
        let (name, code) = shebang::library(source)?;
        if self.libraries.contains(&name) && !replace {
            return Err(ScriptError::LibraryExists(name));
        }
        let library = self.compile_library(name.clone(), source, code, timeout)?;
        let replaced = self.libraries.remove(&name);
        if let Err((_, error)) = self.libraries.add(library) {
            if let Some(replaced) = replaced {
                assert!(self.libraries.add(replaced).is_ok(), "it was there before");
            }
            return Err(error);
        }
        self.note_figures();
        Ok(name)
    }

    /// Deletes a library.
    pub fn delete_library(&mut self, name: &[u8]) -> Result<(), ScriptError> {
        let name = std::str::from_utf8(name).map_err(|_| ScriptError::LibraryNotFound)?;
        self.libraries.remove(name).ok_or(ScriptError::LibraryNotFound)?;
        self.note_figures();
        Ok(())
    }

    /// Deletes all libraries.
    pub fn flush_libraries(&mut self) {
        self.libraries = Libraries::default();
        self.sandbox.reset(Scope::Library);
        self.collect();
    }

    /// The sources of all libraries.
    pub fn library_sources(&self) -> Vec<Vec<u8>> {
        self.libraries().map(|library| library.source().to_vec()).collect()
    }

    /// All libraries by name.
    pub fn libraries(&self) -> impl ExactSizeIterator<Item = &Library> {
        self.libraries.iter()
    }

    /// Whether there is a function of that name.
    pub fn has_function(&self, name: &[u8]) -> bool {
        self.libraries.function(name).is_some()
    }

    /// What a script or function declares, as far as it is known.
    pub fn declared_flags(&self, what: What, name: &[u8]) -> Option<ScriptFlags> {
        let body = match what {
            What::Body => name,
            What::Sha => self.script_source(name)?,
            What::Function => return self.libraries.function(name).map(|unit| unit.flags),
        };
        shebang::script(body).ok().map(|(flags, _)| flags)
    }

    /// Loads libraries with these sources; changes nothing if one of them cannot be loaded.
    pub fn restore_libraries<'s>(
        &mut self,
        sources: impl Iterator<Item = &'s [u8]>,
        policy: RestorePolicy,
    ) -> Result<(), ScriptError> {
        let mut restored = Libraries::default();
        for source in sources {
            let (name, code) = shebang::library(source)?;
            if restored.contains(&name) {
                return Err(ScriptError::LibraryExists(name));
            }
            let library = self.compile_library(name, source, code, false)?;
            restored.add(library).map_err(|(_, error)| error)?;
        }
        match policy {
            RestorePolicy::Flush => self.libraries = restored,
            policy => self.libraries.join(restored, policy == RestorePolicy::Replace)?,
        }
        self.note_figures();
        Ok(())
    }

    fn script(&mut self, body: &[u8]) -> Result<Arc<Unit>, ScriptError> {
        let digest = Sha1::digest(body).into();
        match self.cache.run(&digest) {
            Some(unit) => Ok(unit),
            None => {
                let unit = self.compile_script(digest, body, true)?;
                self.note_figures();
                Ok(unit)
            }
        }
    }

    fn compile_script(
        &mut self,
        digest: Digest,
        body: &[u8],
        evictable: bool,
    ) -> Result<Arc<Unit>, ScriptError> {
        let (flags, code) = shebang::script(body)?;
        let code = self.sandbox.compile(code, Scope::Script).map_err(ScriptError::CompileScript)?;
        let unit = Arc::new(Unit { name: api::hex(&digest), is_function: false, flags, code });
        let evicted = self.cache.insert(digest, Arc::clone(&unit), body, evictable);
        self.shared.figures.evicted.fetch_add(evicted as u64, Relaxed);
        Ok(unit)
    }

    fn compile_library(
        &mut self,
        name: String,
        source: &[u8],
        code: &[u8],
        timeout: bool,
    ) -> Result<Library, ScriptError> {
        let code =
            self.sandbox.compile(code, Scope::Library).map_err(ScriptError::CompileLibrary)?;
        self.state.begin();
        self.state.deadline = timeout.then(|| Instant::now() + LOAD_TIMEOUT);
        let run = Run { kind: Kind::Load, state: &mut self.state };
        let result = RUN.set(run, || self.sandbox.load(&code));
        let registered = std::mem::take(&mut self.state.registration.0);
        let failure = match result {
            Ok((true, _)) => None,
            Ok((false, error)) => Some(bytes::text(&failure_text(&error))),
            Err(error) => Some(format!("ERR {}", message(&error))),
        };
        if let Some(text) = failure {
            return Err(ScriptError::LoadLibrary(text));
        }
        if registered.is_empty() {
            return Err(ScriptError::NoFunctions);
        }
        let functions = registered.into_iter().map(|function| Function {
            description: function.description,
            unit: Arc::new(Unit {
                name: function.name,
                is_function: true,
                flags: function.flags,
                code: function.code,
            }),
        });
        Ok(Library { name, source: source.to_vec(), functions: functions.collect() })
    }

    /// From time to time takes a step of collecting garbage, as Redis does, and looks whether a script
    /// left more than it should.
    fn tidy(&mut self) {
        self.runs += 1;
        if self.runs.is_multiple_of(SCRIPT_COLLECT_RUNS) {
            _ = self.sandbox.lua().gc_step();
            self.note_figures();
        }
        if self.sandbox.lua().used_memory() > SCRIPT_MEMORY_MAX / 2 {
            self.collect();
        }
    }

    fn collect(&mut self) {
        self.sandbox.forget_arguments();
        _ = self.sandbox.lua().gc_collect();
        if self.sandbox.lua().used_memory() > SCRIPT_MEMORY_MAX / 2 {
            self.rebuild();
        }
        self.note_figures();
    }

    /// Makes a new interpreter: libraries start anew, and scripts are forgotten.
    fn rebuild(&mut self) {
        tracing::warn!(
            "Lua holds too much memory: libraries are loaded again, scripts are forgotten"
        );
        let sources: Vec<_> = self.libraries.iter().map(|library| library.source.clone()).collect();
        self.cache.clear();
        self.libraries = Libraries::default();
        self.sandbox = Sandbox::new(&self.version).expect("it worked before");
        for source in sources {
            if let Err(error) = self.load_library(&source, false, false) {
                tracing::warn!("A library could not be loaded again: {error}");
            }
        }
    }

    fn note_figures(&mut self) {
        let figures = &self.shared.figures;
        figures.scripts.store(self.cache.len(), Relaxed);
        figures.scripts_bytes.store(self.cache.bytes(), Relaxed);
        figures.functions.store(self.libraries.function_count(), Relaxed);
        figures.libraries.store(self.libraries.iter().len(), Relaxed);
        figures.libraries_bytes.store(self.libraries.bytes(), Relaxed);
        figures.vm_bytes.store(self.sandbox.lua().used_memory(), Relaxed);
    }
}

/// The digest that 40 hexadecimal digits stand for.
fn parse_digest(hex: &[u8]) -> Option<Digest> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut digest = [0; 20];
    if hex.len() != 40 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

/// The text of an error that a script or library ended with, code first.
fn failure_text(error: &Value) -> Vec<u8> {
    match error {
        Value::Table(table) => match table.raw_get("err") {
            Ok(Value::String(text)) => text.as_bytes().to_vec(),
            Ok(Value::Integer(number)) => number.to_string().into_bytes(),
            Ok(Value::Number(number)) => number.to_string().into_bytes(),
            _ => b"ERR unknown error".to_vec(),
        },
        Value::String(text) => [b"ERR ", &*text.as_bytes()].concat(),
        other => format!("ERR {}", other.to_string().unwrap_or_default()).into_bytes(),
    }
}

/// Replies the error that `report` made a table of.
fn write_failure(out: &mut ReplyBuf, name: &str, error: &Value) -> Outcome {
    let Value::Table(table) = error else {
        let text = error.as_string().map(|text| text.as_bytes().to_vec());
        return write_failure_text(
            out,
            name,
            &text.unwrap_or_else(|| b"execution failure".to_vec()),
        );
    };
    let mut text = failure_text(error);
    let field = |name| table.raw_get::<Value>(name).unwrap_or(Value::Nil);
    if let (Value::String(source), Value::Integer(line)) = (field("source"), field("line")) {
        let source = source.to_string_lossy();
        text.extend_from_slice(format!(" script: {name}, on {source}:{line}.").as_bytes());
    }
    reply::write_error(out, &text);
    let counted = matches!(field("ignore_error_stats_update"), Value::Boolean(true));
    Outcome { failed: true, uncounted: !counted }
}

/// Replies an error that Lua has no table for, such as one of memory.
fn write_failure_text(out: &mut ReplyBuf, name: &str, text: &[u8]) -> Outcome {
    const SHOWN_MAX: usize = 100;
    let shown = &text[..text.len().min(SHOWN_MAX)];
    let head = format!("ERR Error running script {name}, ");
    reply::write_error(out, &[head.as_bytes(), shown].concat());
    Outcome { failed: true, uncounted: true }
}
