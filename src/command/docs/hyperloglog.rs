//! Documentation of the HyperLogLog commands. Data only.

use super::{Arg, Docs};

const KEY: Arg = Arg::key("key", 0);

/// The HyperLogLog family, by name.
pub static DOCS: &[Docs] = &[
    hyperloglog(
        "pfadd",
        "2.8.9",
        "O(1) for every element.",
        "Adds elements to a HyperLogLog, an empty one if the key is absent.",
    )
    .args(&[KEY, Arg::string("element").optional().multiple()]),
    hyperloglog(
        "pfcount",
        "2.8.9",
        "O(1) with one key, mostly from the number remembered there; O(N) and slower with N keys.",
        "Estimates how many different elements were added to one or to any of several HyperLogLogs.",
    )
    .args(&[KEY.multiple()]),
    hyperloglog(
        "pfdebug",
        "2.8.9",
        "N/A",
        "Shows how a HyperLogLog is stored, or has it stored densely.",
    )
    .syscmd()
    .args(&[Arg::string("subcommand"), KEY]),
    hyperloglog(
        "pfmerge",
        "2.8.9",
        "O(N) for N HyperLogLogs, each of which is read whole.",
        "Adds to a HyperLogLog whatever was added to others.",
    )
    .args(&[Arg::key("destkey", 0), Arg::key("sourcekey", 1).optional().multiple()]),
    hyperloglog(
        "pfselftest",
        "2.8.9",
        "N/A",
        "Tests that registers and estimates of HyperLogLogs are as they should be.",
    )
    .syscmd(),
];

const fn hyperloglog(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "hyperloglog", since, complexity, summary)
}
