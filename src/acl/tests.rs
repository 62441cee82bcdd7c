//! Users, rules and files without a server.

use super::*;

fn catalog() -> Catalog {
    let entry = |name: &str, categories: &[&str], subcommands: Vec<usize>| CatalogEntry {
        name: name.to_owned(),
        categories: Catalog::bits(categories.iter().copied()),
        subcommands,
        is_subcommand: name.contains('|'),
    };
    Catalog::new(vec![
        entry("get", &["read", "string", "fast"], vec![]),
        entry("set", &["write", "string", "slow"], vec![]),
        entry("client", &["slow"], vec![3, 4]),
        entry("client|id", &["slow", "connection"], vec![]),
        entry("client|kill", &["admin", "slow", "dangerous", "connection"], vec![]),
        entry("select", &["fast", "connection"], vec![]),
        entry("ping", &["fast", "connection"], vec![]),
    ])
}

fn acl() -> Acl {
    Acl::new(catalog())
}

fn set(acl: &Acl, name: &str, rules: &str) -> Result<(), String> {
    let rules = rules.split(' ').filter(|rule| !rule.is_empty()).map(str::as_bytes);
    acl.set_user(name.as_bytes(), rules).map(drop).map_err(|error| error.to_string())
}

fn printed(acl: &Acl, name: &str) -> String {
    String::from_utf8(acl.user(name.as_bytes()).expect("it exists").print()).expect("text")
}

fn after(rules: &str) -> String {
    let acl = acl();
    set(&acl, "u", rules).unwrap_or_else(|error| panic!("{rules}: {error}"));
    printed(&acl, "u")
}

fn allowed(rules: &str) -> Vec<String> {
    let acl = acl();
    set(&acl, "u", rules).expect("valid rules");
    let user = acl.user(b"u").expect("just made");
    let all = 0..acl.catalog().len();
    let allowed = all.filter(|id| user.root().allows_command(*id, None));
    allowed.map(|id| acl.catalog().name(id).to_owned()).collect()
}

#[test]
fn the_default_user_may_do_everything() {
    let acl = acl();
    assert_eq!(printed(&acl, "default"), "on nopass ~* &* +@all");
    assert!(acl.is_open() && acl.default_user().may_all());
    acl.set_default_password(b"secret");
    assert!(!acl.is_open() && acl.default_user().accepts(b"secret"));
    assert!(!acl.default_user().accepts(b"Secret") && !acl.default_user().accepts(b""));
    acl.set_default_password(b"");
    assert!(acl.is_open() && acl.default_user().accepts(b"anything"));
}

#[test]
fn users_print_as_rules_that_make_them_again() {
    let cases = [
        ("", "off resetchannels -@all"),
        ("on nopass", "on nopass resetchannels -@all"),
        ("reset", "off sanitize-payload resetchannels -@all"),
        ("~a %R~b %W~b %r~c %rw~d ~a", "off ~a ~b %R~c ~d resetchannels -@all"),
        ("&a &b &a", "off resetchannels &a &b -@all"),
        ("allchannels allkeys allcommands", "off ~* &* +@all"),
        ("+@all -CLIENT +client|id", "off resetchannels +@all -client +client|id"),
        ("+client|id +client", "off resetchannels -@all +client"),
        ("+client +get -client|id +client|id", "off resetchannels -@all +client +get +client|id"),
        ("+@read -get +@read", "off resetchannels -@all -get +@read"),
        ("+select|0 +select|1 +SELECT|1", "off resetchannels -@all +select|0 +select|1"),
        ("+select|0 -select", "off resetchannels -@all -select"),
        ("+get +@all", "off resetchannels +@all"),
        ("db=3,1,1", "off resetchannels db=1,3 -@all"),
        ("DB=1 resetdbs", "off resetchannels resetdbs -@all"),
        ("db=1 alldbs", "off resetchannels -@all"),
        (
            "(+get ~k) ( +set %W~w db=2 )",
            "off resetchannels -@all (~k resetchannels -@all +get) (%W~w resetchannels db=2 -@all +set)",
        ),
        ("(+get) clearselectors", "off resetchannels -@all"),
        ("skip-sanitize-payload", "off skip-sanitize-payload resetchannels -@all"),
    ];
    for (rules, expected) in cases {
        let text = after(rules);
        assert_eq!(text, expected, "{rules}");
        assert_eq!(after(&text), expected, "{rules} again");
    }
}

#[test]
fn wrong_rules_change_nothing_and_say_why() {
    let cases = [
        (
            "+nosuch",
            "Error in ACL SETUSER modifier '+nosuch': Unknown command or category name in ACL",
        ),
        ("+@nosuch", "Unknown command or category"),
        ("-select|0", "Unknown command or category"),
        ("+client|nosuch", "Unknown command or category"),
        ("+get|a|b", "Unknown command or category"),
        ("+client|id|x", "Allowing first-arg of a subcommand is not supported"),
        ("+select|", "Syntax error"),
        ("nonsense", "Syntax error"),
        ("%~a", "Syntax error"),
        ("%RR~a", "Syntax error"),
        ("%R", "Syntax error"),
        ("db=", "Syntax error"),
        ("db=1,", "Syntax error"),
        ("db=x", "Syntax error"),
        ("db=-1", "The provided database ID is out of range"),
        ("db=2147483648", "The provided database ID is out of range"),
        (")", "Syntax error"),
        ("(+get", "Unmatched parenthesis in acl selector starting at '(+get'."),
        ("(nonsense)", "Syntax error"),
        ("(&* &a)", "Adding a pattern after the * pattern (or the 'allchannels' flag)"),
        ("~* ~a", "Adding a pattern after the * pattern (or the 'allkeys' flag)"),
        ("<none", "The password you are trying to remove from the user does not exist"),
        ("#12", "The password hash must be exactly 64 characters"),
        ("!12", "The password hash must be exactly 64 characters"),
    ];
    let acl = acl();
    for (rules, expected) in cases {
        let error = set(&acl, "u", &format!("on {rules}")).expect_err(rules);
        assert!(error.contains(expected), "{rules}: {error}");
        assert!(acl.user(b"u").is_none());
    }
    assert!(set(&acl, "a b", "on").is_err() && set(&acl, "a\0", "on").is_err());
}

#[test]
fn commands_are_allowed_by_name_and_category() {
    assert_eq!(allowed("+get"), ["get"]);
    assert_eq!(allowed("+client"), ["client", "client|id", "client|kill"]);
    assert_eq!(allowed("+client -client|kill"), ["client", "client|id"]);
    assert_eq!(allowed("+@string -get"), ["set"]);
    assert_eq!(allowed("+@connection"), ["client|id", "client|kill", "select", "ping"]);
    assert_eq!(allowed("+@all -@dangerous").len(), 6);
    let acl = acl();
    set(&acl, "u", "+select|0").expect("valid");
    let user = acl.user(b"u").expect("just made");
    let select = |arg| user.root().allows_command(5, arg);
    assert!(select(Some(b"0")) && !select(Some(b"1")) && !select(None));
}

#[test]
fn patterns_cover_keys_channels_and_databases() {
    let acl = acl();
    set(&acl, "u", "%R~r* %W~w* ~b* &news.* db=0,2").expect("valid");
    let user = acl.user(b"u").expect("just made");
    let root = user.root();
    assert!(root.allows_key(b"r1", Access::READ) && !root.allows_key(b"r1", Access::WRITE));
    assert!(root.allows_key(b"w1", Access::WRITE) && !root.allows_key(b"w1", Access::ALL));
    assert!(root.allows_key(b"b1", Access::ALL) && root.allows_key(b"r1", Access::NONE));
    assert!(!root.allows_key(b"x", Access::NONE));
    assert!(root.allows_channel(b"news.a", false) && !root.allows_channel(b"other", false));
    assert!(root.allows_channel(b"news.*", true) && !root.allows_channel(b"news.a", true));
    assert!(root.allows_database(2) && !root.allows_database(1));
    assert!(!root.allows_any_key(Access::READ) && !user.may_all());
    set(&acl, "u", "%R~*").expect("valid");
    let user = acl.user(b"u").expect("just changed");
    assert!(user.root().allows_any_key(Access::READ) && !user.root().allows_any_key(Access::WRITE));
}

#[test]
fn passwords_come_and_go() {
    let acl = acl();
    set(&acl, "u", "on >a >b").expect("valid");
    let user = acl.user(b"u").expect("just made");
    let hashes: Vec<String> = user.password_hashes().collect();
    assert!(user.accepts(b"a") && user.accepts(b"b") && !user.accepts(b"c"));
    set(&acl, "u", &format!("<a !{} #{}", hashes[1], hashes[0])).expect("valid");
    let user = acl.user(b"u").expect("it exists");
    assert!(user.accepts(b"a") && !user.accepts(b"b"));
    set(&acl, "u", "nopass off").expect("valid");
    assert!(!acl.user(b"u").expect("it exists").accepts(b"x"));
    // The vector of the standard (FIPS 180-2).
    assert_eq!(
        user::print_hash(&user::hash(b"abc")),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn who_is_made_again_is_another() {
    let acl = acl();
    set(&acl, "u", "on").expect("valid");
    let first = acl.user(b"u").expect("just made");
    let generation = acl.generation();
    set(&acl, "u", "off").expect("valid");
    assert!(acl.generation() > generation && acl.current(&first).is_some());
    assert!(acl.delete_user(b"u").is_some() && acl.delete_user(b"default").is_none());
    set(&acl, "u", "on").expect("valid");
    assert!(acl.current(&first).is_none());
}

#[test]
fn channels_are_lost_when_a_pattern_goes() {
    let acl = acl();
    let change = |rules| {
        set(&acl, "u", "resetchannels &a &b:*").expect("valid");
        let before = acl.user(b"u").expect("just made");
        set(&acl, "u", rules).expect("valid");
        acl.user(b"u").expect("it exists").channels_left(&before)
    };
    assert!(change("&c").is_none() && change("allchannels").is_none());
    let left = change("resetchannels &a").expect("one is lost");
    assert!(left.cover(b"a", false) && !left.cover(b"b:1", false) && !left.cover(b"b:*", true));
}

#[test]
fn files_load_whole_or_not_at_all() {
    let acl = acl();
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("users.acl");
    let path = path.to_str().expect("text");
    set(&acl, "alice", "on >secret +get ~k* (+set %W~w db=1)").expect("valid");
    acl.save(path).expect("it can be written");
    let text = std::fs::read_to_string(path).expect("it was written");
    assert!(text.starts_with("user alice on #") && text.contains("\nuser default on nopass"));
    let alice = printed(&acl, "alice");
    set(&acl, "alice", "reset").expect("valid");
    set(&acl, "bob", "on").expect("valid");
    let before = acl.load(path).expect("it can be read");
    assert_eq!(printed(&acl, "alice"), alice);
    assert!(acl.user(b"bob").is_none() && before.len() == 3);
    assert!(before.iter().all(|(user, now)| now.is_some() == (user.name() != b"bob")));
    let bad = "user x on +nosuch\nusr y\nuser x on\n\nuser z (+get\nuser w ~a ~* ~b ~c";
    std::fs::write(path, bad).expect("it can be written");
    let error = acl.load(path).expect_err("it is wrong").to_string();
    for part in [
        ":1: Error in applying operation '+nosuch': Unknown command or category name in ACL. ",
        ":2 should start with user keyword followed by the username. ",
        "WARNING: Duplicate user 'x' found on line 3. ",
        ":5: Unmatched parenthesis in selector definition.",
        ":6: Adding a pattern after the * pattern",
        "WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(printed(&acl, "alice"), alice);
    std::fs::write(path, "").expect("it can be written");
    acl.load(path).expect("an empty file is valid");
    assert_eq!(printed(&acl, "default"), "on nopass ~* &* +@all");
    assert!(acl.load("/nonexistent/users").is_err());
}

#[test]
fn the_log_counts_what_is_alike() {
    let acl = acl();
    let deny = |object: &str, at_ms| {
        let (object, username) = (object.as_bytes().to_vec(), b"u".to_vec());
        let (reason, context) = (Reason::Key, Context::TopLevel);
        acl.deny(Denial { reason, context, object, username }, at_ms, format!("at {at_ms}"));
    };
    deny("a", 1);
    deny("b", 2);
    deny("a", 3);
    deny("b", 100_000);
    let log = acl.log(10);
    let seen: Vec<_> = log.iter().map(|e| (e.denial.object.as_slice(), e.count, e.id)).collect();
    assert_eq!(seen, [(&b"b"[..], 1, 2), (b"a", 2, 0), (b"b", 1, 1)]);
    assert_eq!((log[1].created_at_ms, log[1].updated_at_ms), (1, 3));
    assert_eq!((log[1].client.as_str(), acl.denied(Reason::Key)), ("at 3", 4));
    acl.set_log_len_max(2);
    deny("c", 100_001);
    assert_eq!((acl.log(10).len(), acl.log(1).len()), (2, 1));
    acl.reset_log();
    acl.reset_counts();
    assert_eq!((acl.log(10).len(), acl.denied(Reason::Key)), (0, 0));
}

#[test]
fn the_log_keeps_no_more_than_the_beginning_of_what_was_refused() {
    let acl = acl();
    let (object, username) = (vec![b'x'; 1 << 20], vec![b'u'; 1 << 20]);
    let (reason, context) = (Reason::Key, Context::TopLevel);
    acl.deny(Denial { reason, context, object, username }, 1, "\u{e9}".repeat(1 << 20));
    let entry = &acl.log(1)[0];
    let lens = [entry.denial.object.len(), entry.denial.username.len(), entry.client.len()];
    assert_eq!(lens, [4096; 3]);
}
