//! Bytes and estimates beside those of Redis 8.0.6, and registers beside a plain array of them.

use proptest::prelude::*;

use super::*;

const SPARSE_MAX: usize = 3000;

/// FNV-1a, by which the bytes of the other server were recorded.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn hll(bytes: &[u8]) -> Hll<'_> {
    Hll::parse(bytes).expect("the bytes have a head")
}

fn add(bytes: &mut Vec<u8>, text: &str, sparse_max: usize) -> bool {
    let register = Register::of(text.as_bytes());
    let expected = hll(bytes).raised_by(&[register], sparse_max).expect("the runs are whole");
    let raised = raise(bytes, register, sparse_max).expect("the runs are whole");
    assert_eq!(raised, expected, "{text}");
    raised
}

/// Adds `name:0`, `name:step`, ... and compares length, digest and cardinality at some numbers of
/// additions; each comparison stores the cardinality, as PFCOUNT does.
fn follows(name: &str, step: usize, sparse_max: usize, recorded: &[(usize, usize, u64, u64)]) {
    let (mut bytes, mut added) = (empty(), 0);
    for &(additions, len, bytes_digest, cardinality) in recorded {
        while added < additions {
            add(&mut bytes, &format!("{name}:{}", added * step), sparse_max);
            added += 1;
        }
        let count = hll(&bytes).count().expect("the runs are whole");
        assert_eq!((bytes.len(), count), (len, cardinality), "{name} {additions}");
        assert_eq!(digest(&bytes), bytes_digest, "{name} {additions}");
        cache(&mut bytes, count);
        assert_eq!(hll(&bytes).cached(), Some(count));
    }
}

#[test]
fn the_bytes_are_those_of_redis() {
    let mut bytes = empty();
    assert_eq!(hll(&bytes).cached(), Some(0));
    for text in ["a", "b", "c", "d", "e", "f", "g"] {
        assert!(add(&mut bytes, text, SPARSE_MAX) && !add(&mut bytes, text, SPARSE_MAX));
    }
    let expected = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x46\x6d\x80\x56\x0c\x80\x44\x3c\x84\x38\x80\
                     \x50\xb1\x84\x49\x8c\x80\x42\x6d\x80\x42\x5a";
    assert_eq!(bytes, expected);
    assert_eq!(
        hll(&bytes).describe(),
        "Z:1646 v:1,1 Z:5645 v:1,1 Z:1085 v:2,1 z:57 v:1,1 Z:4274 v:2,1 Z:2445 v:1,1 Z:622 v:1,1 \
         Z:603"
    );
}

#[test]
fn the_bytes_stay_those_of_redis() {
    follows(
        "one",
        1,
        SPARSE_MAX,
        &[
            (1, 21, 13_410_340_513_037_825_481, 1),
            (2, 24, 2_912_300_045_178_767_628, 2),
            (10, 46, 16_875_830_522_865_551_818, 10),
            (100, 283, 5_706_448_018_919_751_968, 100),
            (500, 1054, 746_718_476_608_705_434, 505),
            (1000, 1935, 2_286_018_078_711_978_329, 1009),
            (1500, 2765, 1_692_031_724_468_786_238, 1512),
            (2000, 12_304, 9_255_678_022_294_622_534, 2016),
            (3000, 12_304, 10_534_278_451_339_519_543, 3001),
            (10_000, 12_304, 7_820_203_956_862_304_537, 10_059),
            (100_000, 12_304, 4_760_964_507_198_242_602, 98_912),
        ],
    );
}

#[test]
fn the_length_at_which_one_becomes_dense_is_that_of_redis() {
    follows(
        "small",
        1,
        60,
        &[
            (5, 32, 11_786_957_027_153_516_920, 5),
            (10, 47, 14_420_405_655_567_699_554, 10),
            (11, 50, 14_678_535_402_216_785_013, 11),
            (12, 53, 17_831_492_717_564_312_140, 12),
            (13, 55, 10_557_471_198_721_206_207, 13),
            (14, 58, 2_285_910_690_864_215_615, 14),
            (15, 12_304, 6_085_761_814_655_984_294, 15),
            (16, 12_304, 9_158_933_681_706_972_619, 16),
            (20, 12_304, 14_520_247_784_455_333_202, 20),
            (40, 12_304, 16_791_528_100_496_817_148, 40),
        ],
    );
    follows(
        "large",
        7,
        15_000,
        &[
            (1000, 1878, 509_891_050_247_497_102, 1003),
            (3000, 4860, 2_377_221_323_382_677_837, 3028),
            (4000, 6089, 3_992_678_099_775_284_769, 4032),
            (5000, 7194, 12_128_122_033_310_796_132, 5042),
            (6000, 8073, 3_331_192_691_174_807_681, 6024),
        ],
    );
}

/// A HyperLogLog of `name0`, `name1`, ...
fn filled(name: &str, len: usize) -> Vec<u8> {
    let mut bytes = empty();
    for index in 0..len {
        add(&mut bytes, &format!("{name}{index}"), SPARSE_MAX);
    }
    bytes
}

fn merge(into: &mut Vec<u8>, sources: &[&[u8]]) {
    let mut merged = [0; REGISTERS];
    let mut dense = false;
    for source in sources.iter().copied().chain([&into[..]]) {
        dense |= hll(source).encoding() == Encoding::Dense;
        hll(source).merge_into(&mut merged).expect("the runs are whole");
    }
    raise_all(into, &merged, dense, SPARSE_MAX).expect("the runs are whole");
}

#[test]
fn merged_bytes_are_those_of_redis() {
    let (x, y) = (filled("x", 300), filled("y", 400));
    let mut into = filled("z", 50);
    merge(&mut into, &[&x, &y]);
    assert_eq!((into.len(), digest(&into)), (1472, 7_888_482_789_184_962_504));
    let mut fresh = empty();
    merge(&mut fresh, &[&x, &y]);
    assert_eq!((fresh.len(), digest(&fresh)), (1391, 777_735_209_037_529_681));
    let mut promoted = filled("w", 1400);
    merge(&mut promoted, &[&filled("v", 1400)]);
    assert_eq!((promoted.len(), digest(&promoted)), (DENSE_LEN, 1_547_922_134_359_232_187));
    assert_eq!(hll(&promoted).count(), Ok(2814));
    merge(&mut into, &[&promoted]);
    assert_eq!(hll(&into).encoding(), Encoding::Dense);
    merge(&mut promoted, &[&x, &y, &filled("z", 50)]);
    assert_eq!(into[HEAD_LEN..], promoted[HEAD_LEN..]);
}

#[test]
fn heads_are_checked() {
    let good = empty();
    assert!(Hll::parse(&good).is_some() && Hll::parse(&good[..15]).is_none());
    for (at, byte) in [(0, b'h'), (4, 2), (4, DENSE)] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert!(Hll::parse(&bad).is_none());
    }
}

#[test]
fn runs_that_do_not_cover_the_registers_are_refused() {
    let one = [Register { index: 16_000, value: 1 }];
    for runs in [&b""[..], b"\x40", b"\x7f\xfe", b"\x7f\xff\x00", b"\x7f\xff\x80", b"\x7f\xff\x40"]
    {
        let bytes = [&empty()[..HEAD_LEN], runs].concat();
        assert_eq!(hll(&bytes).count(), Err(BadRuns), "{runs:?}");
        assert_eq!(hll(&bytes).merge_into(&mut [0; REGISTERS]), Err(BadRuns), "{runs:?}");
        assert_eq!(make_dense(&mut bytes.clone()), Err(BadRuns), "{runs:?}");
        assert_eq!(hll(&bytes).raised_by(&one, 0), Err(BadRuns), "{runs:?}");
    }
}

#[test]
fn registers_that_no_hash_leads_to_are_counted_without_panic() {
    let mut bytes = empty();
    make_dense(&mut bytes).expect("the runs are whole");
    bytes[HEAD_LEN..].fill(0xff);
    assert_eq!(hll(&bytes).count(), Ok(1 << 63));
}

proptest! {
    #[test]
    fn registers_are_found_among_long_and_short_runs(
        raises in prop::collection::btree_map(0_usize..REGISTERS, 1_u8..=32, 0..700),
        asked in prop::collection::vec(0_usize..REGISTERS, 50),
    ) {
        let mut bytes = empty();
        for (&index, &value) in &raises {
            raise(&mut bytes, Register { index, value }, 20_000).expect("the runs are whole");
        }
        for index in asked.into_iter().chain(raises.keys().copied()) {
            let expected = raises.get(&index).copied().unwrap_or(0);
            prop_assert_eq!(sparse::value_at(&bytes[HEAD_LEN..], index), Ok(expected));
        }
    }

    #[test]
    fn eight_registers_take_six_bytes(registers: [u8; 8]) {
        let registers = registers.map(|register| register & 63);
        prop_assert_eq!(unpack(pack(registers)), registers);
    }

    #[test]
    fn both_encodings_hold_the_highest_values(
        raises in prop::collection::vec((0_usize..200, 1_u8..=40), 0..300),
        sparse_max in prop_oneof![Just(60_usize), Just(3000), Just(20_000)],
    ) {
        let (mut bytes, mut dense, mut model) = (empty(), empty(), [0; REGISTERS]);
        make_dense(&mut dense).expect("the runs are whole");
        for (index, value) in raises {
            let register = Register { index, value };
            let expected = model[index] < value;
            model[index] = value.max(model[index]);
            prop_assert_eq!(hll(&bytes).raised_by(&[register], sparse_max), Ok(expected));
            prop_assert_eq!(raise(&mut bytes, register, sparse_max), Ok(expected));
            prop_assert_eq!(raise(&mut dense, register, sparse_max), Ok(expected));
        }
        prop_assert_eq!(&registers(hll(&bytes)).expect("the runs are whole")[..], &model[..]);
        prop_assert_eq!(&registers(hll(&dense)).expect("the runs are whole")[..], &model[..]);
        prop_assert_eq!(hll(&bytes).count(), hll(&dense).count());
        prop_assert_eq!(hll(&bytes).count(), Ok(count_registers(&model)));
    }

    #[test]
    fn raising_all_is_raising_one_after_the_other(
        before in prop::collection::btree_map(0_usize..120, 1_u8..4, 0..60),
        raises in prop::collection::btree_map(0_usize..120, 1_u8..4, 0..60),
    ) {
        let (mut bytes, mut all) = (empty(), [0; REGISTERS]);
        for (&index, &value) in &before {
            raise(&mut bytes, Register { index, value }, SPARSE_MAX).expect("the runs are whole");
        }
        let mut single = bytes.clone();
        hll(&bytes).merge_into(&mut all).expect("the runs are whole");
        raises.iter().for_each(|(&index, &value)| all[index] = value.max(all[index]));
        raise_all(&mut bytes, &all, false, SPARSE_MAX).expect("the runs are whole");
        for (index, value) in all.into_iter().enumerate().filter(|(_, value)| *value > 0) {
            raise(&mut single, Register { index, value }, SPARSE_MAX).expect("the runs are whole");
        }
        invalidate(&mut single);
        prop_assert_eq!(bytes, single);
    }

    #[test]
    fn any_bytes_are_read_without_panic(
        runs in prop::collection::vec(any::<u8>(), 0..400),
        texts in prop::collection::vec(any::<u32>(), 0..20),
    ) {
        let mut bytes = [&empty()[..HEAD_LEN], &runs].concat();
        let elements: Vec<_> = texts.iter().map(|text| Register::of(&text.to_le_bytes())).collect();
        let _ = hll(&bytes).count();
        let _ = hll(&bytes).describe();
        let raised = hll(&bytes).raised_by(&elements, SPARSE_MAX);
        for element in elements {
            let result = raise(&mut bytes, element, SPARSE_MAX);
            prop_assert!(raised.is_err() || result.is_ok());
        }
    }
}
