//! Places on earth as 52-bit numbers that lie close together where the places do, and areas of them.
//!
//! ```text
//! longitude -180 .. 180 as 26 bits       x25      x24     ...    x0
//! latitude  -85.05 .. 85.05 as 26 bits       y25      y24 ...        y0
//! number                                 51  50   49  48         1   0
//! ```
//!
//! A prefix of a number is a cell of a grid. What is near a place lies in its cell and the eight
//! around it, of a size that fits the distance; each is a range of numbers. The limits of latitude
//! are those of the Mercator projection (EPSG:3857).
//!
//! Every formula is evaluated in the order in which Redis does, so that scores, coordinates and
//! distances are the same to the last bit.

use std::ops::Range;

/// Bits of each coordinate in a number.
const STEPS_MAX: u32 = 26;

/// Radius of the earth in meters: the quadratic mean of WGS-84.
const EARTH_RADIUS: f64 = 6_372_797.560_856;

/// Half of the earth's circumference in the projection, in meters.
const MERCATOR_MAX: f64 = 20_037_726.37;

/// The greatest coordinates there are.
const LONGITUDE_MAX: f64 = 180.0;
const LATITUDE_MAX: f64 = 85.051_128_78;

/// The greatest latitude of geohashes as others write them.
const STANDARD_LATITUDE_MAX: f64 = 90.0;

const RADIANS: f64 = std::f64::consts::PI / 180.0;

/// Length of a geohash as text.
pub const TEXT_LEN: usize = 11;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Position {
    /// East of Greenwich.
    pub longitude: f64,
    /// North of the equator.
    pub latitude: f64,
}

impl Position {
    /// The place with these coordinates, if it can have a number.
    pub fn new(longitude: f64, latitude: f64) -> Option<Self> {
        let known = (-LONGITUDE_MAX..=LONGITUDE_MAX).contains(&longitude)
            && (-LATITUDE_MAX..=LATITUDE_MAX).contains(&latitude);
        known.then_some(Self { longitude, latitude })
    }

    /// The place's number, as sorted sets hold it.
    pub fn score(self) -> f64 {
        Cell::of(self, STEPS_MAX, LATITUDE_MAX).bits as f64
    }

    /// The middle of the cell with that number.
    pub fn of_score(score: f64) -> Self {
        // As processors do it: negative numbers keep their bits, only what is beyond saturates.
        let bits = if score < 0.0 { score as i64 as u64 } else { score as u64 };
        let area = Cell { bits, steps: STEPS_MAX }.area();
        let middle = |(min, max): (f64, f64), limit: f64| ((min + max) / 2.0).clamp(-limit, limit);
        Self {
            longitude: middle(area.longitude, LONGITUDE_MAX),
            latitude: middle(area.latitude, LATITUDE_MAX),
        }
    }

    /// The geohash of the place as other systems write it; its last digit is always 0.
    pub fn text(self) -> [u8; TEXT_LEN] {
        const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::of(self, STEPS_MAX, STANDARD_LATITUDE_MAX).bits;
        std::array::from_fn(|at| {
            let digit = if at < TEXT_LEN - 1 { bits >> (47 - 5 * at) & 31 } else { 0 };
            DIGITS[digit as usize]
        })
    }

    /// Meters to another place along a great circle (haversine formula).
    pub fn distance(self, other: Self) -> f64 {
        let (longitude, other_longitude) = (self.longitude * RADIANS, other.longitude * RADIANS);
        let v = ((other_longitude - longitude) / 2.0).sin();
        if v == 0.0 {
            return self.latitude_distance(other);
        }
        let (latitude, other_latitude) = (self.latitude * RADIANS, other.latitude * RADIANS);
        let u = ((other_latitude - latitude) / 2.0).sin();
        let a = u * u + latitude.cos() * other_latitude.cos() * v * v;
        2.0 * EARTH_RADIUS * a.sqrt().asin()
    }

    /// Meters to the other place's latitude.
    fn latitude_distance(self, other: Self) -> f64 {
        EARTH_RADIUS * (other.latitude * RADIANS - self.latitude * RADIANS).abs()
    }
}

/// What a search covers, in the unit of its area.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Everything up to a distance.
    Circle {
        /// The distance.
        radius: f64,
    },
    /// A rectangle along the coordinates.
    Rectangle {
        /// From west to east.
        width: f64,
        /// From south to north.
        height: f64,
    },
    /// A polygon with at least three corners; distances are from their centroid.
    Polygon {
        /// The corners in order.
        corners: Vec<Position>,
    },
}

/// Where to search.
#[derive(Clone, Debug, PartialEq)]
pub struct Area {
    center: Position,
    shape: Shape,
    /// Meters in the unit of the shape.
    unit: f64,
}

/// Least and greatest coordinates.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    longitude: (f64, f64),
    latitude: (f64, f64),
}

impl Area {
    /// The shape around `center`; a polygon's center is its own.
    pub fn new(center: Position, shape: Shape, unit: f64) -> Self {
        let center = match &shape {
            Shape::Polygon { corners } => centroid(corners),
            _ => center,
        };
        Self { center, shape, unit }
    }

    /// Meters from the center, if the place is in the area.
    pub fn distance(&self, place: Position) -> Option<f64> {
        let inside = match &self.shape {
            Shape::Circle { radius } => {
                let distance = self.center.distance(place);
                return (distance <= radius * self.unit).then_some(distance);
            }
            Shape::Rectangle { width, height } => {
                let level = Position { latitude: place.latitude, ..self.center };
                place.latitude_distance(self.center) <= height * self.unit / 2.0
                    && place.distance(level) <= width * self.unit / 2.0
            }
            Shape::Polygon { corners } => is_inside(corners, place),
        };
        inside.then(|| self.center.distance(place))
    }

    /// Ranges of numbers that hold every place in the area, and others; the nearest comes first.
    pub fn ranges(&self) -> impl Iterator<Item = Range<f64>> + use<> {
        let bounds = self.bounds();
        let estimate = steps_for(self.reach(&bounds), self.center.latitude);
        let cell = |steps| Cell::of(self.center, steps, LATITUDE_MAX);
        let steps = if estimate > 1 && cell(estimate).falls_short_of(&bounds) {
            estimate - 1
        } else {
            estimate
        };
        cell(steps).around(&bounds).map(Cell::range)
    }

    /// Meters from the center to the farthest corner.
    fn reach(&self, bounds: &Bounds) -> f64 {
        let reach = match &self.shape {
            Shape::Circle { radius } => *radius,
            Shape::Rectangle { width, height } => {
                let (x, y) = (width / 2.0, height / 2.0);
                (x * x + y * y).sqrt()
            }
            Shape::Polygon { .. } => {
                let (west, east) = bounds.longitude;
                let (south, north) = bounds.latitude;
                [(west, north), (east, north), (west, south), (east, south)]
                    .map(|(longitude, latitude)| Position { longitude, latitude })
                    .into_iter()
                    .fold(0.0, |reach: f64, corner| reach.max(self.center.distance(corner)))
            }
        };
        reach * self.unit
    }

    fn bounds(&self) -> Bounds {
        let (width, height) = match &self.shape {
            Shape::Circle { radius } => (self.unit * radius, self.unit * radius),
            Shape::Rectangle { width, height } => {
                (self.unit * width / 2.0, self.unit * height / 2.0)
            }
            Shape::Polygon { corners } => return corner_bounds(corners),
        };
        let Position { longitude, latitude } = self.center;
        let tall = height / EARTH_RADIUS / RADIANS;
        // A length is the most degrees at the edge that is nearer to the pole.
        let edge = if latitude < 0.0 { latitude - tall } else { latitude + tall };
        let wide = width / EARTH_RADIUS / (edge * RADIANS).cos() / RADIANS;
        Bounds {
            longitude: (longitude - wide, longitude + wide),
            latitude: (latitude - tall, latitude + tall),
        }
    }
}

fn corner_bounds(corners: &[Position]) -> Bounds {
    let mut bounds = Bounds {
        longitude: (LONGITUDE_MAX, -LONGITUDE_MAX),
        latitude: (LATITUDE_MAX, -LATITUDE_MAX),
    };
    let widen = |range: &mut (f64, f64), to: f64| *range = (range.0.min(to), range.1.max(to));
    for corner in corners {
        widen(&mut bounds.longitude, corner.longitude);
        widen(&mut bounds.latitude, corner.latitude);
    }
    bounds
}

/// The direction of the sum of all corners as vectors.
fn centroid(corners: &[Position]) -> Position {
    let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
    for corner in corners {
        let (longitude, latitude) = (corner.longitude * RADIANS, corner.latitude * RADIANS);
        x += latitude.cos() * longitude.cos();
        y += latitude.cos() * longitude.sin();
        z += latitude.sin();
    }
    Position {
        longitude: f64::atan2(y, x) / RADIANS,
        latitude: f64::atan2(z, (x * x + y * y).sqrt()) / RADIANS,
    }
}

/// Whether a ray from the place crosses an odd number of edges (W. Randolph Franklin, PNPOLY).
fn is_inside(corners: &[Position], place: Position) -> bool {
    let mut inside = false;
    let Some(mut before) = corners.last() else { return false };
    for corner in corners {
        let crosses = (corner.latitude > place.latitude) != (before.latitude > place.latitude)
            && place.longitude
                < (before.longitude - corner.longitude) * (place.latitude - corner.latitude)
                    / (before.latitude - corner.latitude)
                    + corner.longitude;
        inside ^= crosses;
        before = corner;
    }
    inside
}

/// Bits for cells that together with their neighbours reach `meters` far.
fn steps_for(meters: f64, latitude: f64) -> u32 {
    if meters == 0.0 {
        return STEPS_MAX;
    }
    let (mut steps, mut reach) = (1_i32, meters);
    while reach < MERCATOR_MAX {
        reach *= 2.0;
        steps += 1;
    }
    // Cells get narrower towards the poles.
    let polar = i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    (steps - 2 - polar).clamp(1, STEPS_MAX as i32) as u32
}

/// A cell of the grid: the highest bits of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    bits: u64,
    /// Bits of each coordinate.
    steps: u32,
}

/// The bits of longitudes, and of latitudes.
const LONGITUDE_BITS: u64 = 0xaaaa_aaaa_aaaa_aaaa;
const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;

impl Cell {
    /// The cell of a place where latitudes end at `latitude_max`.
    fn of(place: Position, steps: u32, latitude_max: f64) -> Self {
        let scale = (1_u64 << steps) as f64;
        let number = |value: f64, max: f64| ((value + max) / (max + max) * scale) as u32;
        let (x, y) = (number(place.longitude, LONGITUDE_MAX), number(place.latitude, latitude_max));
        Self { bits: spread(y) | spread(x) << 1, steps }
    }

    fn area(self) -> Bounds {
        let scale = (1_u64 << self.steps) as f64;
        let ends = |number: u32, max: f64| {
            let end = |number: u32| -max + f64::from(number) / scale * (max + max);
            (end(number), end(number.wrapping_add(1)))
        };
        Bounds {
            longitude: ends(gather(self.bits >> 1), LONGITUDE_MAX),
            latitude: ends(gather(self.bits), LATITUDE_MAX),
        }
    }

    /// The cell next to it, `east` and `north` being -1, 0 or 1; the grid has no edges.
    fn moved(self, east: i32, north: i32) -> Self {
        let used = u64::MAX >> (64 - 2 * self.steps);
        // Ones between the bits of a coordinate carry an addition on, zeros a subtraction.
        let step = |by: i32, own: u64| match by {
            0 => self.bits & own,
            1 => ((self.bits & own) + (!own & used) + 1) & own & used,
            _ => (self.bits & own).wrapping_sub(1) & own & used,
        };
        Self { bits: step(east, LONGITUDE_BITS) | step(north, LATITUDE_BITS), ..self }
    }

    /// Whether the neighbours end within the bounds.
    fn falls_short_of(self, bounds: &Bounds) -> bool {
        self.moved(0, 1).area().latitude.1 < bounds.latitude.1
            || self.moved(0, -1).area().latitude.0 > bounds.latitude.0
            || self.moved(1, 0).area().longitude.1 < bounds.longitude.1
            || self.moved(-1, 0).area().longitude.0 > bounds.longitude.0
    }

    /// The cell and those of its neighbours that the bounds reach.
    fn around(self, bounds: &Bounds) -> impl Iterator<Item = Self> + use<> {
        const MOVES: [(i32, i32); 9] =
            [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let (area, fine) = (self.area(), self.steps >= 2);
        let useless = |(east, north): (i32, i32)| {
            (north < 0 && area.latitude.0 < bounds.latitude.0)
                || (north > 0 && area.latitude.1 > bounds.latitude.1)
                || (east < 0 && area.longitude.0 < bounds.longitude.0)
                || (east > 0 && area.longitude.1 > bounds.longitude.1)
        };
        let wanted = MOVES.map(|by| (!fine || !useless(by)).then(|| self.moved(by.0, by.1)));
        // With large cells neighbours may be the same one; as in Redis, only the last counts, and
        // the middle one not at all.
        let mut last = None;
        wanted.into_iter().flatten().enumerate().filter_map(move |(at, cell)| {
            if last == Some(cell) {
                return None;
            }
            last = (at > 0).then_some(cell);
            Some(cell)
        })
    }

    /// The numbers in the cell.
    fn range(self) -> Range<f64> {
        let shift = 2 * (STEPS_MAX - self.steps);
        (self.bits << shift) as f64..((self.bits + 1) << shift) as f64
    }
}

/// Moves the lower 32 bits apart, with a zero before each.
fn spread(number: u32) -> u64 {
    let x = u64::from(number);
    let x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    let x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    let x = (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let x = (x | x << 2) & 0x3333_3333_3333_3333;
    (x | x << 1) & LATITUDE_BITS
}

/// Every second bit from the lowest on: the opposite of [`spread`].
fn gather(bits: u64) -> u32 {
    let x = bits & LATITUDE_BITS;
    let x = (x | x >> 1) & 0x3333_3333_3333_3333;
    let x = (x | x >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    let x = (x | x >> 4) & 0x00ff_00ff_00ff_00ff;
    let x = (x | x >> 8) & 0x0000_ffff_0000_ffff;
    (x | x >> 16) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(longitude: f64, latitude: f64) -> Position {
        Position::new(longitude, latitude).expect("a place with a number")
    }

    fn finds(area: &Area, place: Position) -> bool {
        area.ranges().any(|range| range.contains(&place.score()))
    }

    #[test]
    fn numbers_and_texts_are_those_of_redis() {
        let palermo = at(13.361389, 38.115556);
        assert_eq!(palermo.score(), 3_479_099_956_230_698.0);
        let stored = Position::of_score(palermo.score());
        assert_eq!(stored, at(13.361_389_338_970_184, 38.115_556_395_496_3));
        assert_eq!(&stored.text(), b"sqc8b49rny0");
        let catania = Position::of_score(at(15.087269, 37.502669).score());
        assert_eq!(&catania.text(), b"sqdtr74hyu0");
        assert_eq!(stored.distance(catania), 166_274.151_569_600_33);
        assert_eq!(at(180.0, 85.05112878).score(), 13_510_798_882_111_488.0);
        assert_eq!(at(-180.0, -85.05112878).score(), 0.0);
    }

    #[test]
    fn places_beyond_the_limits_have_no_number() {
        for (longitude, latitude) in [(180.1, 0.0), (-180.1, 0.0), (0.0, 85.06), (f64::NAN, 0.0)] {
            assert_eq!(Position::new(longitude, latitude), None);
        }
    }

    #[test]
    fn any_score_is_a_place() {
        for score in [0.0, -1.0, 1e300, f64::INFINITY, f64::NEG_INFINITY, 4503599627370496.0] {
            let place = Position::of_score(score);
            assert!(Position::new(place.longitude, place.latitude).is_some(), "{score}");
        }
    }

    #[test]
    fn polygons_hold_what_is_within_their_edges() {
        let corners =
            vec![at(0.0, 0.0), at(10.0, 0.0), at(10.0, 10.0), at(5.0, 5.0), at(0.0, 10.0)];
        let area = Area::new(Position::default(), Shape::Polygon { corners }, 1.0);
        assert!(area.distance(at(2.0, 2.0)).is_some() && area.distance(at(9.0, 8.0)).is_some());
        assert!(area.distance(at(5.0, 8.0)).is_none() && area.distance(at(-1.0, 2.0)).is_none());
        assert!(finds(&area, at(9.5, 9.0)) && finds(&area, at(0.5, 9.0)));
    }

    proptest! {
        #[test]
        fn bits_are_spread_and_gathered(number: u32) {
            prop_assert_eq!(gather(spread(number)), number);
            prop_assert_eq!(spread(number) & LONGITUDE_BITS, 0);
        }

        #[test]
        fn places_are_found_again_within_a_meter(
            longitude in -180.0..180.0_f64,
            latitude in -85.05..85.05_f64,
        ) {
            let place = at(longitude, latitude);
            prop_assert!(place.distance(Position::of_score(place.score())) < 1.0);
        }

        #[test]
        fn cells_are_left_and_entered_again(
            longitude in -180.0..180.0_f64,
            latitude in -85.0..85.0_f64,
            steps in 1_u32..=26,
            by in (-1..=1, -1..=1),
        ) {
            let cell = Cell::of(at(longitude, latitude), steps, LATITUDE_MAX);
            prop_assert_eq!(cell.moved(by.0, by.1).moved(-by.0, -by.1), cell);
        }

        #[test]
        fn ranges_hold_what_the_area_does(
            center in (-179.0..179.0_f64, -60.0..60.0_f64),
            offset in (-1.0..1.0_f64, -1.0..1.0_f64),
            width in 1.0..100_000.0_f64,
            height in 1.0..100_000.0_f64,
        ) {
            let center = at(center.0, center.1);
            let near = Position::new(center.longitude + offset.0, center.latitude + offset.1);
            let Some(near) = near.map(|near| Position::of_score(near.score())) else {
                return Ok(());
            };
            for shape in [Shape::Circle { radius: width }, Shape::Rectangle { width, height }] {
                let area = Area::new(center, shape, 1.0);
                if area.distance(near).is_some() {
                    prop_assert!(finds(&area, near));
                }
            }
        }
    }
}
