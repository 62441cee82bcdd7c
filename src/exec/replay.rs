//! Running commands of a file again.
//!
//! A command of the append-only file takes the way that every command takes, on behalf of a client
//! that nobody sees: its reply is dropped, it is not counted, it reaches neither the stream nor
//! subscribers. The time is long ago, so that a key is still there for a command that found it; what
//! has expired goes afterwards.

use std::path::PathBuf;
use std::sync::Arc;

use super::call::{Executor, LONG_AGO, hash_keys};
use crate::command::CommandTable;
use crate::keyspace::KeyHash;
use crate::observe::stats::LoopCounters;
use crate::resp::{Argv, ReplyBuf};
use crate::server::{Client, ClientHandle, MakeRunner, Peer, RunAgain, Server};

/// Runs commands again.
struct Replayer {
    executor: Executor,
    client: Client,
    keys: Vec<KeyHash>,
    indexes: Vec<usize>,
    out: ReplyBuf,
}

/// What makes a runner, for [`crate::server::Loading::set_runner`].
pub const RUNNER: MakeRunner = |server| Box::new(Replayer::new(server));

impl Replayer {
    fn new(server: &Arc<Server>) -> Self {
        let commands = CommandTable::new(server.config.read().renames())
            .expect("the same renames were accepted at the start");
        let counters = Arc::new(LoopCounters::new(commands.ids()));
        let nobody = Peer::Unix(Arc::new(PathBuf::new()));
        let handle = ClientHandle::new(0, 0, nobody, 0, 0, 0);
        Self {
            executor: Executor::with_counters(Arc::clone(server), Arc::new(commands), counters),
            client: Client::new(Arc::new(handle)),
            keys: Vec::new(),
            indexes: Vec::new(),
            out: ReplyBuf::default(),
        }
    }
}

impl RunAgain for Replayer {
    fn run(&mut self, argv: Argv<'_>) -> Result<(), String> {
        let commands = Arc::clone(&self.executor.commands);
        let unknown = |_| format!("Unknown command '{}'", argv.arg(0).escape_ascii());
        let registered = commands.resolve(argv).map_err(unknown)?;
        if !registered.command.accepts(argv.len()) {
            return Err(format!("Wrong number of arguments for '{}'", registered.name));
        }
        self.keys.clear();
        let keyspace = &self.executor.server().keyspace;
        hash_keys(keyspace, registered.command, argv, &mut self.indexes, &mut self.keys);
        self.out = ReplyBuf::default();
        let (client, out) = (&mut self.client, &mut self.out);
        // What was refused when it first ran is refused again; nobody waits for the reply.
        let result = self.executor.call(registered, argv, &self.keys, client, out, LONG_AGO);
        match result {
            // What follows would end up in another database.
            Err(error) if registered.command.name == "select" => Err(error.to_string()),
            _ => Ok(()),
        }
    }
}
