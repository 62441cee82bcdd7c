//! HyperLogLogs out of any bytes: reading never panics, and both encodings agree.
//!
//! The first byte chooses how long a sparse one may get, the next ones are elements, the rest is the
//! value a client might have set.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redstart::encoding::hyperloglog::{self, Hll, REGISTERS, Register};

fuzz_target!(|input: &[u8]| {
    let Some((&[limit, a, b, c], value)) = input.split_first_chunk() else { return };
    let sparse_max = 20 * usize::from(limit);
    let elements = [a, b, c].map(|element| Register::of(&[element]));
    let mut bytes = value.to_vec();
    let Some(hll) = Hll::parse(&bytes) else { return };
    let _ = (hll.cached(), hll.describe());
    let whole = hll.count().is_ok();
    assert_eq!(hll.merge_into(&mut [0; REGISTERS]).is_ok(), whole);
    let raised = hll.raised_by(&elements, sparse_max);
    let mut dense = bytes.clone();
    assert_eq!(hyperloglog::make_dense(&mut dense).is_ok(), whole);
    for element in elements {
        let one = hyperloglog::raise(&mut bytes, element, sparse_max);
        if whole {
            assert_eq!(one, hyperloglog::raise(&mut dense, element, sparse_max));
        }
        assert!(raised.is_err() || one.is_ok());
    }
    if whole {
        let count = |bytes| Hll::parse(bytes).and_then(|hll| hll.count().ok());
        assert_eq!(count(&bytes), count(&dense));
        let mut registers = [0; REGISTERS];
        let hll = Hll::parse(&bytes).expect("adding keeps the head");
        hll.merge_into(&mut registers).expect("adding keeps the runs whole");
        let mut empty = hyperloglog::empty();
        hyperloglog::raise_all(&mut empty, &registers, false, sparse_max).expect("it is whole");
        assert_eq!(count(&empty), count(&bytes));
    }
});
