//! String commands on parts of values: APPEND, GETRANGE, SETRANGE, LCS.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::spec::{Command, Group, KeySpec};
use crate::base::bytes;
use crate::keyspace::{Deadline, Event};
use crate::value::{NewStr, Str};

const READ: &[KeySpec] = &[KeySpec::one("RO", &["access"])];

pub(super) static COMMANDS: &[Command] = &[
    Command::new("append", 3, append)
        .grow()
        .fast()
        .group(Group::String)
        .keys(&[KeySpec::one("RW", &["insert"])]),
    Command::new("strlen", 2, strlen)
        .read()
        .fast()
        .group(Group::String)
        .keys(&[KeySpec::one("RO", &[])]),
    Command::new("getrange", 4, getrange).read().group(Group::String).keys(READ),
    Command::new("substr", 4, getrange).read().group(Group::String).keys(READ),
    Command::new("setrange", 4, setrange)
        .grow()
        .group(Group::String)
        .keys(&[KeySpec::one("RW", &["update"])]),
    Command::new("lcs", -3, lcs)
        .read()
        .group(Group::String)
        .keys(&[KeySpec::pair("RO", &["access"])]),
];

fn append(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, added) = (args.key(1), args.get(2));
    let len_max = ctx.server.settings.bulk_max();
    let Some(mut value) = ctx.db.string_mut(key)? else {
        ctx.db.set_string(key, args.new_str(2), Deadline::Clear).changed(Event::APPEND);
        ctx.out.count(added.len());
        return Ok(Flow::Done);
    };
    let len = value.view().len() + added.len();
    if len as i64 > len_max {
        return Err(CmdError::StringTooLong);
    }
    value.edit(|text| text.extend_from_slice(added));
    value.finish().changed(Event::APPEND);
    ctx.out.count(len);
    Ok(Flow::Done)
}

fn strlen(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let len = ctx.db.read::<Str>(args.key(1))?.map_or(0, |value| value.len());
    ctx.out.count(len);
    Ok(Flow::Done)
}

fn getrange(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (start, end) = (args.integer(2)?, args.integer(3)?);
    let mut digits = [0; 20];
    match ctx.db.read::<Str>(args.key(1))? {
        Some(value) => {
            let text = value.bytes(&mut digits);
            ctx.out.bulk(slice(text, start, end));
        }
        None => ctx.out.bulk(b""),
    }
    Ok(Flow::Done)
}

/// The bytes from `start` to `end`, both included, negative ones counted from the end.
fn slice(text: &[u8], start: i64, end: i64) -> &[u8] {
    let len = text.len() as i64;
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let from_end = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end { &[] } else { &text[start as usize..=end as usize] }
}

fn setrange(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, patch) = (args.key(1), args.get(3));
    let offset = usize::try_from(args.integer(2)?).map_err(|_| CmdError::OffsetOutOfRange)?;
    let len_max = ctx.server.settings.bulk_max();
    let len = ctx.db.peek::<Str>(key)?.map(|value| value.len());
    if patch.is_empty() {
        ctx.out.count(len.unwrap_or(0));
        return Ok(Flow::Done);
    }
    let end =
        offset.checked_add(patch.len()).filter(|end| *end as i64 <= len_max && *end as i64 > 0);
    let end = end.ok_or(CmdError::StringTooLong)?;
    if len.is_none() {
        let mut text = vec![0; end];
        text[offset..].copy_from_slice(patch);
        ctx.db.set_string(key, NewStr::modified(&text), Deadline::Clear).changed(Event::SETRANGE);
    } else if let Some(mut value) = ctx.db.string_mut(key)? {
        value.edit(|text| {
            if text.len() < end {
                text.resize(end, 0);
            }
            text[offset..end].copy_from_slice(patch);
        });
        value.finish().changed(Event::SETRANGE);
    }
    ctx.out.count(end.max(len.unwrap_or(0)));
    Ok(Flow::Done)
}

/// What LCS is to answer.
#[derive(Default)]
struct LcsOptions {
    len: bool,
    matches: bool,
    match_len_min: i64,
    with_match_len: bool,
}

impl LcsOptions {
    fn parse(args: &Args<'_>) -> Result<Self, CmdError> {
        let (mut parsed, mut options) = (Self::default(), args.options(3));
        while let Some(word) = options.word() {
            match () {
                () if bytes::is_word(word, "idx") => parsed.matches = true,
                () if bytes::is_word(word, "len") => parsed.len = true,
                () if bytes::is_word(word, "withmatchlen") => parsed.with_match_len = true,
                () if bytes::is_word(word, "minmatchlen") && options.left() > 0 => {
                    parsed.match_len_min = options.integer()?.max(0);
                }
                () => return Err(CmdError::Syntax),
            }
        }
        if parsed.len && parsed.matches { Err(CmdError::LcsLenAndIdx) } else { Ok(parsed) }
    }
}

/// A common run: its last positions in both strings and its length.
struct Run {
    first_end: usize,
    second_end: usize,
    len: usize,
}

fn lcs(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let mut text = |at| -> Result<Vec<u8>, CmdError> {
        let value = ctx.db.read::<Str>(args.key(at)).map_err(|_| CmdError::LcsType)?;
        Ok(value.map(|value| value.to_vec()).unwrap_or_default())
    };
    let (first, second) = (text(1)?, text(2)?);
    let options = LcsOptions::parse(args)?;
    let cells = (first.len() as u64 + 1) * (second.len() as u64 + 1);
    if cells.saturating_mul(size_of::<u32>() as u64) > ctx.server.settings.bulk_max() as u64 {
        return Err(CmdError::LcsMemory);
    }
    let table = LcsTable::new(&first, &second);
    if options.len {
        ctx.out.integer(i64::from(table.len()));
        return Ok(Flow::Done);
    }
    let (common, runs) = table.trace(&first, &second);
    if options.matches {
        reply_runs(ctx, &runs, &options, table.len());
    } else {
        ctx.out.bulk(&common);
    }
    Ok(Flow::Done)
}

/// Lengths of the longest common subsequences of all pairs of prefixes.
struct LcsTable {
    width: usize,
    cells: Vec<u32>,
}

impl LcsTable {
    fn new(first: &[u8], second: &[u8]) -> Self {
        let width = second.len() + 1;
        let mut cells = vec![0; (first.len() + 1) * width];
        for (i, a) in first.iter().enumerate() {
            for (j, b) in second.iter().enumerate() {
                cells[(i + 1) * width + j + 1] = if a == b {
                    cells[i * width + j] + 1
                } else {
                    cells[i * width + j + 1].max(cells[(i + 1) * width + j])
                };
            }
        }
        Self { width, cells }
    }

    fn len(&self) -> u32 {
        self.cells.last().copied().unwrap_or(0)
    }

    /// The common subsequence, and its runs from the last to the first.
    fn trace(&self, first: &[u8], second: &[u8]) -> (Vec<u8>, Vec<Run>) {
        let (mut i, mut j) = (first.len(), second.len());
        let (mut common, mut runs) = (Vec::new(), Vec::<Run>::new());
        while i > 0 && j > 0 {
            if first[i - 1] == second[j - 1] {
                common.push(first[i - 1]);
                match runs.last_mut() {
                    Some(run)
                        if run.first_end + 1 == i + run.len
                            && run.second_end + 1 == j + run.len =>
                    {
                        run.len += 1;
                    }
                    _ => runs.push(Run { first_end: i - 1, second_end: j - 1, len: 1 }),
                }
                (i, j) = (i - 1, j - 1);
            } else if self.cells[(i - 1) * self.width + j] > self.cells[i * self.width + j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        common.reverse();
        (common, runs)
    }
}

fn reply_runs(ctx: &mut Ctx<'_>, runs: &[Run], options: &LcsOptions, len: u32) {
    let shown: Vec<&Run> =
        runs.iter().filter(|run| run.len as i64 >= options.match_len_min).collect();
    ctx.out.map(2);
    ctx.out.text("matches");
    ctx.out.array(shown.len());
    for run in shown {
        ctx.out.array(2 + usize::from(options.with_match_len));
        for end in [run.first_end, run.second_end] {
            ctx.out.array(2);
            ctx.out.count(end + 1 - run.len);
            ctx.out.count(end);
        }
        if options.with_match_len {
            ctx.out.count(run.len);
        }
    }
    ctx.out.text("len");
    ctx.out.integer(i64::from(len));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_those_of_getrange() {
        let slice = |start, end| slice(b"Hello", start, end);
        assert_eq!(slice(0, -1), b"Hello");
        assert_eq!(slice(-3, -2), b"ll");
        assert_eq!(slice(-2, -3), b"");
        assert_eq!(slice(3, 100), b"lo");
        assert_eq!(slice(-100, 1), b"He");
        assert_eq!(slice(i64::MIN, i64::MAX), b"Hello");
        assert_eq!(slice(9, 12), b"");
    }

    #[test]
    fn common_subsequences_are_found() {
        let (a, b) = (b"ohmytext".as_slice(), b"mynewtext".as_slice());
        let table = LcsTable::new(a, b);
        let (common, runs) = table.trace(a, b);
        assert_eq!((common, table.len(), runs.len()), (b"mytext".to_vec(), 6, 2));
    }
}
