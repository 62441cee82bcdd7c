//! Geo commands on members: adding places to sorted sets, and where they are. Searching for places
//! is in `geo_search`.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::options::decimal;
use super::spec::{Command, Group, KeySpec};
use crate::base::number;
use crate::encoding::geohash::Position;
use crate::keyspace::Event;
use crate::resp::ReplyBuf;
use crate::value::zset::{ZSet, ZSetView};

const READ: &[KeySpec] = &[KeySpec::one("RO", &["access"])];

pub(super) static COMMANDS: &[Command] = &[
    Command::new("geoadd", -5, geoadd)
        .grow()
        .group(Group::Geo)
        .keys(&[KeySpec::one("RW", &["update"])]),
    Command::new("geodist", -4, geodist).read().group(Group::Geo).keys(READ),
    Command::new("geohash", -2, geohash).read().group(Group::Geo).keys(READ),
    Command::new("geopos", -2, geopos).read().group(Group::Geo).keys(READ),
];

/// The place that the two arguments from `index` on name.
pub(super) fn position(args: &Args<'_>, index: usize) -> Result<Position, CmdError> {
    let coordinate = |at| number::parse_f64(args.get(at)).ok_or(CmdError::NotFloat);
    let (longitude, latitude) = (coordinate(index)?, coordinate(index + 1)?);
    Position::new(longitude, latitude).ok_or(CmdError::InvalidPosition { longitude, latitude })
}

/// Meters in the unit that the argument at `index` names.
pub(super) fn unit(args: &Args<'_>, index: usize) -> Result<f64, CmdError> {
    match () {
        () if args.is(index, "m") => Ok(1.0),
        () if args.is(index, "km") => Ok(1000.0),
        () if args.is(index, "ft") => Ok(0.3048),
        () if args.is(index, "mi") => Ok(1609.34),
        () => Err(CmdError::GeoUnit),
    }
}

/// Replies a distance with four decimals.
pub(super) fn reply_distance(out: &mut ReplyBuf, distance: f64) {
    let scaled = (distance * 10_000.0).round_ties_even() as u64;
    let mut text = Vec::with_capacity(24);
    number::write_i64(&mut text, (scaled / 10_000) as i64);
    text.push(b'.');
    text.extend([1000, 100, 10, 1].map(|place| b'0' + (scaled / place % 10) as u8));
    out.bulk(&text);
}

/// Replies both coordinates.
pub(super) fn reply_position(out: &mut ReplyBuf, position: Position) {
    out.array(2);
    let mut text = Vec::with_capacity(24);
    for coordinate in [position.longitude, position.latitude] {
        text.clear();
        number::write_human_f64(&mut text, coordinate);
        out.double_text(&text);
    }
}

/// Which members GEOADD leaves alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Only {
    /// None.
    All,
    /// Those that are there (NX).
    New,
    /// Those that are not (XX).
    Present,
}

fn geoadd(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, mut first, mut only, mut changed_only) = (args.key(1), 2, Only::All, false);
    loop {
        let wanted = match () {
            () if args.is(first, "nx") => Only::New,
            () if args.is(first, "xx") => Only::Present,
            () if args.is(first, "ch") => {
                (first, changed_only) = (first + 1, true);
                continue;
            }
            () => break,
        };
        if only != Only::All && only != wanted {
            return Err(CmdError::Syntax);
        }
        (first, only) = (first + 1, wanted);
    }
    let places = args.len() - first;
    if places == 0 || !places.is_multiple_of(3) {
        return Err(CmdError::Syntax);
    }
    let scores: Vec<f64> = (first..args.len())
        .step_by(3)
        .map(|at| position(args, at).map(Position::score))
        .collect::<Result<_, _>>()?;
    if only == Only::Present && ctx.db.peek::<ZSet>(key)?.is_none() {
        ctx.out.integer(0);
        return Ok(Flow::Done);
    }
    let mut set = ctx.db.write_or_create::<ZSet>(key)?;
    set.edit().expect(scores.len(), args.get(first + 2).len());
    let (mut added, mut moved) = (0, 0);
    for (index, score) in scores.iter().enumerate() {
        let updated = set.edit().update(args.get(first + 3 * index + 2), |before| {
            let wanted = match only {
                Only::All => true,
                Only::New => before.is_none(),
                Only::Present => before.is_some(),
            };
            wanted.then_some(*score)
        });
        if updated.before.is_none() {
            added += usize::from(updated.after.is_some());
        } else {
            moved += usize::from(updated.before != updated.after);
        }
    }
    set.changed_by(added + moved, Event::zset("zadd"));
    drop(set);
    if ctx.effects.wanted() {
        propagate(ctx, args, first, &scores);
    }
    ctx.out.count(if changed_only { added + moved } else { added });
    Ok(Flow::Done)
}

/// Propagates ZADD with the same options, so that nobody has to compute scores again.
fn propagate(ctx: &mut Ctx<'_>, args: &Args<'_>, first: usize, scores: &[f64]) {
    let scores: Vec<Vec<u8>> = scores.iter().map(|score| decimal(*score as i64)).collect();
    let mut argv = vec![b"ZADD".as_slice()];
    argv.extend((1..first).map(|at| args.get(at)));
    for (index, score) in scores.iter().enumerate() {
        argv.extend([&score[..], args.get(first + 3 * index + 2)]);
    }
    ctx.effects.propagate_as(&argv);
}

/// Where a member is.
pub(super) fn member_position(set: ZSetView<'_>, member: &[u8]) -> Option<Position> {
    set.score(member).map(Position::of_score)
}

fn geodist(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let meters = match args.len() {
        4 => 1.0,
        5 => unit(args, 4)?,
        _ => return Err(CmdError::Syntax),
    };
    let set = ctx.db.read::<ZSet>(args.key(1))?;
    let place = |index| set.and_then(|set| member_position(set, args.get(index)));
    match (place(2), place(3)) {
        (Some(one), Some(other)) => reply_distance(ctx.out, one.distance(other) / meters),
        _ => ctx.out.null(),
    }
    Ok(Flow::Done)
}

fn geohash(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let set = ctx.db.read::<ZSet>(args.key(1))?;
    ctx.out.array(args.len() - 2);
    for member in args.rest(2) {
        match set.and_then(|set| member_position(set, member)) {
            Some(position) => ctx.out.bulk(&position.text()),
            None => ctx.out.null(),
        }
    }
    Ok(Flow::Done)
}

fn geopos(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let set = ctx.db.read::<ZSet>(args.key(1))?;
    ctx.out.array(args.len() - 2);
    for member in args.rest(2) {
        match set.and_then(|set| member_position(set, member)) {
            Some(position) => reply_position(ctx.out, position),
            None => ctx.out.null_array(),
        }
    }
    Ok(Flow::Done)
}
