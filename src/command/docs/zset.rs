//! Documentation of the sorted-set commands. Data only.

use super::{Arg, Docs};

const KEY: Arg = Arg::key("key", 0);
const DESTINATION: Arg = Arg::key("destination", 0);
const NUMKEYS: Arg = Arg::integer("numkeys");
const MEMBER: Arg = Arg::string("member");
const WITHSCORES: Arg = Arg::flag("withscores", "WITHSCORES").optional();
const WITHSCORE: Arg = Arg::flag("withscore", "WITHSCORE").optional();
const COUNT: Arg = Arg::integer("count");
const MIN: Arg = Arg::double("min");
const MAX: Arg = Arg::double("max");
const MIN_LEX: Arg = Arg::string("min");
const MAX_LEX: Arg = Arg::string("max");
const START: Arg = Arg::integer("start");
const STOP: Arg = Arg::integer("stop");
const BYSCORE: Arg = Arg::flag("byscore", "BYSCORE");
const BYLEX: Arg = Arg::flag("bylex", "BYLEX");
const SORTBY: Arg = Arg::one_of("sortby", &[BYSCORE, BYLEX]).optional();
const REV: Arg = Arg::flag("rev", "REV").optional();
const LIMIT: Arg = Arg::block("limit", &[Arg::integer("offset"), COUNT]).token("LIMIT").optional();
const WEIGHTS: Arg = Arg::integer("weight").token("WEIGHTS").optional().multiple();
const AGGREGATE: Arg = Arg::one_of(
    "aggregate",
    &[
        Arg::flag("sum", "SUM"),
        Arg::flag("min", "MIN"),
        Arg::flag("max", "MAX"),
        Arg::flag("count", "COUNT").since("8.8.0"),
    ],
)
.token("AGGREGATE")
.optional();
const WHERE: Arg = Arg::one_of("where", &[Arg::flag("min", "MIN"), Arg::flag("max", "MAX")]);
const COMBINE: &[Arg] = &[NUMKEYS, KEY.multiple(), WEIGHTS, AGGREGATE, WITHSCORES];
const COMBINE_INTO: &[Arg] =
    &[DESTINATION, NUMKEYS, Arg::key("key", 1).multiple(), WEIGHTS, AGGREGATE];

const LOGARITHMIC: &str = "O(log(N)), N being the size of the sorted set.";
const PER_MEMBER: &str = "O(M*log(N)), N being the size of the sorted set and M the members named.";
const PER_RETURNED: &str =
    "O(log(N)+M), N being the size of the sorted set and M the members returned.";
const PER_REMOVED: &str =
    "O(M*log(N)), N being the size of the sorted set and M the members removed.";
const UNION: &str =
    "O(N*log(M)), N being the sizes of all sets together and M the size of the result.";
const INTER: &str =
    "O(N*K+M*log(M)), N being the size of the smallest of K sets and M that of the result.";
const DIFF: &str =
    "O(N*K+M*log(M)), N being the size of the first of K sets and M that of the result.";
const COUNT_HISTORY: &[(&str, &str)] =
    &[("8.8.0", "`AGGREGATE COUNT` adds up weights instead of scores.")];

/// The sorted-set family, by name.
pub static DOCS: &[Docs] = &[
    zset(
        "bzmpop",
        "7.0.0",
        "O(K+M*log(N)), K being the number of keys, N the size of the sorted set and M the members taken.",
        "Takes members with the lowest or highest scores out of the first sorted set that is there; \
         waits until one is.",
    )
    .args(&[
        Arg::double("timeout"),
        NUMKEYS,
        KEY.multiple(),
        WHERE,
        COUNT.token("COUNT").optional(),
    ]),
    zset(
        "bzpopmax",
        "5.0.0",
        "O(log(N)), N being the size of the sorted set.",
        "Takes the member with the highest score of the first sorted set that is there; waits until \
         one is.",
    )
    .history(&[("6.0.0", "`timeout` may have decimals.")])
    .args(&[KEY.multiple(), Arg::double("timeout")]),
    zset(
        "bzpopmin",
        "5.0.0",
        "O(log(N)), N being the size of the sorted set.",
        "Takes the member with the lowest score of the first sorted set that is there; waits until \
         one is.",
    )
    .history(&[("6.0.0", "`timeout` may have decimals.")])
    .args(&[KEY.multiple(), Arg::double("timeout")]),
    zset(
        "zadd",
        "1.2.0",
        "O(log(N)) for each member, N being the size of the sorted set.",
        "Gives members scores, adding those that are new; an absent key is an empty sorted set.",
    )
    .history(&[
        ("2.4.0", "Takes several members."),
        ("3.0.2", "`XX` and `NX` choose what is written, `CH` what is counted, `INCR` adds to a score."),
        ("6.2.0", "`GT` and `LT` write only scores that are greater or less."),
    ])
    .args(&[
        KEY,
        Arg::one_of("condition", &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX")])
            .optional()
            .since("3.0.2"),
        Arg::one_of("comparison", &[Arg::flag("gt", "GT"), Arg::flag("lt", "LT")])
            .optional()
            .since("6.2.0"),
        Arg::flag("change", "CH").optional().since("3.0.2"),
        Arg::flag("increment", "INCR").optional().since("3.0.2"),
        Arg::block("data", &[Arg::double("score"), MEMBER]).multiple(),
    ]),
    zset("zcard", "1.2.0", "O(1)", "Counts the members of a sorted set.").args(&[KEY]),
    zset("zcount", "2.0.0", LOGARITHMIC, "Counts the members with scores in a range.")
        .args(&[KEY, MIN, MAX]),
    zset("zdiff", "6.2.0", DIFF, "Replies with the members of a sorted set that are in none of the others.")
        .args(&[NUMKEYS, KEY.multiple(), WITHSCORES]),
    zset("zdiffstore", "6.2.0", DIFF, "Stores the members of a sorted set that are in none of the others.")
        .args(&[DESTINATION, NUMKEYS, Arg::key("key", 1).multiple()]),
    zset("zincrby", "1.2.0", LOGARITHMIC, "Adds to a member's score; an absent member has score 0.")
        .args(&[KEY, Arg::integer("increment"), MEMBER]),
    zset("zinter", "6.2.0", INTER, "Replies with the members that are in all of several sorted sets.")
        .history(COUNT_HISTORY)
        .args(COMBINE),
    zset(
        "zintercard",
        "7.0.0",
        "O(N*K), N being the size of the smallest of K sets.",
        "Counts the members that are in all of several sorted sets.",
    )
    .args(&[NUMKEYS, KEY.multiple(), Arg::integer("limit").token("LIMIT").optional()]),
    zset("zinterstore", "2.0.0", INTER, "Stores the members that are in all of several sorted sets.")
        .history(COUNT_HISTORY)
        .args(COMBINE_INTO),
    zset("zlexcount", "2.8.9", LOGARITHMIC, "Counts the members between two, all scores being equal.")
        .args(&[KEY, MIN_LEX, MAX_LEX]),
    zset(
        "zmpop",
        "7.0.0",
        "O(K+M*log(N)), K being the number of keys, N the size of the sorted set and M the members taken.",
        "Takes members with the lowest or highest scores out of the first sorted set that is there.",
    )
    .args(&[NUMKEYS, KEY.multiple(), WHERE, COUNT.token("COUNT").optional()]),
    zset("zmscore", "6.2.0", "O(N), N being the number of members named.", "Reads the scores of several members.")
        .args(&[KEY, MEMBER.multiple()]),
    zset("zpopmax", "5.0.0", PER_REMOVED, "Takes the members with the highest scores.")
        .args(&[KEY, COUNT.optional()]),
    zset("zpopmin", "5.0.0", PER_REMOVED, "Takes the members with the lowest scores.")
        .args(&[KEY, COUNT.optional()]),
    zset("zrandmember", "6.2.0", "O(N), N being the number of members returned.", "Replies with random members, which stay.")
        .args(&[KEY, Arg::block("options", &[COUNT, WITHSCORES]).optional()]),
    zset("zrange", "1.2.0", PER_RETURNED, "Replies with the members in a range of ranks, scores or members.")
        .history(&[(
            "6.2.0",
            "`BYSCORE` and `BYLEX` choose the range, `REV` the direction, `LIMIT` a part of it.",
        )])
        .args(&[
            KEY,
            Arg::string("start"),
            Arg::string("stop"),
            SORTBY.since("6.2.0"),
            REV.since("6.2.0"),
            LIMIT.since("6.2.0"),
            WITHSCORES,
        ]),
    zset("zrangebylex", "2.8.9", PER_RETURNED, "Replies with the members between two, all scores being equal.")
        .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument")
        .args(&[KEY, MIN_LEX, MAX_LEX, LIMIT]),
    zset("zrangebyscore", "1.0.5", PER_RETURNED, "Replies with the members with scores in a range.")
        .history(&[("2.0.0", "`WITHSCORES` asks for the scores too.")])
        .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument")
        .args(&[KEY, MIN, MAX, WITHSCORES.since("2.0.0"), LIMIT]),
    zset(
        "zrangestore",
        "6.2.0",
        "O(log(N)+M*log(M)), N being the size of the sorted set and M the members stored.",
        "Stores the members in a range of ranks, scores or members under another key.",
    )
    .args(&[Arg::key("dst", 0), Arg::key("src", 1), MIN_LEX, MAX_LEX, SORTBY, REV, LIMIT]),
    zset("zrank", "2.0.0", LOGARITHMIC, "Says how many members come before one.")
        .history(&[("7.2.0", "`WITHSCORE` asks for the score too.")])
        .args(&[KEY, MEMBER, WITHSCORE]),
    zset("zrem", "1.2.0", PER_MEMBER, "Removes members from a sorted set.")
        .history(&[("2.4.0", "Takes several members.")])
        .args(&[KEY, MEMBER.multiple()]),
    zset("zremrangebylex", "2.8.9", PER_REMOVED, "Removes the members between two, all scores being equal.")
        .args(&[KEY, MIN_LEX, MAX_LEX]),
    zset("zremrangebyrank", "2.0.0", PER_REMOVED, "Removes the members in a range of ranks.")
        .args(&[KEY, START, STOP]),
    zset("zremrangebyscore", "1.2.0", PER_REMOVED, "Removes the members with scores in a range.")
        .args(&[KEY, MIN, MAX]),
    zset("zrevrange", "1.2.0", PER_RETURNED, "Replies with the members in a range of ranks, from the last on.")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` argument")
        .args(&[KEY, START, STOP, WITHSCORES]),
    zset("zrevrangebylex", "2.8.9", PER_RETURNED, "Replies with the members between two, from the last on.")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments")
        .args(&[KEY, MAX_LEX, MIN_LEX, LIMIT]),
    zset("zrevrangebyscore", "2.2.0", PER_RETURNED, "Replies with the members with scores in a range, from the last on.")
            .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments")
        .args(&[KEY, MAX, MIN, WITHSCORES, LIMIT]),
    zset("zrevrank", "2.0.0", LOGARITHMIC, "Says how many members come after one.")
        .history(&[("7.2.0", "`WITHSCORE` asks for the score too.")])
        .args(&[KEY, MEMBER, WITHSCORE]),
    zset(
        "zscan",
        "2.8.0",
        "O(1) for a call, O(N) for all calls of an iteration over N members.",
        "Iterates over members and their scores.",
    )
    .history(&[("8.0.0", "`NOSCORES` leaves the scores out.")])
    .args(&[
        KEY,
        Arg::integer("cursor"),
        Arg::pattern("pattern").token("MATCH").optional(),
        COUNT.token("COUNT").optional(),
        Arg::flag("noscores", "NOSCORES").optional(),
    ]),
    zset("zscore", "1.2.0", "O(1)", "Reads the score of a member.").args(&[KEY, MEMBER]),
    zset("zunion", "6.2.0", UNION, "Replies with the members of several sorted sets together.")
        .history(COUNT_HISTORY)
        .args(COMBINE),
    zset("zunionstore", "2.0.0", UNION, "Stores the members of several sorted sets together.")
        .history(COUNT_HISTORY)
        .args(COMBINE_INTO),
];

const fn zset(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "sorted-set", since, complexity, summary)
}
