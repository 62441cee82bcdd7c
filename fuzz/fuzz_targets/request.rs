//! The request parser on any bytes: cut up or whole, the requests and the error are the same.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use redstart::resp::{ArgRange, Argv, ParseLimits, ParseState, ProtocolError, RequestParser};

type Request = Vec<Vec<u8>>;

/// Requests in order, and what ended them if not the input's end.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    requests: Vec<Request>,
    error: Option<ProtocolError>,
}

/// A caller of the parser: keeps the input from the unfinished request on, as a connection does.
#[derive(Default)]
struct Reader {
    parser: RequestParser,
    buffer: Vec<u8>,
    outcome: Outcome,
}

impl Reader {
    /// Takes over more input; false when it cannot be understood.
    fn feed(&mut self, mut bytes: &[u8], limits: ParseLimits) -> bool {
        while !bytes.is_empty() {
            if let Some((big, room)) = self.parser.big_arg_room()
                && room > 0
            {
                let (now, later) = bytes.split_at(room.min(bytes.len()));
                big.extend_from_slice(now);
                bytes = later;
                continue;
            }
            self.buffer.extend_from_slice(bytes);
            bytes = &[];
            if !self.parse(limits) {
                return false;
            }
        }
        true
    }

    fn parse(&mut self, limits: ParseLimits) -> bool {
        let mut done = 0;
        loop {
            let (mut args, mut bigs): (Vec<ArgRange>, Vec<Arc<Vec<u8>>>) = Default::default();
            match self.parser.parse(&self.buffer, limits, &mut args, &mut bigs) {
                Ok(ParseState::Request) => {
                    let argv = Argv::new(&self.buffer, &args, &bigs);
                    assert!(!argv.is_empty(), "a request has a name");
                    let request = (0..argv.len()).map(|at| argv.arg(at).to_vec()).collect();
                    self.outcome.requests.push(request);
                    done = self.parser.position();
                }
                Ok(ParseState::NeedMore) => break,
                Err(error) => {
                    self.outcome.error = Some(error);
                    return false;
                }
            }
        }
        if !self.parser.is_inside() {
            done = self.parser.position();
        }
        assert!(done <= self.buffer.len());
        self.buffer.drain(..done);
        self.parser.discard_front(done);
        true
    }
}

fuzz_target!(|input: (&[u8], bool, Vec<u8>)| {
    let (cuts, unauthenticated, mut bytes) = input;
    // Big arguments take another way through the parser, and random input is never that long.
    if bytes.first() == Some(&0) {
        let big = bytes.len() * 97 % 90_000;
        let mut start = format!("*2\r\n${big}\r\n").into_bytes();
        start.resize(start.len() + big, b'x');
        start.extend_from_slice(b"\r\n");
        bytes.splice(..1, start);
    }
    let limits = ParseLimits { bulk_max: 1 << 20, unauthenticated };
    let mut whole = Reader::default();
    whole.feed(&bytes, limits);

    let mut split = Reader::default();
    let mut rest = &bytes[..];
    for cut in cuts.iter().cycle().take(bytes.len() + 1) {
        // Small steps, and now and then one that crosses the bounds of big arguments.
        let step = if *cut > 250 { 40_000 } else { usize::from(*cut) };
        let (now, later) = rest.split_at(step.min(rest.len()));
        rest = later;
        if !split.feed(now, limits) {
            break;
        }
    }
    if split.outcome.error.is_none() {
        split.feed(rest, limits);
    }
    assert_eq!(split.outcome, whole.outcome);
});
