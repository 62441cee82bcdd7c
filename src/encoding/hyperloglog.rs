//! HyperLogLog: how many different elements were added, within 0.81 %, in at most 12 KiB.
//!
//! ```text
//!  0      4          5        8                    16
//!  | HYLL | encoding | unused | cardinality u64 LE | registers ...
//! dense   6 bits each, from the lowest bit of the first byte on
//! sparse  00nnnnnn           n + 1 registers are 0
//!         01nnnnnn nnnnnnnn  n + 1 registers are 0
//!         1vvvvvnn           n + 1 registers are v + 1
//! ```
//!
//! The bytes are those of Redis after the same additions, so that they can be moved between servers:
//! the hash (MurmurHash64A by Austin Appleby), the order in which runs split and join, and when a
//! sparse one becomes dense. The highest bit of the cardinality says that it is out of date. It is
//! estimated as in O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches"
//! (arXiv:1702.01284).
//!
//! Bytes come from clients, who can write any: nothing here trusts them further than [`Hll::parse`]
//! checked, and a run that leaves the registers is [`BadRuns`].

use thiserror::Error;

mod self_test;
mod sparse;

pub use self_test::self_test;
use sparse::Runs;

/// Bits of the hash that choose a register.
const INDEX_BITS: u32 = 14;

/// Number of registers.
pub const REGISTERS: usize = 1 << INDEX_BITS;

/// Greatest value that a hash can ask for: one more than the zeros its other bits can begin with.
const VALUE_MAX: usize = 64 - INDEX_BITS as usize + 1;

/// Length of the head.
const HEAD_LEN: usize = 16;

/// Length of a dense HyperLogLog.
pub const DENSE_LEN: usize = HEAD_LEN + REGISTERS * 6 / 8;

const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;

/// Where the byte with the mark of an outdated cardinality is.
const STALE_AT: usize = 15;
const STALE: u8 = 0x80;

/// One byte for every register.
pub type Registers = [u8; REGISTERS];

/// The runs of a sparse HyperLogLog do not cover the registers.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the runs do not cover the registers")]
pub struct BadRuns;

/// How the registers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// 6 bits each.
    Dense,
    /// As runs of equal values.
    Sparse,
}

/// A register and the value that an element asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Register {
    index: usize,
    value: u8,
}

impl Register {
    /// What adding `element` asks for.
    #[inline]
    pub fn of(element: &[u8]) -> Self {
        let hash = hash(element);
        // The bit behind the last one ends the zeros in any case.
        let rest = hash >> INDEX_BITS | 1 << (64 - INDEX_BITS);
        Self { index: hash as usize % REGISTERS, value: rest.trailing_zeros() as u8 + 1 }
    }

    /// Raises the register to the value, if it is lower.
    #[inline]
    pub fn raise(self, registers: &mut Registers) {
        let register = &mut registers[self.index];
        *register = self.value.max(*register);
    }
}

/// MurmurHash64A.
#[inline]
fn hash(text: &[u8]) -> u64 {
    const SEED: u64 = 0xadc8_3b19;
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mut hash = SEED ^ (text.len() as u64).wrapping_mul(FACTOR);
    let (words, tail) = text.as_chunks();
    for word in words {
        let word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        hash = (hash ^ (word ^ word >> SHIFT).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !tail.is_empty() {
        let word = tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> SHIFT).wrapping_mul(FACTOR);
    hash ^ hash >> SHIFT
}

/// A HyperLogLog without elements.
pub fn empty() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_LEN + 8);
    bytes.extend_from_slice(MAGIC);
    bytes.push(SPARSE);
    bytes.resize(HEAD_LEN, 0);
    sparse::push_zeros(&mut bytes, REGISTERS);
    bytes
}

/// The bytes of a HyperLogLog, to be read.
#[derive(Clone, Copy, Debug)]
pub struct Hll<'a> {
    encoding: Encoding,
    bytes: &'a [u8],
}

impl<'a> Hll<'a> {
    /// Checks the head and, of a dense one, the length.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() < HEAD_LEN || !bytes.starts_with(MAGIC) {
            return None;
        }
        let encoding = match bytes[ENCODING_AT] {
            DENSE if bytes.len() == DENSE_LEN => Encoding::Dense,
            SPARSE => Encoding::Sparse,
            _ => return None,
        };
        Some(Self { encoding, bytes })
    }

    /// How the registers are stored.
    pub fn encoding(self) -> Encoding {
        self.encoding
    }

    fn runs(self) -> Runs<'a> {
        Runs::new(&self.bytes[HEAD_LEN..])
    }

    /// The cardinality that was stored, if it is up to date.
    pub fn cached(self) -> Option<u64> {
        let stored = self.bytes[8..HEAD_LEN].try_into().expect("a head has 8 bytes for it");
        (self.bytes[STALE_AT] & STALE == 0).then_some(u64::from_le_bytes(stored))
    }

    /// Whether one of the elements raises its register; an error if that cannot be carried out.
    #[inline]
    pub fn raised_by(self, elements: &[Register], sparse_max: usize) -> Result<bool, BadRuns> {
        if self.encoding == Encoding::Dense {
            return Ok(elements.iter().any(|r| dense_get(self.bytes, r.index) < r.value));
        }
        let mut raised = false;
        for register in elements {
            raised |= sparse::value_at(&self.bytes[HEAD_LEN..], register.index)? < register.value;
        }
        // Only in becoming dense are all runs read.
        let longest = self.bytes.len() + sparse::GROWTH_MAX * elements.len();
        if raised && (longest > sparse_max || elements.iter().any(|r| sparse::exceeds(r.value))) {
            self.runs().check()?;
        }
        Ok(raised)
    }

    /// Raises each of `registers` to its value here.
    pub fn merge_into(self, registers: &mut Registers) -> Result<(), BadRuns> {
        if self.encoding == Encoding::Sparse {
            self.runs().check()?;
            for run in self.runs().filter(|run| run.value > 0) {
                let covered = &mut registers[run.first..run.first + run.len];
                covered.iter_mut().for_each(|register| *register = run.value.max(*register));
            }
            return Ok(());
        }
        let (groups, _) = self.bytes[HEAD_LEN..].as_chunks();
        let (eights, _) = registers.as_chunks_mut::<8>();
        for (group, eight) in groups.iter().zip(eights) {
            let here = unpack(*group);
            for (register, value) in eight.iter_mut().zip(here) {
                *register = value.max(*register);
            }
        }
        Ok(())
    }

    /// Estimates the cardinality.
    pub fn count(self) -> Result<u64, BadRuns> {
        let mut histogram = [0; 64];
        if self.encoding == Encoding::Sparse {
            self.runs().check()?;
            self.runs().for_each(|run| histogram[usize::from(run.value)] += run.len as u32);
        } else {
            let (groups, _) = self.bytes[HEAD_LEN..].as_chunks();
            histogram = histogram_of(groups.iter().map(|group| unpack(*group)));
        }
        Ok(estimate(&histogram))
    }

    /// The runs of a sparse one as text: `Z:` and `z:` zeros by how they are stored, `v:` values.
    pub fn describe(self) -> String {
        self.runs().map(|run| run.to_string()).collect::<Vec<_>>().join(" ")
    }
}

/// Estimates the cardinality of merged registers.
pub fn count_registers(registers: &Registers) -> u64 {
    let (eights, _) = registers.as_chunks();
    estimate(&histogram_of(eights.iter().copied()))
}

/// Raises the register of an element; `true` if it was lower. `bytes` hold a HyperLogLog.
///
/// One that gets longer than `sparse_max` or holds a value that no run can becomes dense.
///
/// # Errors
/// None where [`Hll::raised_by`] found none.
pub fn raise(bytes: &mut Vec<u8>, register: Register, sparse_max: usize) -> Result<bool, BadRuns> {
    let Register { index, value } = register;
    if bytes[ENCODING_AT] == SPARSE {
        match sparse::raise(bytes, &mut sparse::Place::default(), register, sparse_max)? {
            sparse::Raised::No => return Ok(false),
            sparse::Raised::Yes => {
                invalidate(bytes);
                return Ok(true);
            }
            sparse::Raised::TooLong => make_dense(bytes)?,
        }
    }
    let raised = dense_get(bytes, index) < value;
    if raised {
        dense_set(bytes, index, value);
        invalidate(bytes);
    }
    Ok(raised)
}

/// Raises every register to its value in `registers`, which are at least what `bytes` hold.
pub fn raise_all(
    bytes: &mut Vec<u8>,
    registers: &Registers,
    dense: bool,
    sparse_max: usize,
) -> Result<(), BadRuns> {
    if dense {
        make_dense(bytes)?;
    }
    if bytes[ENCODING_AT] == SPARSE && !raise_runs(bytes, registers, sparse_max)? {
        make_dense(bytes)?;
    }
    if bytes[ENCODING_AT] == DENSE {
        let (groups, _) = bytes[HEAD_LEN..].as_chunks_mut();
        let (eights, _) = registers.as_chunks();
        groups.iter_mut().zip(eights).for_each(|(group, eight)| *group = pack(*eight));
    }
    invalidate(bytes);
    Ok(())
}

/// Raises registers one after the other; `false` if that does not stay sparse.
fn raise_runs(
    bytes: &mut Vec<u8>,
    registers: &Registers,
    sparse_max: usize,
) -> Result<bool, BadRuns> {
    let mut place = sparse::Place::default();
    for (index, &value) in registers.iter().enumerate().filter(|(_, value)| **value > 0) {
        let register = Register { index, value };
        if sparse::raise(bytes, &mut place, register, sparse_max)? == sparse::Raised::TooLong {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Marks the stored cardinality as out of date.
pub fn invalidate(bytes: &mut [u8]) {
    bytes[STALE_AT] |= STALE;
}

/// Stores the cardinality.
pub fn cache(bytes: &mut [u8], cardinality: u64) {
    bytes[8..HEAD_LEN].copy_from_slice(&cardinality.to_le_bytes());
}

/// Stores the registers densely; the head stays.
pub fn make_dense(bytes: &mut Vec<u8>) -> Result<(), BadRuns> {
    if bytes[ENCODING_AT] == DENSE {
        return Ok(());
    }
    Runs::new(&bytes[HEAD_LEN..]).check()?;
    let mut dense = vec![0; DENSE_LEN];
    dense[..HEAD_LEN].copy_from_slice(&bytes[..HEAD_LEN]);
    dense[ENCODING_AT] = DENSE;
    for run in Runs::new(&bytes[HEAD_LEN..]).filter(|run| run.value > 0) {
        (run.first..run.first + run.len).for_each(|index| dense_set(&mut dense, index, run.value));
    }
    *bytes = dense;
    Ok(())
}

/// All registers, one byte each.
pub fn registers(hll: Hll<'_>) -> Result<Box<Registers>, BadRuns> {
    let mut registers = Box::new([0; REGISTERS]);
    hll.merge_into(&mut registers)?;
    Ok(registers)
}

/// Where a register's 6 bits begin: the byte and the bit.
#[inline]
fn dense_place(index: usize) -> (usize, usize) {
    (HEAD_LEN + index * 6 / 8, index * 6 % 8)
}

#[inline]
fn dense_get(bytes: &[u8], index: usize) -> u8 {
    let (at, bit) = dense_place(index);
    let next = bytes.get(at + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([bytes[at], next]) >> bit) as u8 & 63
}

#[inline]
fn dense_set(bytes: &mut [u8], index: usize, value: u8) {
    let (at, bit) = dense_place(index);
    let [low, high] = (!(63_u16 << bit)).to_le_bytes();
    let [value_low, value_high] = (u16::from(value) << bit).to_le_bytes();
    bytes[at] = bytes[at] & low | value_low;
    if let Some(next) = bytes.get_mut(at + 1) {
        *next = *next & high | value_high;
    }
}

/// Eight registers of 6 bits as bytes: halves are moved apart three times.
#[inline]
fn unpack([a, b, c, d, e, f]: [u8; 6]) -> [u8; 8] {
    let word = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
    let word = word & 0xff_ffff | (word & 0xffff_ff00_0000) << 8;
    let word = word & 0x0000_0fff_0000_0fff | (word & 0x00ff_f000_00ff_f000) << 4;
    let word = word & 0x003f_003f_003f_003f | (word & 0x0fc0_0fc0_0fc0_0fc0) << 2;
    word.to_le_bytes()
}

/// The opposite of [`unpack`]; the bytes are below 64.
#[inline]
fn pack(registers: [u8; 8]) -> [u8; 6] {
    let word = u64::from_le_bytes(registers);
    let word = word & 0x003f_003f_003f_003f | word >> 2 & 0x0fc0_0fc0_0fc0_0fc0;
    let word = word & 0x0000_0fff_0000_0fff | word >> 4 & 0x00ff_f000_00ff_f000;
    let word = word & 0xff_ffff | word >> 8 & 0xffff_ff00_0000;
    let [a, b, c, d, e, f, ..] = word.to_le_bytes();
    [a, b, c, d, e, f]
}

/// How many registers have each value.
fn histogram_of(eights: impl Iterator<Item = [u8; 8]>) -> [u32; 64] {
    // Four of them, so that equal neighbours do not wait for each other.
    let mut counts = [[0_u32; 64]; 4];
    for eight in eights {
        for (at, register) in eight.into_iter().enumerate() {
            counts[at % 4][usize::from(register & 63)] += 1;
        }
    }
    std::array::from_fn(|value| counts.iter().map(|count| count[value]).sum())
}

/// The cardinality that a histogram of register values tells of.
fn estimate(histogram: &[u32; 64]) -> u64 {
    /// 1 / (2 ln 2).
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    let m = REGISTERS as f64;
    let count = |value: usize| f64::from(histogram[value]);
    let mut z = m * tau((m - count(VALUE_MAX)) / m);
    for value in (1..VALUE_MAX).rev() {
        z = (z + count(value)) * 0.5;
    }
    z += m * sigma(count(0) / m);
    let estimate = (ALPHA * m * m / z).round();
    // Registers that no hash can lead to make the estimate infinite.
    if estimate.is_finite() { estimate as u64 } else { 1 << 63 }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests;
