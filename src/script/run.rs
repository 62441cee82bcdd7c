//! The running script as the functions that it calls find it: lent through the thread.

use std::sync::Arc;
use std::time::Instant;

use scoped_tls_hkt::ReborrowMut;

use super::Host;
use super::arguments::Arguments;
use super::random::Random48;
use super::register::Registration;
use super::shared::{Running, Shared};
use crate::resp::{Argv, OwnedArgv, Protocol, ReplyBuf};

scoped_tls_hkt::scoped_thread_local!(pub(super) static mut RUN: for<'a> Run<'a>);

/// What runs on this thread.
pub(super) struct Run<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) state: &'a mut State,
}

/// What it is.
pub(super) enum Kind<'a> {
    /// A script or function, on behalf of a request.
    Call(Request<'a>, &'a mut (dyn Host + 'a)),
    /// A library that registers its functions.
    Load,
}

/// The request that runs a script.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) argv: Argv<'a>,
    pub(super) name: &'a str,
    pub(super) is_function: bool,
}

/// What is kept from run to run, and made anew or emptied at the beginning of each.
pub(super) struct State {
    /// Replies of commands, one at a time.
    pub(super) reply: ReplyBuf,
    /// Arguments of commands.
    pub(super) arguments: Arguments,
    /// Goes on from script to script.
    pub(super) random: Random48,
    /// The protocol of replies that the script gets.
    pub(super) protocol: Protocol,
    /// When the run began; set when somebody asks first.
    pub(super) started: Option<Instant>,
    /// When a loading library must be done.
    pub(super) deadline: Option<Instant>,
    /// Whether others were shown the run.
    pub(super) published: bool,
    /// Where the native stack of the run begins.
    pub(super) stack: usize,
    /// What a loading library has registered.
    pub(super) registration: Registration,
    pub(super) shared: Arc<Shared>,
}

impl<'a, 'b: 'a> ReborrowMut<'a> for Run<'b> {
    type Result = Run<'a>;

    fn reborrow_mut(&'a mut self) -> Run<'a> {
        let kind = match &mut self.kind {
            Kind::Call(request, host) => Kind::Call(*request, &mut **host),
            Kind::Load => Kind::Load,
        };
        Run { kind, state: self.state }
    }
}

impl State {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            reply: ReplyBuf::default(),
            arguments: Arguments::default(),
            random: Random48::default(),
            protocol: Protocol::Resp2,
            started: None,
            deadline: None,
            published: false,
            stack: 0,
            registration: Registration::default(),
            shared,
        }
    }

    pub(super) fn begin(&mut self) {
        self.shared.begin();
        self.protocol = Protocol::Resp2;
        (self.started, self.deadline) = (None, None);
        self.stack = stack_address();
    }

    pub(super) fn end(&mut self) {
        self.arguments.trim();
        if std::mem::take(&mut self.published) {
            self.shared.withdraw();
        }
    }
}

impl Run<'_> {
    /// Called every so many instructions; says why the run must end, if it must.
    pub(super) fn tick(&mut self) -> Option<&'static str> {
        match &mut self.kind {
            Kind::Load => {
                let late = self.state.deadline.is_some_and(|deadline| Instant::now() > deadline);
                late.then_some("ERR FUNCTION LOAD timeout")
            }
            Kind::Call(request, host) => {
                let started = *self.state.started.get_or_insert_with(Instant::now);
                self.state.published = true;
                self.state.shared.publish(|| Running {
                    name: request.name.to_owned(),
                    is_function: request.is_function,
                    command: OwnedArgv::of(request.argv),
                    started,
                });
                (host.tick() || self.state.shared.is_killed()).then_some(KILLED)
            }
        }
    }
}

/// What a killed script ends with.
pub(super) const KILLED: &str = "ERR Script killed by user with SCRIPT KILL...";

/// Roughly where the native stack ends at the moment.
#[inline(never)]
pub(super) fn stack_address() -> usize {
    let here = 0u8;
    std::ptr::from_ref(&here) as usize
}

/// Writes a line that a script logs; `level` is 0 (debug) to 3 (warning).
pub fn log(level: u8, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    match level {
        0 => tracing::trace!("{text}"),
        1 => tracing::debug!("{text}"),
        2 => tracing::info!("{text}"),
        _ => tracing::warn!("{text}"),
    }
}
