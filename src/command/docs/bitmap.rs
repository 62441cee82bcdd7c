//! Documentation of the bitmap commands. Data only.

use super::{Arg, Docs};

const KEY: Arg = Arg::key("key", 0);
const UNIT: Arg =
    Arg::one_of("unit", &[Arg::flag("byte", "BYTE"), Arg::flag("bit", "BIT")]).optional();
const ENCODING: Arg = Arg::string("encoding");
const OFFSET: Arg = Arg::integer("offset");
const GET: Arg = Arg::block("get-block", &[ENCODING, OFFSET]).token("GET");
const UNITS_SINCE: &[(&str, &str)] = &[("7.0.0", "`BYTE` and `BIT` name the unit of a range.")];

/// The bitmap family, by name.
pub static DOCS: &[Docs] = &[
    bitmap(
        "bitcount",
        "2.6.0",
        "O(N)",
        "Counts the bits that are set in a string or a part of it.",
    )
    .history(UNITS_SINCE)
    .args(&[
        KEY,
        Arg::block("range", &[Arg::integer("start"), Arg::integer("end"), UNIT.since("7.0.0")])
            .optional(),
    ]),
    bitmap(
        "bitfield",
        "3.2.0",
        "O(1) for each operation given",
        "Reads and changes integers of any width at any bit of a string.",
    )
    .args(&[
        KEY,
        Arg::one_of(
            "operation",
            &[
                GET,
                Arg::block(
                    "write",
                    &[
                        Arg::one_of(
                            "overflow-block",
                            &[
                                Arg::flag("wrap", "WRAP"),
                                Arg::flag("sat", "SAT"),
                                Arg::flag("fail", "FAIL"),
                            ],
                        )
                        .token("OVERFLOW")
                        .optional(),
                        Arg::one_of(
                            "write-operation",
                            &[
                                Arg::block("set-block", &[ENCODING, OFFSET, Arg::integer("value")])
                                    .token("SET"),
                                Arg::block(
                                    "incrby-block",
                                    &[ENCODING, OFFSET, Arg::integer("increment")],
                                )
                                .token("INCRBY"),
                            ],
                        ),
                    ],
                ),
            ],
        )
        .optional()
        .multiple(),
    ]),
    bitmap(
        "bitfield_ro",
        "6.0.0",
        "O(1) for each operation given",
        "Reads integers of any width at any bit of a string.",
    )
    .args(&[KEY, GET.optional().multiple_token()]),
    bitmap("bitop", "2.6.0", "O(N)", "Combines the bits of several strings and stores the result.")
        .history(&[(
            "8.2.0",
            "`DIFF`, `DIFF1`, `ANDOR` and `ONE` tell the first key or single bits apart.",
        )])
        .args(&[
            Arg::one_of(
                "operation",
                &[
                    Arg::flag("and", "AND"),
                    Arg::flag("or", "OR"),
                    Arg::flag("xor", "XOR"),
                    Arg::flag("not", "NOT"),
                    Arg::flag("diff", "DIFF"),
                    Arg::flag("diff1", "DIFF1"),
                    Arg::flag("andor", "ANDOR"),
                    Arg::flag("one", "ONE"),
                ],
            ),
            Arg::key("destkey", 0),
            Arg::key("key", 1).multiple(),
        ]),
    bitmap("bitpos", "2.8.7", "O(N)", "Finds the first bit of a string that is 1, or 0.")
        .history(UNITS_SINCE)
        .args(&[
            KEY,
            Arg::integer("bit"),
            Arg::block(
                "range",
                &[
                    Arg::integer("start"),
                    Arg::block("end-unit-block", &[Arg::integer("end"), UNIT.since("7.0.0")])
                        .optional(),
                ],
            )
            .optional(),
        ]),
    bitmap("getbit", "2.2.0", "O(1)", "Reads a bit of a string.").args(&[KEY, OFFSET]),
    bitmap(
        "setbit",
        "2.2.0",
        "O(1)",
        "Sets or clears a bit of a string, which grows to hold it, and replies what it was.",
    )
    .args(&[KEY, OFFSET, Arg::integer("value")]),
];

const fn bitmap(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "bitmap", since, complexity, summary)
}
