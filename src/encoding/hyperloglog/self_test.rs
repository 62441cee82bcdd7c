//! PFSELFTEST: registers keep what they are given, and estimates stay within their error.

use super::{
    DENSE_LEN, Encoding, Hll, REGISTERS, Register, dense_get, dense_set, empty, make_dense, raise,
};
use crate::base::random::Random;

/// How often all registers are written and read.
const CYCLES: usize = 100;

/// The number of elements at which the test ends: a power of ten.
const ELEMENTS: u64 = 1_000_000;

/// What is wrong, in words; nothing when all is well.
pub fn self_test(seed: u64, sparse_max: usize) -> Option<String> {
    let mut random = Random::seeded(seed);
    (0..CYCLES).find_map(|_| test_registers(&mut random)).or_else(|| test_error(seed, sparse_max))
}

fn test_registers(random: &mut Random) -> Option<String> {
    let mut bytes = vec![0; DENSE_LEN];
    let values: Vec<u8> = (0..REGISTERS).map(|_| random.next_u64() as u8 & 63).collect();
    values.iter().enumerate().for_each(|(index, value)| dense_set(&mut bytes, index, *value));
    let wrong = |(index, value): &(usize, &u8)| dense_get(&bytes, *index) != **value;
    values.iter().enumerate().find(wrong).map(|(index, value)| {
        let read = dense_get(&bytes, index);
        format!("Register {index} should be {value} but is {read}")
    })
}

/// Adds elements to a dense and to a growing HyperLogLog and compares them at powers of ten.
fn test_error(seed: u64, sparse_max: usize) -> Option<String> {
    let (mut dense, mut growing) = (empty(), empty());
    make_dense(&mut dense).ok()?;
    let mut checkpoint = 1;
    for number in 1..=ELEMENTS {
        let element = Register::of(&(number ^ seed).to_le_bytes());
        if raise(&mut dense, element, sparse_max) != raise(&mut growing, element, sparse_max) {
            return Some("dense/sparse disagree".to_owned());
        }
        if number == checkpoint {
            if let Some(problem) = check(&dense, &growing, checkpoint, sparse_max) {
                return Some(problem);
            }
            checkpoint *= 10;
        }
    }
    None
}

fn check(dense: &[u8], growing: &[u8], cardinality: u64, sparse_max: usize) -> Option<String> {
    let (dense, growing) = (Hll::parse(dense)?, Hll::parse(growing)?);
    if cardinality < sparse_max as u64 / 2 && growing.encoding() != Encoding::Sparse {
        return Some("sparse encoding not used".to_owned());
    }
    let estimate = dense.count();
    if estimate != growing.count() {
        return Some("dense/sparse disagree".to_owned());
    }
    // Six standard errors, so that bad luck does not fail the test.
    let error_max = (1.04 / (REGISTERS as f64).sqrt() * 6.0 * cardinality as f64).ceil() as u64;
    let error = estimate.map_or(u64::MAX, |estimate| estimate.abs_diff(cardinality));
    (error > error_max).then(|| format!("Too big error. card:{cardinality} abserr:{error}"))
}
