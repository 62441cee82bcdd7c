//! DEBUG DIGEST: a number for what databases or values hold, whatever their order and encodings.
//!
//! The numbers are those of Redis 7.0 and 8 (debug.c there describes them): SHA-1 sums that are
//! chained where order matters and combined by exclusive or where it does not.

use sha1::{Digest, Sha1};

use super::args::Args;
use super::context::Ctx;
use super::error::CmdError;
use crate::keyspace::{EntryView, Lookup};
use crate::value::stream::Stream;
use crate::value::zset::ZSet;
use crate::value::{Hash, List, Set, Str, Type};

/// Keys that one call of the scan visits.
const SCAN_STEP: usize = 1024;

/// A digest under construction.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum([u8; 20]);

impl Sum {
    /// Adds bytes without regard to order; the same bytes twice cancel out.
    fn combine(&mut self, bytes: &[u8]) {
        let hash = Sha1::digest(bytes);
        self.0.iter_mut().zip(hash).for_each(|(own, other)| *own ^= other);
    }

    /// Adds bytes after what was added before.
    fn chain(&mut self, bytes: &[u8]) {
        self.combine(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Adds a value and its deadline.
    fn add_value(&mut self, entry: EntryView<'_>, now_ms: i64) {
        let (value, mut digits) = (entry.value(), [0; 20]);
        let type_number: u32 = match value.type_of() {
            Type::String => 0,
            Type::List => 1,
            Type::Set => 2,
            Type::ZSet => 3,
            Type::Hash => 4,
            Type::Stream => 6,
        };
        self.chain(&type_number.to_be_bytes());
        if let Ok(text) = value.of::<Str>() {
            self.chain(text.bytes(&mut digits));
        } else if let Ok(list) = value.of::<List>() {
            list.walk(0..list.len(), crate::encoding::End::Head, |item| {
                self.chain(item.bytes(&mut digits));
                true
            });
        } else if let Ok(set) = value.of::<Set>() {
            set.iter().for_each(|member| self.combine(member.bytes(&mut digits)));
        } else if let Ok(zset) = value.of::<ZSet>() {
            for (member, score) in zset.iter() {
                let (mut sum, mut text) = (Self::default(), String::new());
                sum.chain(member.bytes(&mut digits));
                write_17_digits(&mut text, score);
                sum.chain(text.as_bytes());
                self.combine(&sum.0);
            }
        } else if let Ok(hash) = value.of::<Hash>() {
            hash.for_each(now_ms, |name, value| {
                let mut sum = Self::default();
                sum.chain(name.bytes(&mut digits));
                sum.chain(value.bytes(&mut [0; 20]));
                if value.deadline().is_some() {
                    sum.combine(b"!!hexpire!!");
                }
                self.combine(&sum.0);
            });
        }
        if let Ok(stream) = value.of::<Stream>() {
            for entry in stream.iter() {
                self.chain(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                for (name, value) in entry.pairs() {
                    self.chain(name.bytes(&mut digits));
                    self.chain(value.bytes(&mut digits));
                }
            }
        }
        if entry.deadline().is_some() {
            self.combine(b"!!expire!!");
        }
    }
}

/// Appends `value` as C's `%.17g` shows it.
fn write_17_digits(out: &mut String, value: f64) {
    if !value.is_finite() {
        out.push_str(if value > 0.0 { "inf" } else { "-inf" });
        return;
    }
    let scientific = format!("{value:.16e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| -> String {
        let has_fraction = text.contains('.');
        let text = if has_fraction { text.trim_end_matches('0') } else { text };
        text.trim_end_matches('.').to_owned()
    };
    if (-4..17).contains(&exponent) {
        let decimals = usize::try_from(16 - exponent).unwrap_or(0);
        out.push_str(&trimmed(&format!("{value:.decimals$}")));
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        out.push_str(&format!("{}e{sign}{:02}", trimmed(digits), exponent.abs()));
    }
}

/// DEBUG DIGEST: one number for all databases.
pub(super) fn digest(ctx: &mut Ctx<'_>) {
    let (mut total, now_ms) = (Sum::default(), ctx.now_ms);
    for db in 0..ctx.db.databases() {
        ctx.db.select(db);
        let (mut keys, mut cursor) = (Sum::default(), 0);
        let mut is_empty = true;
        loop {
            cursor = ctx.db.scan(cursor, SCAN_STEP, |entry| {
                is_empty = false;
                let mut sum = Sum::default();
                sum.chain(entry.key());
                sum.add_value(entry, now_ms);
                keys.combine(&sum.0);
            });
            if cursor == 0 {
                break;
            }
        }
        if !is_empty {
            total.chain(&(db as u32).to_be_bytes());
            total.0.iter_mut().zip(keys.0).for_each(|(own, other)| *own ^= other);
        }
    }
    ctx.out.simple(&total.hex());
}

/// DEBUG DIGEST-VALUE: a number for each of some keys' values.
pub(super) fn digest_value(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), CmdError> {
    ctx.out.array(args.len() - 2);
    for at in 2..args.len() {
        let (mut sum, now_ms) = (Sum::default(), ctx.now_ms);
        if let Some(entry) = ctx.db.lookup(args.key_of(args.get(at)), Lookup::Silent) {
            sum.add_value(entry, now_ms);
        }
        ctx.out.simple(&sum.hex());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_have_17_digits() {
        let text = |value| {
            let mut out = String::new();
            write_17_digits(&mut out, value);
            out
        };
        assert_eq!(text(1e17), "1e+17");
        assert_eq!(text(2.5), "2.5");
        assert_eq!(text(-3.0), "-3");
        assert_eq!(text(0.1), "0.10000000000000001");
        assert_eq!(text(1e-5), "1.0000000000000001e-05");
        assert_eq!(text(0.0), "0");
        assert_eq!(text(100.0), "100");
        assert_eq!(text(f64::NEG_INFINITY), "-inf");
    }
}
