//! Which arguments of a request are keys, for locking, COMMAND GETKEYS and access rules alike.

use super::args::Args;
use super::error::CmdError;
use super::spec::{Command, FindKeys, KeySpec};
use crate::base::{bytes, number};
use crate::resp::Argv;

/// A key of a request and what the command does with it.
#[derive(Clone, Copy, Debug)]
pub struct KeyUse {
    /// Index of the argument.
    pub index: usize,
    /// RO, RW, OW or RM.
    pub access: &'static str,
    /// access, update, insert, delete.
    pub uses: &'static [&'static str],
}

/// Appends the indexes of the keys of a request, ascending for every command there is.
#[inline]
pub fn keys_of(command: &Command, argv: Argv<'_>, out: &mut Vec<usize>) -> Result<(), CmdError> {
    if let Some(only) = only_key(command) {
        out.push(only);
        return Ok(());
    }
    command.keys.iter().try_for_each(|spec| indexes(spec.find, argv, out))
}

/// The index of the only key of any request, for a command that has just one at a fixed place.
#[inline]
pub fn only_key(command: &Command) -> Option<usize> {
    match command.keys {
        [KeySpec { find: FindKeys::Range { first, last: 1, .. }, .. }] => Some(*first),
        _ => None,
    }
}

/// The index of the first key of any request, for a command that has it at a fixed place.
pub fn first_key(command: &Command) -> Option<usize> {
    match command.keys.first()?.find {
        FindKeys::Range { first, .. } => Some(first),
        _ => None,
    }
}

fn indexes(find: FindKeys, argv: Argv<'_>, out: &mut Vec<usize>) -> Result<(), CmdError> {
    match find {
        FindKeys::Range { first, last, step } => {
            let last = if last < 0 { argv.len() as i32 + last } else { last };
            let last = usize::try_from(last).unwrap_or(0).min(argv.len() - 1);
            out.extend((first..=last).step_by(step));
            Ok(())
        }
        FindKeys::Count { count_at, step } => {
            let first = count_at + 1;
            let count = number::parse_i64(argv.arg(count_at))
                .and_then(|count| usize::try_from(count).ok())
                .filter(|count| *count > 0 && *count <= argv.len())
                .filter(|count| first + count * step <= argv.len())
                .ok_or(CmdError::InvalidArguments)?;
            out.extend((first..first + count * step).step_by(step));
            Ok(())
        }
        FindKeys::After { word, from } => {
            // A key may be called like the word, so what follows it is taken along.
            let stands_at = |at: &usize| argv.arg(*at).eq_ignore_ascii_case(word.as_bytes());
            out.extend((from..argv.len() - 1).filter(stands_at).map(|at| at + 1));
            Ok(())
        }
        FindKeys::Rest { word, from, taking } => {
            out.extend(begin_of_rest(argv, word, from, taking).unwrap_or(argv.len())..argv.len());
            Ok(())
        }
        FindKeys::Half { word, taking, .. } => {
            let first = begin_of_rest(argv, word, 1, taking).unwrap_or(argv.len());
            let left = argv.len() - first.min(argv.len());
            if left < 2 {
                return Err(CmdError::InvalidArguments);
            }
            out.extend(first..first + left / 2);
            Ok(())
        }
        FindKeys::Channels { .. } | FindKeys::Unknown => Ok(()),
    }
}

/// Where what follows `word` begins; see [`FindKeys::Rest`].
pub(super) fn begin_of_rest(
    argv: Argv<'_>,
    word: &str,
    from: usize,
    taking: &[(&str, usize)],
) -> Option<usize> {
    let mut at = from;
    while at < argv.len() {
        let option = argv.arg(at);
        at += 1;
        if option.eq_ignore_ascii_case(word.as_bytes()) {
            return Some(at);
        }
        let taken = taking.iter().find(|(name, _)| bytes::is_word(option, name));
        at += taken.map_or(0, |(_, count)| *count);
    }
    None
}

/// The keys of a request with what the command does with each.
pub fn key_uses(command: &Command, args: &Args<'_>) -> Result<Vec<KeyUse>, CmdError> {
    let mut uses = Vec::new();
    if let Some(keys_fn) = command.keys_fn {
        keys_fn(args, &mut uses)?;
        return Ok(uses);
    }
    for spec in command.keys {
        let mut found = Vec::new();
        indexes(spec.find, args.argv(), &mut found)?;
        uses.extend(found.into_iter().map(|index| KeyUse {
            index,
            access: spec.access,
            uses: spec.uses,
        }));
    }
    Ok(uses)
}
