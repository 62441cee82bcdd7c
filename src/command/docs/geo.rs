//! Documentation of the geo commands. Data only.

use super::{Arg, Docs};

const KEY: Arg = Arg::key("key", 0);
const LONGITUDE: Arg = Arg::double("longitude");
const LATITUDE: Arg = Arg::double("latitude");
const RADIUS: Arg = Arg::double("radius");
const MEMBER: Arg = Arg::string("member");
const UNIT: Arg = Arg::one_of(
    "unit",
    &[Arg::flag("m", "M"), Arg::flag("km", "KM"), Arg::flag("ft", "FT"), Arg::flag("mi", "MI")],
);
const WITHCOORD: Arg = Arg::flag("withcoord", "WITHCOORD").optional();
const WITHDIST: Arg = Arg::flag("withdist", "WITHDIST").optional();
const WITHHASH: Arg = Arg::flag("withhash", "WITHHASH").optional();
const ANY: Arg = Arg::flag("any", "ANY").optional();
const COUNT: Arg =
    Arg::block("count-block", &[Arg::integer("count").token("COUNT"), ANY]).optional();
const COUNT_ANY_LATER: Arg =
    Arg::block("count-block", &[Arg::integer("count").token("COUNT"), ANY.since("6.2.0")])
        .optional();
const ORDER: Arg =
    Arg::one_of("order", &[Arg::flag("asc", "ASC"), Arg::flag("desc", "DESC")]).optional();
const STORE: Arg = Arg::one_of(
    "store",
    &[
        Arg::key("storekey", 1).token("STORE").display("key"),
        Arg::key("storedistkey", 2).token("STOREDIST").display("key"),
    ],
)
.optional();
const FROM: Arg = Arg::one_of(
    "from",
    &[
        MEMBER.token("FROMMEMBER"),
        Arg::block("fromlonlat", &[LONGITUDE, LATITUDE]).token("FROMLONLAT"),
    ],
);
const BY: Arg = Arg::one_of(
    "by",
    &[
        Arg::block("circle", &[RADIUS.token("BYRADIUS"), UNIT]),
        Arg::block("box", &[Arg::double("width").token("BYBOX"), Arg::double("height"), UNIT]),
        Arg::block(
            "polygon",
            &[
                Arg::integer("num-vertices").token("BYPOLYGON"),
                Arg::block("vertices", &[LONGITUDE, LATITUDE]).multiple(),
            ],
        )
        .since("9.0.0"),
    ],
);

const PER_AREA: &str =
    "O(N+log(M)), N being the members in the cells around the area and M all members.";
const UNITS: (&str, &str) = ("7.0.0", "Names of units may be in upper case.");
const RADIUS_HISTORY: &[(&str, &str)] = &[("6.2.0", "`COUNT` may be followed by `ANY`."), UNITS];
const SEARCH_HISTORY: &[(&str, &str)] =
    &[UNITS, ("9.0.0", "`BYPOLYGON` searches in a polygon, as in Valkey.")];

/// The geo family, by name.
pub static DOCS: &[Docs] = &[
    geo(
        "geoadd",
        "3.2.0",
        "O(log(N)) for each member, N being all members.",
        "Adds members with their places to a sorted set.",
    )
    .history(&[("6.2.0", "`NX`, `XX` and `CH` are those of `ZADD`.")])
    .args(&[
        KEY,
        Arg::one_of("condition", &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX")])
            .optional()
            .since("6.2.0"),
        Arg::flag("change", "CH").optional().since("6.2.0"),
        Arg::block("data", &[LONGITUDE, LATITUDE, MEMBER]).multiple(),
    ]),
    geo("geodist", "3.2.0", "O(1)", "Computes the distance between two members.").args(&[
        KEY,
        Arg::string("member1"),
        Arg::string("member2"),
        UNIT.optional(),
    ]),
    geo(
        "geohash",
        "3.2.0",
        "O(1) for each member.",
        "Replies where members are as geohashes of eleven characters.",
    )
    .args(&[KEY, MEMBER.optional().multiple()]),
    geo(
        "geopos",
        "3.2.0",
        "O(1) for each member.",
        "Replies where members are as longitudes and latitudes.",
    )
    .args(&[KEY, MEMBER.optional().multiple()]),
    geo(
        "georadius",
        "3.2.0",
        PER_AREA,
        "Finds members within a distance of a place, and stores them if asked.",
    )
    .history(RADIUS_HISTORY)
    .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument")
    .args(&[
        KEY,
        LONGITUDE,
        LATITUDE,
        RADIUS,
        UNIT,
        WITHCOORD,
        WITHDIST,
        WITHHASH,
        COUNT_ANY_LATER,
        ORDER,
        STORE,
    ]),
    geo("georadius_ro", "3.2.10", PER_AREA, "Finds members within a distance of a place.")
        .history(RADIUS_HISTORY)
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument")
        .args(&[
            KEY,
            LONGITUDE,
            LATITUDE,
            RADIUS,
            UNIT,
            WITHCOORD,
            WITHDIST,
            WITHHASH,
            COUNT_ANY_LATER,
            ORDER,
        ]),
    geo(
        "georadiusbymember",
        "3.2.0",
        PER_AREA,
        "Finds members within a distance of another, and stores them if asked.",
    )
    .history(RADIUS_HISTORY)
    .deprecated(
        "6.2.0",
        "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
    )
    .args(&[KEY, MEMBER, RADIUS, UNIT, WITHCOORD, WITHDIST, WITHHASH, COUNT, ORDER, STORE]),
    geo("georadiusbymember_ro", "3.2.10", PER_AREA, "Finds members within a distance of another.")
        .history(RADIUS_HISTORY)
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments")
        .args(&[KEY, MEMBER, RADIUS, UNIT, WITHCOORD, WITHDIST, WITHHASH, COUNT, ORDER]),
    geo("geosearch", "6.2.0", PER_AREA, "Finds members in a circle, a rectangle or a polygon.")
        .history(SEARCH_HISTORY)
        .args(&[KEY, FROM, BY, ORDER, COUNT, WITHCOORD, WITHDIST, WITHHASH]),
    geo(
        "geosearchstore",
        "6.2.0",
        PER_AREA,
        "Stores the members found in a circle, a rectangle or a polygon under another key.",
    )
    .history(SEARCH_HISTORY)
    .args(&[
        Arg::key("destination", 0),
        Arg::key("source", 1),
        FROM,
        BY,
        ORDER,
        COUNT,
        Arg::flag("storedist", "STOREDIST").optional(),
    ]),
];

const fn geo(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "geo", since, complexity, summary)
}
