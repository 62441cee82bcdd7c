//! Documentation of the list commands. Data only.

use super::{Arg, Docs};

const KEY: Arg = Arg::key("key", 0);
const SOURCE: Arg = Arg::key("source", 0);
const DESTINATION: Arg = Arg::key("destination", 1);
const ELEMENT: Arg = Arg::string("element");
const ELEMENTS: &[Arg] = &[KEY, Arg::string("element").multiple()];
const START: Arg = Arg::integer("start");
const STOP: Arg = Arg::integer("stop");
const LEFT: Arg = Arg::flag("left", "LEFT");
const RIGHT: Arg = Arg::flag("right", "RIGHT");
const WHEREFROM: Arg = Arg::one_of("wherefrom", &[LEFT, RIGHT]);
const WHERETO: Arg = Arg::one_of("whereto", &[LEFT, RIGHT]);
const HOW_MANY: Arg = Arg::block(
    "how-many",
    &[
        Arg::one_of(
            "selector",
            &[Arg::integer("count").token("COUNT"), Arg::integer("exactly").token("EXACTLY")],
        ),
        Arg::one_of("ordering", &[Arg::flag("obo", "OBO"), Arg::flag("bulk", "BULK")]),
    ],
)
.optional();
const TIMEOUT: Arg = Arg::double("timeout");
const POP_OR_WAIT: &[Arg] = &[Arg::key("key", 0).multiple(), TIMEOUT];
const POP: &[Arg] = &[KEY, Arg::integer("count").optional().since("6.2.0")];

const PER_ELEMENT: &str = "O(N), N being the number of elements given.";
const PER_POPPED: &str = "O(N), N being the number of elements taken.";
const PER_DISTANCE: &str = "O(N), N being the distance from the nearer end.";
const SEVERAL_PUSHED: &[(&str, &str)] = &[("2.4.0", "Takes more than one `element`.")];
const SEVERAL_PUSHED_X: &[(&str, &str)] = &[("4.0.0", "Takes more than one `element`.")];
const FRACTIONS: &[(&str, &str)] = &[("6.0.0", "`timeout` may have decimals.")];
const PER_KEY: &str = "O(N), N being the number of keys given.";
const COUNT_POPPED: &[(&str, &str)] = &[("6.2.0", "`count` takes more than one element.")];

/// The list family, by name.
pub static DOCS: &[Docs] = &[
    list(
        "blmove",
        "6.2.0",
        "O(1)",
        "Takes an element from an end of one list and adds it at an end of another, or of the \
         same; waits until there is one.",
    )
    .args(&[SOURCE, DESTINATION, WHEREFROM, WHERETO, TIMEOUT]),
    list(
        "blmovem",
        "8.10.0",
        "O(N), N being the number of elements moved.",
        "Takes up to a number of elements, or exactly that many, from an end of one list and adds \
         them at an end of another, or of the same; waits until they are there.",
    )
    .args(&[SOURCE, DESTINATION, WHEREFROM, WHERETO, TIMEOUT, HOW_MANY]),
    list(
        "blmpop",
        "7.0.0",
        "O(N+M), N being the number of keys and M the number of elements taken.",
        "Takes elements from an end of the first of several lists that has any; waits until one \
         has.",
    )
    .args(&[
        TIMEOUT,
        Arg::integer("numkeys"),
        Arg::key("key", 0).multiple(),
        Arg::one_of("where", &[LEFT, RIGHT]),
        Arg::integer("count").token("COUNT").optional(),
    ]),
    list(
        "blpop",
        "2.0.0",
        PER_KEY,
        "Takes the first element of the first of several lists that has any; waits until one has.",
    )
    .history(FRACTIONS)
    .args(POP_OR_WAIT),
    list(
        "brpop",
        "2.0.0",
        PER_KEY,
        "Takes the last element of the first of several lists that has any; waits until one has.",
    )
    .history(FRACTIONS)
    .args(POP_OR_WAIT),
    list(
        "brpoplpush",
        "2.2.0",
        "O(1)",
        "Takes the last element of one list and adds it before the first of another; waits until \
         there is one.",
    )
    .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments")
    .history(FRACTIONS)
    .args(&[SOURCE, DESTINATION, TIMEOUT]),
    list("lindex", "1.0.0", PER_DISTANCE, "Reads the element at an index of a list.")
        .args(&[KEY, Arg::integer("index")]),
    list(
        "linsert",
        "2.2.0",
        "O(N), N being the number of elements in front of the pivot.",
        "Adds an element to a list, next to the first one that equals the pivot.",
    )
    .args(&[
        KEY,
        Arg::one_of("where", &[Arg::flag("before", "BEFORE"), Arg::flag("after", "AFTER")]),
        Arg::string("pivot"),
        ELEMENT,
    ]),
    list("llen", "1.0.0", "O(1)", "Counts the elements of a list.").args(&[KEY]),
    list(
        "lmove",
        "6.2.0",
        "O(1)",
        "Takes an element from an end of one list and adds it at an end of another, or of the same.",
    )
    .args(&[SOURCE, DESTINATION, WHEREFROM, WHERETO]),
    list(
        "lmovem",
        "8.10.0",
        "O(N), N being the number of elements moved.",
        "Takes up to a number of elements, or exactly that many, from an end of one list and adds \
         them at an end of another, or of the same.",
    )
    .args(&[
        SOURCE,
        DESTINATION,
        WHEREFROM,
        WHERETO,
        HOW_MANY,
    ]),
    list(
        "lmpop",
        "7.0.0",
        "O(N+M), N being the number of keys and M the number of elements taken.",
        "Takes elements from an end of the first of several lists that exists.",
    )
    .args(&[
        Arg::integer("numkeys"),
        Arg::key("key", 0).multiple(),
        Arg::one_of("where", &[LEFT, RIGHT]),
        Arg::integer("count").token("COUNT").optional(),
    ]),
    list("lpop", "1.0.0", PER_POPPED, "Takes elements from the head of a list.")
        .history(COUNT_POPPED)
        .args(POP),
    list(
        "lpos",
        "6.0.6",
        "O(N), N being the number of elements compared.",
        "Searches a list for an element and replies with the indexes where it is.",
    )
    .args(&[
        KEY,
        ELEMENT,
        Arg::integer("rank").token("RANK").optional(),
        Arg::integer("num-matches").token("COUNT").optional(),
        Arg::integer("len").token("MAXLEN").optional(),
    ]),
    list(
        "lpush",
        "1.0.0",
        PER_ELEMENT,
        "Adds elements at the head of a list, one after the other; an absent key is an empty list.",
    )
    .history(SEVERAL_PUSHED)
    .args(ELEMENTS),
    list(
        "lpushx",
        "2.2.0",
        PER_ELEMENT,
        "Adds elements at the head of a list, if there is one.",
    )
    .history(SEVERAL_PUSHED_X)
    .args(ELEMENTS),
    list(
        "lrange",
        "1.0.0",
        "O(S+N), S being the distance of the range from the nearer end and N its length.",
        "Reads the elements between two indexes of a list.",
    )
    .args(&[KEY, START, STOP]),
    list(
        "lrem",
        "1.0.0",
        "O(N+M), N being the length of the list and M the number of elements removed.",
        "Removes the elements that equal a given one from a list, all or those nearest to an end.",
    )
    .args(&[KEY, Arg::integer("count"), ELEMENT]),
    list("lset", "1.0.0", PER_DISTANCE, "Replaces the element at an index of a list.")
        .args(&[KEY, Arg::integer("index"), ELEMENT]),
    list(
        "ltrim",
        "1.0.0",
        "O(N), N being the number of elements removed.",
        "Removes the elements outside of two indexes from a list.",
    )
    .args(&[KEY, START, STOP]),
    list("rpop", "1.0.0", PER_POPPED, "Takes elements from the tail of a list.")
        .history(COUNT_POPPED)
        .args(POP),
    list(
        "rpoplpush",
        "1.2.0",
        "O(1)",
        "Takes the last element of one list and adds it at the head of another, or of the same.",
    )
    .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments")
    .args(&[SOURCE, DESTINATION]),
    list(
        "rpush",
        "1.0.0",
        PER_ELEMENT,
        "Adds elements at the tail of a list, one after the other; an absent key is an empty list.",
    )
    .history(SEVERAL_PUSHED)
    .args(ELEMENTS),
    list(
        "rpushx",
        "2.2.0",
        PER_ELEMENT,
        "Adds elements at the tail of a list, if there is one.",
    )
    .history(SEVERAL_PUSHED_X)
    .args(ELEMENTS),
];

const fn list(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "list", since, complexity, summary)
}
