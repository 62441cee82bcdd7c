//! What a handler has at hand, and what it asks the executor to do next.

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::Notify;

use super::background::Background;
use super::effects::Effects;
use super::error::CmdError;
use super::spec::Command;
use super::table::CommandTable;
use crate::keyspace::DbView;
use crate::resp::ReplyBuf;
use crate::script::{Call, EngineGuard};
use crate::server::{Client, Server, Wait};

/// Everything a handler may use.
pub struct Ctx<'a> {
    /// The keys it declared, or what its row locks.
    pub db: DbView<'a>,
    /// Where its reply goes.
    pub out: &'a mut ReplyBuf,
    /// Who asks.
    pub client: &'a mut Client,
    /// The process.
    pub server: &'a Server,
    /// All commands.
    pub commands: &'a CommandTable,
    /// The script engine, where the row asks for it.
    pub engine: Option<EngineGuard<'a>>,
    /// How it propagates.
    pub effects: &'a mut Effects,
    /// Whether it runs inside of a transaction or a script.
    pub inside: bool,
    /// Whether memory was full when the request began.
    pub out_of_memory: bool,
    /// Its own row.
    pub command: &'static Command,
    /// Unix time in milliseconds, the same for the whole command.
    pub now_ms: i64,
}

/// What is left of a command that is carried out in steps, so that other clients run in between.
///
/// Its client's next request waits until it is done. A step takes its locks anew, so what it knows
/// of the keyspace may be out of date.
pub trait Job: Send + std::fmt::Debug {
    /// The keys whose shards a step needs; none where a step visits shards one after the other.
    fn keys(&self) -> SmallVec<[&[u8]; 1]>;

    /// What has to happen before the next step has anything to do.
    fn awaits(&self) -> Option<Arc<Notify>> {
        None
    }

    /// Goes on for about [`crate::base::limits::BACKGROUND_SLICE`]; `true` when all is replied.
    fn step(&mut self, ctx: &mut Ctx<'_>) -> Result<bool, CmdError>;

    /// Leaves everything as it is, because the client is gone; with the locks of a step.
    fn abandon(&mut self, _ctx: &mut Ctx<'_>) {}
}

/// What is to happen after a handler returned.
#[derive(Debug)]
pub enum Flow {
    /// Nothing more.
    Done,
    /// The connection closes once its replies are sent.
    Close,
    /// The client waits until a command serves it; nothing was replied.
    Block(Box<Wait>),
    /// A script or function is to run; nothing was replied.
    Eval(Box<Call>),
    /// The rest is done in steps.
    Work(Box<dyn Job>),
    /// Another thread makes the reply; nothing was replied.
    Background(Background),
    /// The event loop does nothing else for that many milliseconds (DEBUG SLEEP).
    Sleep(u64),
}
