//! The words of a command that a script calls.

use crate::base::number;
use crate::resp::{ArgRange, Argv, ReplyBuf};

/// What is said where no command can be called.
pub(super) const OUTSIDE: &str = "redis.call/pcall can only be called inside a script invocation";

/// A value of Lua as a word.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument<'a> {
    Text(&'a [u8]),
    Number(f64),
    /// No word.
    Other,
}

/// Words one after the other.
#[derive(Default)]
pub(super) struct Arguments {
    bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
}

impl Arguments {
    /// Forgets the words of the last command, and expects `count` of the next.
    pub(super) fn begin(&mut self, count: usize) -> Result<(), &'static str> {
        self.bytes.clear();
        self.ranges.clear();
        if count == 0 {
            return Err("Please specify at least one argument for this redis lib call");
        }
        self.ranges.reserve(count);
        Ok(())
    }

    pub(super) fn add(&mut self, argument: Argument<'_>) -> Result<(), &'static str> {
        let start = self.bytes.len();
        match argument {
            Argument::Text(text) => self.bytes.extend_from_slice(text),
            Argument::Number(value) => match as_integer(value) {
                Some(value) => number::write_i64(&mut self.bytes, value),
                None => number::write_general_f64(&mut self.bytes, value),
            },
            Argument::Other => {
                return Err("Lua redis lib command arguments must be strings or integers");
            }
        }
        if self.bytes.len() > u32::MAX as usize {
            return Err("Arguments of the command are too long");
        }
        self.ranges.push(ArgRange::bytes(start, self.bytes.len() - start));
        Ok(())
    }

    pub(super) fn as_argv(&self) -> Argv<'_> {
        Argv::new(&self.bytes, &self.ranges, &[])
    }

    /// Puts a copy of the reply where the words were.
    pub(super) fn replace(&mut self, reply: &ReplyBuf) -> &[u8] {
        self.ranges.clear();
        self.bytes = reply.to_vec();
        &self.bytes
    }

    /// Gives back room that only a long command or reply needed.
    pub(super) fn trim(&mut self) {
        const ROOM_MAX: usize = 64 * 1024;
        if self.bytes.capacity() > ROOM_MAX {
            self.bytes = Vec::new();
        }
    }
}

/// The number as an integer, if it is one.
fn as_integer(number: f64) -> Option<i64> {
    const END: f64 = 9_223_372_036_854_775_808.0;
    let integer = number as i64;
    ((-END..END).contains(&number) && integer as f64 == number).then_some(integer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_words() {
        for (number, word) in [
            (0.0, "0"),
            (-7.0, "-7"),
            (1e17, "100000000000000000"),
            (-9_223_372_036_854_775_808.0, "-9223372036854775808"),
            (9_223_372_036_854_775_808.0, "9.2233720368547758e+18"),
            (1e-17, "1.0000000000000001e-17"),
            (1.5, "1.5"),
            (f64::INFINITY, "inf"),
        ] {
            let mut arguments = Arguments::default();
            arguments.begin(1).unwrap();
            arguments.add(Argument::Number(number)).unwrap();
            assert_eq!(String::from_utf8_lossy(arguments.as_argv().arg(0)), word);
        }
    }
}
