//! Geo commands that search: GEOSEARCH, GEOSEARCHSTORE and the older GEORADIUS family.
//!
//! All of them parse into one [`Query`]; they differ in where its center comes from and in how a
//! destination is named, which [`Dialect`] tells.

use super::args::{Args, Options};
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::geo::{member_position, position, reply_distance, reply_position, unit};
use super::spec::{Command, Flags, Group, KeySpec};
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::base::{bytes, number};
use crate::encoding::geohash::{Area, Position, Shape};
use crate::encoding::listpack::Item;
use crate::keyspace::{Event, Key};
use crate::resp::ReplyBuf;
use crate::value::zset::{ScoreRange, ZSet, ZSetView};

const READ: &[KeySpec] = &[KeySpec::one("RO", &["access"])];
const WRITE: &[&str] = &["update"];

pub(super) static COMMANDS: &[Command] = &[
    Command::new("georadius", -6, georadius)
        .grow()
        .flags(Flags::MOVABLEKEYS)
        .group(Group::Geo)
        .keys(&[
            KeySpec::one("RO", &["access"]),
            KeySpec::after("STORE", 6, "OW", WRITE),
            KeySpec::after("STOREDIST", 6, "OW", WRITE),
        ]),
    Command::new("georadiusbymember", -5, georadiusbymember)
        .grow()
        .flags(Flags::MOVABLEKEYS)
        .group(Group::Geo)
        .keys(&[
            KeySpec::one("RO", &["access"]),
            KeySpec::after("STORE", 5, "OW", WRITE),
            KeySpec::after("STOREDIST", 5, "OW", WRITE),
        ]),
    Command::new("georadius_ro", -6, georadius_ro).read().group(Group::Geo).keys(READ),
    Command::new("georadiusbymember_ro", -5, georadiusbymember_ro)
        .read()
        .group(Group::Geo)
        .keys(READ),
    Command::new("geosearch", -7, geosearch).read().group(Group::Geo).keys(READ),
    Command::new("geosearchstore", -8, geosearchstore)
        .grow()
        .group(Group::Geo)
        .keys(&[KeySpec::one("OW", WRITE), KeySpec::at(2, "RO", &["access"])]),
];

/// How a command is spelled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// GEORADIUS: the center's coordinates and the radius come first.
    Coordinates { stores: bool },
    /// GEORADIUSBYMEMBER: the center's member and the radius come first.
    Member { stores: bool },
    /// GEOSEARCH: center and shape are options.
    Search,
    /// GEOSEARCHSTORE: the destination comes first, center and shape are options.
    SearchStore,
}

impl Dialect {
    fn is_search(self) -> bool {
        matches!(self, Self::Search | Self::SearchStore)
    }

    /// Index of the key that is searched.
    fn source(self) -> usize {
        if self == Self::SearchStore { 2 } else { 1 }
    }

    /// Whether the options STORE and STOREDIST name a destination.
    fn names_destination(self) -> bool {
        matches!(self, Self::Coordinates { stores: true } | Self::Member { stores: true })
    }

    /// Index of the first option.
    fn options(self) -> usize {
        match self {
            Self::Coordinates { .. } => 6,
            Self::Member { .. } => 5,
            Self::Search => 2,
            Self::SearchStore => 3,
        }
    }
}

fn georadius(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    search(ctx, args, Dialect::Coordinates { stores: true })
}

fn georadiusbymember(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    search(ctx, args, Dialect::Member { stores: true })
}

fn georadius_ro(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    search(ctx, args, Dialect::Coordinates { stores: false })
}

fn georadiusbymember_ro(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    search(ctx, args, Dialect::Member { stores: false })
}

fn geosearch(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    search(ctx, args, Dialect::Search)
}

fn geosearchstore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    search(ctx, args, Dialect::SearchStore)
}

fn search(ctx: &mut Ctx<'_>, args: &Args<'_>, dialect: Dialect) -> Result<Flow, CmdError> {
    let set = ctx.db.read::<ZSet>(args.key(dialect.source()))?;
    let query = Query::parse(args, dialect, set)?;
    let found = match (set, &query.area) {
        (Some(set), Some(area)) => query.order(find(set, area, query.stop_at())),
        _ => Vec::new(),
    };
    let Some(destination) = query.destination else {
        ctx.out.array(found.len());
        found.iter().for_each(|found| query.reply(ctx.out, found));
        return Ok(Flow::Done);
    };
    let members: Vec<(Vec<u8>, f64)> = found
        .iter()
        .map(|found| {
            let score = if query.store_distances { query.in_unit(found) } else { found.score };
            (found.member.to_vec(), score)
        })
        .collect();
    let event = if dialect.is_search() { "geosearchstore" } else { "georadiusstore" };
    store(ctx, args.key(destination), &members, Event::zset(event))?;
    ctx.out.count(members.len());
    Ok(Flow::Done)
}

/// What is to be searched for and how it is shown.
#[derive(Default)]
struct Query {
    center: Option<Position>,
    shape: Option<Shape>,
    unit: f64,
    /// The center and shape; absent where there is no key to search.
    area: Option<Area>,
    /// FROMMEMBER was given, even if there is no key.
    from_member: bool,
    with_distance: bool,
    with_hash: bool,
    with_coordinates: bool,
    /// Whether the farthest come first; `None` leaves the order alone.
    descending: Option<bool>,
    /// Most results; 0 is no limit.
    count: usize,
    any: bool,
    /// Index of the destination.
    destination: Option<usize>,
    store_distances: bool,
}

impl Query {
    fn parse(
        args: &Args<'_>,
        dialect: Dialect,
        set: Option<ZSetView<'_>>,
    ) -> Result<Self, CmdError> {
        let mut query = Self { unit: 1.0, ..Self::default() };
        match dialect {
            Dialect::Coordinates { .. } => {
                query.center = Some(position(args, 2)?);
                query.circle(args, 4)?;
            }
            Dialect::Member { .. } => {
                if let Some(set) = set {
                    query.center = Some(center_at(set, args.get(2))?);
                    query.circle(args, 3)?;
                }
            }
            Dialect::Search => {}
            Dialect::SearchStore => query.destination = Some(1),
        }
        let mut options = args.options(dialect.options());
        while let Some(word) = options.word() {
            let known = query.read_output(word, &mut options)?
                || query.read_destination(word, dialect, args, &mut options)
                || dialect.is_search() && query.read_area(word, args, set, &mut options)?;
            if !known {
                return Err(CmdError::Syntax);
            }
        }
        query.check(args, dialect)?;
        if let (Some(_), Some(shape)) = (set, query.shape.take()) {
            query.area = Some(Area::new(query.center.unwrap_or_default(), shape, query.unit));
        }
        Ok(query)
    }

    /// Reads an option about what is replied; `false` if it is none.
    fn read_output(&mut self, word: &[u8], options: &mut Options<'_>) -> Result<bool, CmdError> {
        match () {
            () if bytes::is_word(word, "withdist") => self.with_distance = true,
            () if bytes::is_word(word, "withhash") => self.with_hash = true,
            () if bytes::is_word(word, "withcoord") => self.with_coordinates = true,
            () if bytes::is_word(word, "any") => self.any = true,
            () if bytes::is_word(word, "asc") => self.descending = Some(false),
            () if bytes::is_word(word, "desc") => self.descending = Some(true),
            () if bytes::is_word(word, "count") && options.left() > 0 => {
                let count = options.integer()?;
                self.count =
                    usize::try_from(count).ok().filter(|c| *c > 0).ok_or(CmdError::GeoCount)?;
            }
            () => return Ok(false),
        }
        Ok(true)
    }

    /// Reads STORE or STOREDIST as the dialect has it; `false` if it is neither.
    fn read_destination(
        &mut self,
        word: &[u8],
        dialect: Dialect,
        args: &Args<'_>,
        options: &mut Options<'_>,
    ) -> bool {
        let distances = bytes::is_word(word, "storedist");
        if dialect == Dialect::SearchStore && distances {
            self.store_distances = true;
            return true;
        }
        if !dialect.names_destination()
            || options.left() == 0
            || !distances && !bytes::is_word(word, "store")
        {
            return false;
        }
        self.destination = Some(args.len() - options.left());
        self.store_distances = distances;
        options.word().is_some()
    }

    /// Reads an option about where to search; `false` if it is none that may stand here.
    fn read_area(
        &mut self,
        word: &[u8],
        args: &Args<'_>,
        set: Option<ZSetView<'_>>,
        options: &mut Options<'_>,
    ) -> Result<bool, CmdError> {
        let (at, left) = (args.len() - options.left(), options.left());
        let is = |name, values| left >= values && bytes::is_word(word, name);
        let polygon = matches!(self.shape, Some(Shape::Polygon { .. }));
        let from_position = self.center.is_some() && !self.from_member;
        let taken = match () {
            () if is("frommember", 1) && !from_position && !polygon => {
                self.from_member = true;
                if let Some(set) = set {
                    self.center = Some(center_at(set, args.get(at))?);
                }
                1
            }
            () if is("fromlonlat", 2) && !self.from_member && !polygon => {
                self.center = Some(position(args, at)?);
                2
            }
            () if is("byradius", 2) && self.allows(|s| matches!(s, Shape::Circle { .. })) => {
                self.circle(args, at)?;
                2
            }
            () if is("bybox", 3) && self.allows(|s| matches!(s, Shape::Rectangle { .. })) => {
                self.rectangle(args, at)?;
                3
            }
            () if is("bypolygon", 2) && self.shape_is_free() && self.center_is_free() => {
                self.polygon(args, at, left)?
            }
            () => return Ok(false),
        };
        (0..taken).for_each(|_| _ = options.word());
        Ok(true)
    }

    /// Whether there is no shape yet but one of the kind that `same` knows.
    fn allows(&self, same: impl Fn(&Shape) -> bool) -> bool {
        self.shape.as_ref().is_none_or(same)
    }

    fn shape_is_free(&self) -> bool {
        self.shape.is_none()
    }

    fn center_is_free(&self) -> bool {
        self.center.is_none() && !self.from_member
    }

    fn circle(&mut self, args: &Args<'_>, at: usize) -> Result<(), CmdError> {
        let radius = number::parse_f64(args.get(at)).ok_or(CmdError::GeoRadius)?;
        if radius < 0.0 {
            return Err(CmdError::GeoRadiusNegative);
        }
        self.unit = unit(args, at + 1)?;
        self.shape = Some(Shape::Circle { radius });
        Ok(())
    }

    fn rectangle(&mut self, args: &Args<'_>, at: usize) -> Result<(), CmdError> {
        let width = number::parse_f64(args.get(at)).ok_or(CmdError::GeoWidth)?;
        let height = number::parse_f64(args.get(at + 1)).ok_or(CmdError::GeoHeight)?;
        if width < 0.0 || height < 0.0 {
            return Err(CmdError::GeoBoxNegative);
        }
        self.unit = unit(args, at + 2)?;
        self.shape = Some(Shape::Rectangle { width, height });
        Ok(())
    }

    /// Reads the corners; returns how many arguments they and their number are.
    fn polygon(&mut self, args: &Args<'_>, at: usize, left: usize) -> Result<usize, CmdError> {
        let count = number::parse_i64(args.get(at))
            .and_then(|count| i32::try_from(count).ok())
            .ok_or(CmdError::GeoCornerCount)?;
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count >= 3 && *count <= (left - 1) / 2)
            .ok_or(CmdError::GeoCorners)?;
        let corners = (0..count).map(|corner| position(args, at + 1 + 2 * corner));
        self.unit = 1.0;
        self.shape = Some(Shape::Polygon { corners: corners.collect::<Result<_, _>>()? });
        Ok(1 + 2 * count)
    }

    /// Refuses what does not go together.
    fn check(&self, args: &Args<'_>, dialect: Dialect) -> Result<(), CmdError> {
        let shows = self.with_distance || self.with_hash || self.with_coordinates;
        if self.destination.is_some() && shows {
            return Err(CmdError::GeoStoreWith(match dialect {
                Dialect::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            }));
        }
        if dialect.is_search() {
            let name = || bytes::preview(args.get(0), ERROR_PREVIEW_MAX);
            let polygon = matches!(self.shape, Some(Shape::Polygon { .. }));
            if self.center_is_free() && !polygon {
                return Err(CmdError::GeoFrom(name()));
            }
            if self.shape.is_none() {
                return Err(CmdError::GeoBy(name()));
            }
        }
        if self.any && self.count == 0 { Err(CmdError::GeoAny) } else { Ok(()) }
    }

    /// How many results are enough; 0 is no limit.
    fn stop_at(&self) -> usize {
        if self.any { self.count } else { 0 }
    }

    /// The results to be shown, in order: those of a COUNT are the nearest unless it says otherwise.
    fn order<'a>(&self, mut found: Vec<Found<'a>>) -> Vec<Found<'a>> {
        let nearest_first = (self.count > 0 && !self.any).then_some(false);
        let descending = self.descending.or(nearest_first);
        if let Some(descending) = descending {
            // Of those that are equally far the first that was found comes first.
            let mut places: Vec<(f64, usize)> =
                found.iter().enumerate().map(|(at, found)| (found.distance, at)).collect();
            let compare = |a: &(f64, usize), b: &(f64, usize)| {
                let order = a.0.total_cmp(&b.0);
                if descending { order.reverse() } else { order }.then(a.1.cmp(&b.1))
            };
            if self.count > 0 && self.count < places.len() {
                places.select_nth_unstable_by(self.count, compare);
                places.truncate(self.count);
            }
            places.sort_unstable_by(compare);
            let mut found: Vec<_> = found.into_iter().map(Some).collect();
            return places.iter().filter_map(|(_, at)| found[*at].take()).collect();
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }

    fn in_unit(&self, found: &Found<'_>) -> f64 {
        found.distance / self.unit
    }

    fn reply(&self, out: &mut ReplyBuf, found: &Found<'_>) {
        let shown = [self.with_distance, self.with_hash, self.with_coordinates];
        let shown = shown.into_iter().filter(|shown| *shown).count();
        if shown > 0 {
            out.array(1 + shown);
        }
        out.bulk(found.member.bytes(&mut [0; 20]));
        if self.with_distance {
            reply_distance(out, self.in_unit(found));
        }
        if self.with_hash {
            out.integer(found.score as i64);
        }
        if self.with_coordinates {
            reply_position(out, found.position);
        }
    }
}

fn center_at(set: ZSetView<'_>, member: &[u8]) -> Result<Position, CmdError> {
    member_position(set, member).ok_or(CmdError::GeoMember)
}

/// A member in the area.
struct Found<'a> {
    member: Item<'a>,
    score: f64,
    position: Position,
    /// Meters from the center.
    distance: f64,
}

/// The members in an area; with `stop_at` not 0, no more than so many, whichever come first.
fn find<'a>(set: ZSetView<'a>, area: &Area, stop_at: usize) -> Vec<Found<'a>> {
    let mut all = Vec::new();
    for range in area.ranges() {
        let range =
            ScoreRange { min: range.start, max: range.end, min_open: false, max_open: true };
        for (member, score) in set.range(set.ranks_by_score(range)) {
            let position = Position::of_score(score);
            if let Some(distance) = area.distance(position) {
                all.push(Found { member, score, position, distance });
                if all.len() == stop_at {
                    return all;
                }
            }
        }
    }
    all
}

/// Replaces what `key` holds by these members; nothing is left of it if there are none.
fn store(
    ctx: &mut Ctx<'_>,
    key: Key<'_>,
    members: &[(Vec<u8>, f64)],
    event: Event,
) -> Result<(), CmdError> {
    let removed = ctx.db.remove(key);
    let Some((first, _)) = members.first() else {
        if let Some(removed) = removed {
            removed.changed(Event::DEL);
        }
        return Ok(());
    };
    let mut set = ctx.db.write_or_create::<ZSet>(key)?;
    set.edit().expect(members.len(), first.len());
    for (member, score) in members {
        set.edit().update(member, |_| Some(*score));
    }
    set.changed_by(members.len(), event);
    Ok(())
}
