//! Commands that are carried out in steps.

use std::sync::Arc;

use smallvec::SmallVec;

use super::call::{Executor, after_reply, context};
use super::commit::conclude_without_command;
use super::remember::Cost;
use crate::base::clock;
use crate::command::{Command, Flow, Job, Pending};
use crate::keyspace::{Access, LockSet};
use crate::resp::ReplyBuf;
use crate::server::{Client, ClientFlags, Server};

/// The row of a context in which no command runs.
pub(super) static NOTHING: Command = Command::new("", 0, |_, _| Ok(Flow::Done));

impl Executor {
    /// Replies what another thread made.
    pub fn end_background(&mut self, pending: &Pending, client: &mut Client, out: &mut ReplyBuf) {
        let (mark, replied) = (out.mark(), out.len());
        match pending.take() {
            Some(Ok(write)) => {
                write(out);
                after_reply(client, out, mark);
            }
            Some(Err(error)) => self.reply_error(&error, client, out, mark),
            None => after_reply(client, out, mark),
        }
        let since = client.unfinished.as_ref().map_or(0, |unfinished| unfinished.since);
        let reply_len = out.len().saturating_sub(replied);
        self.end_unfinished(client, Cost { ticks: clock::ticks().wrapping_sub(since), reply_len });
    }

    /// Lets `job` make one step with the locks it needs; `true` when it is done.
    pub fn work(&mut self, job: &mut dyn Job, client: &mut Client, out: &mut ReplyBuf) -> bool {
        let (server, commands) = (Arc::clone(&self.server), Arc::clone(&self.commands));
        let (mark, now_ms) = (out.mark(), server.now_ms());
        let (begun, replied) = (clock::ticks(), out.len());
        let access = lock(&server, job);
        let state = (&mut self.changes, &mut self.effects);
        let mut ctx = context(&server, &commands, state, access, client, out, now_ms);
        let result = job.step(&mut ctx);
        let deferred = conclude_without_command(&mut ctx);
        drop(ctx);
        self.settle();
        if !deferred.is_empty() {
            self.serve_deferred(deferred, client, now_ms);
        }
        if let Err(error) = &result {
            out.error(error);
            self.counters.errors.add(1);
            server.stats.count_error(&error.to_string());
        }
        let done = result.unwrap_or(true);
        let reply_len = out.len().saturating_sub(replied);
        let cost = Cost { ticks: clock::ticks().wrapping_sub(begun), reply_len };
        if done {
            after_reply(client, out, mark);
        } else if client.flags.has(ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP) {
            out.rewind(mark);
        }
        if done {
            self.end_unfinished(client, cost);
        } else if let Some(unfinished) = &mut client.unfinished {
            unfinished.ticks += cost.ticks;
            unfinished.reply_len += cost.reply_len;
        }
        done
    }

    /// Ends `job`, whose client is gone.
    pub fn abandon(&mut self, job: &mut dyn Job, client: &mut Client) {
        let (server, commands) = (Arc::clone(&self.server), Arc::clone(&self.commands));
        let (state, mut out) = ((&mut self.changes, &mut self.effects), ReplyBuf::default());
        let access = lock(&server, job);
        let now_ms = server.now_ms();
        job.abandon(&mut context(&server, &commands, state, access, client, &mut out, now_ms));
    }
}

/// Takes the locks that a step of `job` needs.
fn lock<'k>(server: &'k Server, job: &dyn Job) -> Access<'k> {
    let keys = job.keys();
    let hashes: SmallVec<[u64; 1]> = keys.iter().map(|key| server.keyspace.hash(key)).collect();
    let set = if hashes.is_empty() { LockSet::Each } else { LockSet::Hashes(&hashes) };
    Access::take(&server.keyspace, set)
}
