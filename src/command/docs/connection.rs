//! Documentation of the connection commands and of CLIENT. Data only.
//!
//! CLIENT LIST and CLIENT KILL take one set of filters, Valkey's; only the versions of some differ
//! between the two, so each lists its own.

use super::{Arg, Docs};

const ON: Arg = Arg::flag("on", "ON");
const OFF: Arg = Arg::flag("off", "OFF");
const ENABLED: &[Arg] = &[Arg::one_of("enabled", &[ON, OFF])];
const USERNAME: Arg = Arg::string("username");
const PASSWORD: Arg = Arg::string("password");
const NORMAL: Arg = Arg::flag("normal", "NORMAL");
const MASTER: Arg = Arg::flag("master", "MASTER");
const PRIMARY: Arg = Arg::flag("primary", "PRIMARY");
const SLAVE: Arg = Arg::flag("slave", "SLAVE");
const REPLICA: Arg = Arg::flag("replica", "REPLICA");
const PUBSUB: Arg = Arg::flag("pubsub", "PUBSUB");
const ID: Arg = Arg::integer("client-id").token("ID").optional();
const USER: Arg = USERNAME.token("USER").optional();
const ADDR: Arg = Arg::string("addr").token("ADDR").display("ip:port").optional();
const LADDR: Arg = Arg::string("laddr").token("LADDR").display("ip:port").optional();
const SKIPME: Arg = Arg::one_of("skipme", &[Arg::flag("yes", "YES"), Arg::flag("no", "NO")])
    .token("SKIPME")
    .optional();
const MAXAGE: Arg = Arg::integer("maxage").token("MAXAGE").optional();
const NAME: Arg = Arg::string("name").token("NAME").optional().since("9.0.0");
const IDLE: Arg = Arg::integer("idle").token("IDLE").optional().since("9.0.0");
const FLAGS: Arg = Arg::string("flags").token("FLAGS").optional().since("9.0.0");
const LIB_NAME: Arg = Arg::string("lib-name").token("LIB-NAME").optional().since("9.0.0");
const LIB_VER: Arg = Arg::string("lib-ver").token("LIB-VER").optional().since("9.0.0");
const DB: Arg = Arg::integer("db").token("DB").optional().since("9.0.0");
const CAPA: Arg = Arg::string("capa").token("CAPA").optional().since("9.0.0");
const IP: Arg = Arg::string("ip").token("IP").optional().since("9.0.0");
const NOT_ID: Arg = Arg::integer("not-id")
    .token("NOT-ID")
    .display("client-id")
    .optional()
    .multiple()
    .since("9.0.0");
const NOT_TYPE: Arg = Arg::one_of("not-type", &[NORMAL, MASTER, REPLICA, PUBSUB])
    .token("NOT-TYPE")
    .optional()
    .since("9.0.0");
const NOT_USER: Arg = not("not-user", "NOT-USER", "username");
const NOT_ADDR: Arg = not("not-addr", "NOT-ADDR", "ip:port");
const NOT_LADDR: Arg = not("not-laddr", "NOT-LADDR", "ip:port");
const NOT_NAME: Arg = not("not-name", "NOT-NAME", "name");
const NOT_FLAGS: Arg = not("not-flags", "NOT-FLAGS", "flags");
const NOT_LIB_NAME: Arg = not("not-lib-name", "NOT-LIB-NAME", "lib-name");
const NOT_LIB_VER: Arg = not("not-lib-ver", "NOT-LIB-VER", "lib-ver");
const NOT_DB: Arg = Arg::integer("not-db").token("NOT-DB").display("db").optional().since("9.0.0");
const NOT_CAPA: Arg = not("not-capa", "NOT-CAPA", "capa");
const NOT_IP: Arg = not("not-ip", "NOT-IP", "ip");

const PER_CLIENT: &str = "O(N), N being the number of connected clients.";

/// The connection family, by name.
pub static DOCS: &[Docs] = &[
    connection(
        "auth",
        "1.0.0",
        "O(N), N being the number of passwords of the user.",
        "Logs the connection in, as the default user or as the one named.",
    )
    .history(&[("6.0.0", "A user name may precede the password.")])
    .args(&[USERNAME.optional().since("6.0.0"), PASSWORD]),
    connection(
        "client",
        "2.4.0",
        "Depends on subcommand.",
        "Groups the commands on client connections.",
    ),
    connection(
        "client|caching",
        "6.0.0",
        "O(1)",
        "Says whether what the next command reads is cached, where that is to be said.",
    )
    .args(&[Arg::one_of("mode", &[Arg::flag("yes", "YES"), Arg::flag("no", "NO")])]),
    connection("client|capa", "8.0.0", "O(1)", "Tells the server what this client can handle.")
        .args(&[Arg::string("capability").multiple()]),
    connection("client|getname", "2.6.9", "O(1)", "Tells the name this connection was given."),
    connection(
        "client|getredir",
        "6.0.0",
        "O(1)",
        "Tells the connection to which the invalidations of this one go.",
    ),
    connection("client|help", "5.0.0", "O(1)", "Lists the CLIENT subcommands."),
    connection("client|id", "5.0.0", "O(1)", "Tells the number that identifies this connection."),
    connection(
        "client|info",
        "6.2.0",
        "O(1)",
        "Describes this connection as a line of CLIENT LIST does.",
    ),
    connection("client|kill", "2.4.0", PER_CLIENT, "Closes the connections that pass all filters.")
        .history(&[
            ("2.8.12", "Filters may be given instead of one address."),
            ("2.8.12", "`ID` filters by client id."),
            ("3.2.0", "`TYPE` knows `master`."),
            ("5.0.0", "`TYPE` says `replica`; `slave` keeps working."),
            ("6.2.0", "`LADDR` filters by local address."),
            ("7.4.0", "`MAXAGE` filters by age."),
            ("8.0.0", "`TYPE` says `primary`; `master` keeps working."),
            ("8.1.0", "`ID` takes several ids."),
            (
                "9.0.0",
                "More filters: `CAPA`, `DB`, `FLAGS`, `IDLE`, `IP`, `LIB-NAME`, `LIB-VER`, `NAME`.",
            ),
            ("9.0.0", "Most filters have a negation that starts with `NOT-`."),
        ])
        .args(&[Arg::one_of(
            "filter",
            &[
                Arg::string("old-format").display("ip:port").deprecated_since("2.8.12"),
                Arg::one_of(
                    "new-format",
                    &[
                        ID.multiple().since("2.8.12"),
                        Arg::one_of(
                            "client-type",
                            &[
                                NORMAL,
                                MASTER.since("3.2.0"),
                                PRIMARY.since("8.0.0"),
                                SLAVE,
                                REPLICA.since("5.0.0"),
                                PUBSUB,
                            ],
                        )
                        .token("TYPE")
                        .optional()
                        .since("2.8.12"),
                        USER,
                        ADDR,
                        LADDR.since("6.2.0"),
                        SKIPME,
                        MAXAGE.since("7.4.0"),
                        NAME,
                        IDLE,
                        FLAGS,
                        LIB_NAME,
                        LIB_VER,
                        DB,
                        CAPA,
                        IP,
                        NOT_ID,
                        NOT_TYPE,
                        NOT_USER,
                        NOT_ADDR,
                        NOT_LADDR,
                        NOT_NAME,
                        NOT_FLAGS,
                        NOT_LIB_NAME,
                        NOT_LIB_VER,
                        NOT_DB,
                        NOT_CAPA,
                        NOT_IP,
                    ],
                )
                .multiple(),
            ],
        )]),
    connection(
        "client|list",
        "2.4.0",
        PER_CLIENT,
        "Describes the connections that pass all filters, one per line.",
    )
    .history(&[
        ("2.8.12", "Field `id`."),
        ("5.0.0", "`TYPE` filters by kind of client."),
        ("6.0.0", "Field `user`."),
        ("6.2.0", "Fields `argv-mem`, `laddr`, `redir` and `tot-mem`; `ID` filters by client id."),
        ("7.0.0", "Fields `multi-mem`, `rbp`, `rbs` and `resp`."),
        ("7.0.3", "Field `ssub`."),
        ("7.2.0", "The library of the client: `lib-name`, `lib-ver`."),
        ("7.4.0", "Field `watch`."),
        ("8.0.0", "Field `io-thread`."),
        ("8.1.0", "`ADDR`, `LADDR`, `MAXAGE`, `SKIPME` and `USER` filter as in `CLIENT KILL`."),
        (
            "9.0.0",
            "More filters: `CAPA`, `DB`, `FLAGS`, `IDLE`, `IP`, `LIB-NAME`, `LIB-VER`, `NAME`.",
        ),
        ("9.0.0", "Most filters have a negation that starts with `NOT-`."),
    ])
    .args(&[
        Arg::one_of("client-type", &[NORMAL, MASTER, REPLICA, PUBSUB])
            .token("TYPE")
            .optional()
            .since("5.0.0"),
        ID.multiple().since("6.2.0"),
        USER.since("8.1.0"),
        ADDR.since("8.1.0"),
        LADDR.since("8.1.0"),
        SKIPME.since("8.1.0"),
        MAXAGE.since("8.1.0"),
        NAME,
        IDLE,
        FLAGS,
        LIB_NAME,
        LIB_VER,
        DB,
        CAPA,
        IP,
        NOT_ID,
        NOT_TYPE,
        NOT_USER,
        NOT_ADDR,
        NOT_LADDR,
        NOT_NAME,
        NOT_FLAGS,
        NOT_LIB_NAME,
        NOT_LIB_VER,
        NOT_DB,
        NOT_CAPA,
        NOT_IP,
    ]),
    connection(
        "client|no-evict",
        "7.0.0",
        "O(1)",
        "Protects this connection from client eviction, or exposes it again.",
    )
    .args(ENABLED),
    connection(
        "client|no-touch",
        "7.2.0",
        "O(1)",
        "Keeps what this connection reads out of LRU and LFU accounting, or takes it in again.",
    )
    .args(ENABLED),
    connection(
        "client|pause",
        "3.0.0",
        "O(1)",
        "Holds back the commands of all clients for a while.",
    )
    .history(&[("6.2.0", "A mode may be given; `WRITE` holds back writes only.")])
    .args(&[
        Arg::integer("timeout"),
        Arg::one_of("mode", &[Arg::flag("write", "WRITE"), Arg::flag("all", "ALL")])
            .optional()
            .since("6.2.0"),
    ]),
    connection(
        "client|reply",
        "3.2.0",
        "O(1)",
        "Switches the replies to this connection on or off, or omits one.",
    )
    .args(&[Arg::one_of("action", &[ON, OFF, Arg::flag("skip", "SKIP")])]),
    connection(
        "client|setinfo",
        "7.2.0",
        "O(1)",
        "Records the client library's name or version with the connection.",
    )
    .args(&[Arg::one_of(
        "attr",
        &[Arg::string("libname").token("LIB-NAME"), Arg::string("libver").token("LIB-VER")],
    )]),
    connection("client|setname", "2.6.9", "O(1)", "Names this connection.")
        .args(&[Arg::string("connection-name")]),
    connection(
        "client|tracking",
        "6.0.0",
        "O(1), or O(N) for N prefixes.",
        "Says whether, and how, the connection hears of changes of the keys that it has read.",
    )
    .args(&[
        Arg::one_of("status", &[Arg::flag("on", "ON"), Arg::flag("off", "OFF")]),
        Arg::integer("client-id").token("REDIRECT").optional(),
        Arg::string("prefix").token("PREFIX").optional().multiple_token(),
        Arg::flag("bcast", "BCAST").optional(),
        Arg::flag("optin", "OPTIN").optional(),
        Arg::flag("optout", "OPTOUT").optional(),
        Arg::flag("noloop", "NOLOOP").optional(),
    ]),
    connection("client|trackinginfo", "6.2.0", "O(1)", "Tells how this connection tracks keys."),
    connection(
        "client|unblock",
        "5.0.0",
        "O(log N), N being the number of connected clients.",
        "Ends the wait of a client blocked by a command, as if by timeout or with an error.",
    )
    .args(&[
        Arg::integer("client-id"),
        Arg::one_of(
            "unblock-type",
            &[Arg::flag("timeout", "TIMEOUT"), Arg::flag("error", "ERROR")],
        )
        .optional(),
    ]),
    connection(
        "client|unpause",
        "6.2.0",
        "O(N), N being the number of clients held back.",
        "Lets the clients go on that CLIENT PAUSE holds back.",
    ),
    connection("echo", "1.0.0", "O(1)", "Sends a message back.").args(&[Arg::string("message")]),
    connection(
        "hello",
        "6.0.0",
        "O(1)",
        "Selects the protocol version, logs in and names the connection in one step.",
    )
    .history(&[("6.2.0", "All arguments may be left out, to learn about the connection only.")])
    .args(&[Arg::block(
        "arguments",
        &[
            Arg::integer("protover"),
            Arg::block("auth", &[USERNAME, PASSWORD]).token("AUTH").optional(),
            Arg::string("clientname").token("SETNAME").optional(),
        ],
    )
    .optional()]),
    connection(
        "ping",
        "1.0.0",
        "O(1)",
        "Answers PONG or the message, to show that the server is there.",
    )
    .args(&[Arg::string("message").optional()]),
    connection("quit", "1.0.0", "O(1)", "Has the server close the connection.")
        .deprecated("7.2.0", "just closing the connection"),
    connection("reset", "6.2.0", "O(1)", "Brings the connection back to the state it began in."),
    connection("select", "1.0.0", "O(1)", "Chooses the database of this connection.")
        .args(&[Arg::integer("index")]),
];

const fn connection(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "connection", since, complexity, summary)
}

const fn not(name: &'static str, token: &'static str, display: &'static str) -> Arg {
    Arg::string(name).token(token).display(display).optional().since("9.0.0")
}
