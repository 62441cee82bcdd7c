//! What happens when memory is full: which keys go, who is told, and who is refused what.

use std::time::Duration;

use crate::dataset::{call, run, text};
use crate::harness::{Conn, Reply, Server, wait_for};

const DEADLINE: Duration = Duration::from_secs(20);
const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

fn error(reply: Reply) -> String {
    match reply {
        Reply::Error(text) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("{other:?} is no error"),
    }
}

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

/// Lets the server use as much as it does now and `more`.
fn limit(conn: &mut Conn, more: u64) -> u64 {
    let max = conn.info("used_memory") + more;
    assert_eq!(conn.call(&["CONFIG", "SET", "maxmemory", &max.to_string()]), ok());
    max
}

#[test]
fn what_may_grow_is_refused_and_the_rest_goes_on() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    run(&mut conn, "SET k v");
    assert_eq!(conn.call(&["CONFIG", "SET", "maxmemory", "1"]), ok());
    assert_eq!(error(conn.call(&["SET", "k", "w"])), OOM);
    assert_eq!(text(run(&mut conn, "GET k")), "v");
    assert_eq!(
        error(conn.call(&["EVAL", "return redis.call('SET', 'k', 'w')", "0"])).get(..3),
        Some("OOM")
    );
    assert_eq!(conn.call(&["EVAL", "return redis.call('DEL', 'n')", "0"]), Reply::Integer(0));
    let flagged = "#!lua\nreturn 1";
    let refused = "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'";
    assert_eq!(error(conn.call(&["EVAL", flagged, "0"])), refused);
    let lenient = "#!lua flags=allow-oom\nreturn redis.call('SET', 'k', 'x')";
    assert_eq!(conn.call(&["EVAL", lenient, "0"]), ok());
    run(&mut conn, "MULTI");
    assert_eq!(error(conn.call(&["SET", "k", "w"])), OOM);
    assert_eq!(error(conn.call(&["EXEC"])).get(..9), Some("EXECABORT"));
    // The memory went after the commands were queued.
    assert_eq!(conn.call(&["CONFIG", "SET", "maxmemory", "0"]), ok());
    run(&mut conn, "MULTI");
    run(&mut conn, "SET k w");
    let mut other = server.connect();
    assert_eq!(other.call(&["CONFIG", "SET", "maxmemory", "1"]), ok());
    assert_eq!(
        error(conn.call(&["EXEC"])),
        format!("EXECABORT Transaction discarded because of: {OOM}")
    );
    assert_eq!(text(run(&mut conn, "GET k")), "x");
    assert!(wait_for(DEADLINE, || conn.info("current_eviction_exceeded_time") > 0));
    assert_eq!(conn.call(&["CONFIG", "SET", "maxmemory", "0"]), ok());
    assert_eq!(conn.call(&["SET", "k", "w"]), ok());
}

#[test]
fn memory_stays_below_its_limit_while_many_write() {
    let server = Server::start_with_threads(4);
    let mut conn = server.connect();
    assert_eq!(conn.call(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]), ok());
    let max = limit(&mut conn, 4 << 20);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let server = &server;
            scope.spawn(move || {
                let mut conn = server.connect();
                for number in 0..5000 {
                    let len = if number % 50 == 0 { 20_000 } else { 200 };
                    let key = format!("{thread}:{number}");
                    assert_eq!(conn.call(&["SET", &key, &"v".repeat(len)]), ok());
                }
            });
        }
    });
    let used = conn.info("used_memory");
    assert!(used < max + (64 << 10), "{used} of {max}");
    let (evicted, Reply::Integer(left)) = (conn.info("evicted_keys"), conn.call(&["DBSIZE"]))
    else {
        panic!("a number")
    };
    assert!(evicted > 1000 && left > 1000, "{evicted} went, {left} stayed");
    assert_eq!(evicted + left.unsigned_abs(), 20_000);
}

#[test]
fn a_collection_that_another_thread_frees_saves_the_others() {
    // Two loops that evict in the same instant may each take a key.
    let server = Server::start_with_threads(1);
    let mut conn = server.connect();
    let members: Vec<String> = (0..50_000).map(|number| format!("member:{number}")).collect();
    for chunk in members.chunks(5000) {
        let mut request = vec!["SADD", "large"];
        request.extend(chunk.iter().map(String::as_str));
        conn.call(&request);
    }
    // So many samples that all are compared.
    for (name, value) in [("maxmemory-policy", "volatile-ttl"), ("maxmemory-samples", "64")] {
        assert_eq!(conn.call(&["CONFIG", "SET", name, value]), ok());
    }
    run(&mut conn, "EXPIRE large 100");
    for number in 0..30 {
        run(&mut conn, &format!("SET k{number} v EX 1000"));
    }
    limit(&mut conn, 0);
    assert!(wait_for(DEADLINE, || conn.call(&["EXISTS", "large"]) == Reply::Integer(0)));
    for number in 0..30 {
        assert_eq!(text(run(&mut conn, &format!("GET k{number}"))), "v");
    }
    assert_eq!(conn.info("evicted_keys"), 1);
}

#[test]
fn everybody_learns_of_what_goes() {
    let server = Server::start(&["--appendonly", "yes", "--notify-keyspace-events", "KEe"]);
    let (mut conn, mut listener) = (server.connect(), server.connect());
    listener.call(&["SUBSCRIBE", "__keyevent@0__:evicted"]);
    let (mut watcher, mut tracker) = (server.connect(), server.connect());
    run(&mut conn, "SET k v");
    run(&mut watcher, "WATCH k");
    run(&mut watcher, "MULTI");
    tracker.call(&["HELLO", "3"]);
    run(&mut tracker, "CLIENT TRACKING ON");
    run(&mut tracker, "GET k");
    assert_eq!(conn.call(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]), ok());
    assert_eq!(conn.call(&["CONFIG", "SET", "maxmemory", "1"]), ok());
    assert!(wait_for(DEADLINE, || conn.call(&["DBSIZE"]) == Reply::Integer(0)));
    assert_eq!(conn.info("evicted_keys"), 1);
    let told = listener.read().expect("a message");
    let Reply::Array(parts) = &told else { panic!("{told:?}") };
    assert_eq!(parts[2], Reply::Bulk(b"k".to_vec()));
    let told = tracker.read().expect("an invalidation");
    let keys = Reply::Array(vec![Reply::Bulk(b"k".to_vec())]);
    assert_eq!(told, Reply::Push(vec![Reply::Bulk(b"invalidate".to_vec()), keys]));
    assert_eq!(conn.call(&["CONFIG", "SET", "maxmemory", "0"]), ok());
    assert_eq!(watcher.call(&["EXEC"]), Reply::NilArray);
    let server = server.start_again(&["--appendonly", "yes"]);
    assert_eq!(server.connect().call(&["DBSIZE"]), Reply::Integer(0));
}

#[test]
fn only_changes_count_under_lrm() {
    let server =
        Server::start(&["--maxmemory-policy", "allkeys-lrm", "--enable-debug-command", "yes"]);
    let mut conn = server.connect();
    run(&mut conn, "SET read v");
    run(&mut conn, "SET written v");
    run(&mut conn, "RPUSH list a");
    let idle = |conn: &mut Conn, key: &str| match conn.call(&["OBJECT", "IDLETIME", key]) {
        Reply::Integer(seconds) => seconds,
        other => panic!("{other:?}"),
    };
    assert!(wait_for(DEADLINE, || idle(&mut conn, "list") >= 2));
    run(&mut conn, "GET read");
    run(&mut conn, "APPEND written v");
    run(&mut conn, "RPUSH list b");
    assert!(idle(&mut conn, "read") >= 2);
    assert!(idle(&mut conn, "written") <= 1 && idle(&mut conn, "list") <= 1);
}

/// A cache and a queue in one server, which share nothing but the process.
#[test]
fn a_full_database_is_nobody_elses_trouble() {
    let server =
        Server::start(&["--db-maxmemory", "0", "200kb", "allkeys-lru", "1", "100kb", "noeviction"]);
    let (mut cache, mut queue) = (server.connect(), server.connect());
    run(&mut queue, "SELECT 1");
    let mut queued = 0;
    loop {
        match queue.call(&["RPUSH", "jobs", &format!("job {queued} {}", "x".repeat(80))]) {
            Reply::Integer(_) => queued += 1,
            refused => {
                assert_eq!(error(refused), OOM);
                break;
            }
        }
        let key = format!("page:{queued}");
        assert_eq!(cache.call(&["SET", &key, &"v".repeat(400)]), ok());
    }
    assert!((800..1200).contains(&queued), "{queued} jobs of about 100 bytes in 100 kB");
    for number in 0..2000 {
        assert_eq!(cache.call(&["SET", &format!("more:{number}"), &"v".repeat(400)]), ok());
    }
    assert_eq!(queue.call(&["LLEN", "jobs"]), Reply::Integer(queued));
    assert!(queue.info("evicted_keys") > 1000);
    let Reply::Integer(kept) = cache.call(&["DBSIZE"]) else { panic!("a number") };
    assert!((350..500).contains(&kept), "{kept} pages of about 450 bytes in 200 kB");
    // Where there is no limit, there is none; what is brought to the full database is refused.
    run(&mut cache, "SELECT 2");
    assert_eq!(cache.call(&["SET", "k", &"v".repeat(1 << 20)]), ok());
    assert_eq!(error(cache.call(&["COPY", "k", "k", "DB", "1"])), OOM);
    assert_eq!(error(cache.call(&["MOVE", "k", "1"])), OOM);
    // A consumer makes room, as soon as a whole node of the list is free.
    let mut taken = 0;
    while matches!(queue.call(&["RPUSH", "jobs", "one more"]), Reply::Error(_)) {
        run(&mut queue, "LPOP jobs");
        taken += 1;
    }
    assert!((1..200).contains(&taken), "{taken}");
    run(&mut queue, "FLUSHDB");
    let info = text(run(&mut queue, "INFO memory"));
    assert!(info.contains("maxmemory_db1:used=0,max=102400,policy=noeviction"), "{info}");
}

#[test]
fn what_a_database_takes_is_counted_through_every_change() {
    let server = Server::start(&["--db-maxmemory", "0", "1gb", "1", "1gb"]);
    let mut conn = server.connect();
    let used = |conn: &mut Conn, db: usize| -> u64 {
        let info = text(run(conn, "INFO memory"));
        let (_, rest) = info.split_once(&format!("maxmemory_db{db}:used=")).expect("a limit");
        rest.split(',').next().and_then(|digits| digits.parse().ok()).expect("a number")
    };
    for number in 0..500 {
        run(&mut conn, &format!("SET s{number} {}", "v".repeat(number * 5)));
        run(&mut conn, &format!("RPUSH list {}", "i".repeat(number)));
        run(&mut conn, &format!("HSET hash f{number} {number}"));
        run(&mut conn, &format!("SADD set m{number}"));
        run(&mut conn, &format!("ZADD zset {number} m{number}"));
        run(&mut conn, &format!("APPEND grown {}", "a".repeat(10)));
        run(&mut conn, &format!("XADD stream * f {number}"));
    }
    let full = used(&mut conn, 0);
    assert!(full > 800_000, "{full}");
    run(&mut conn, "SWAPDB 0 1");
    assert_eq!((used(&mut conn, 0), used(&mut conn, 1)), (0, full));
    // Counted anew it is the same.
    call(&mut conn, &["CONFIG", "SET", "db-maxmemory", "1 0"]);
    call(&mut conn, &["CONFIG", "SET", "db-maxmemory", "1 2gb allkeys-lfu"]);
    assert!(wait_for(DEADLINE, || used(&mut conn, 1) == full), "{}", used(&mut conn, 1));
    run(&mut conn, "SELECT 1");
    for number in 0..500 {
        run(&mut conn, &format!("DEL s{number}"));
        run(&mut conn, "LPOP list");
        run(&mut conn, &format!("HDEL hash f{number}"));
        run(&mut conn, &format!("SREM set m{number}"));
        run(&mut conn, &format!("ZREM zset m{number}"));
    }
    run(&mut conn, "MOVE grown 3");
    run(&mut conn, "UNLINK stream");
    assert_eq!(conn.call(&["DBSIZE"]), Reply::Integer(0));
    assert_eq!(used(&mut conn, 1), 0);
}

#[test]
fn limits_of_databases_are_set_one_by_one() {
    let server = Server::start(&[
        "--db-maxmemory",
        "0",
        "10mb",
        "allkeys-lru",
        "--db-maxmemory",
        "3",
        "1mb",
    ]);
    let mut conn = server.connect();
    let get = |conn: &mut Conn| match conn.call(&["CONFIG", "GET", "db-maxmemory"]) {
        Reply::Array(pair) => text(pair[1].clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(get(&mut conn), "0 10485760 allkeys-lru 3 1048576");
    let set = |conn: &mut Conn, value: &str| conn.call(&["CONFIG", "SET", "db-maxmemory", value]);
    assert_eq!(set(&mut conn, "3 0 5 1gb volatile-ttl"), ok());
    for wrong in ["16 1mb", "0 1mb sometimes", "x 1mb", "0", "1024 1mb"] {
        assert!(matches!(set(&mut conn, wrong), Reply::Error(_)), "{wrong}");
    }
    assert_eq!(get(&mut conn), "0 10485760 allkeys-lru 5 1073741824 volatile-ttl");
    assert_eq!(set(&mut conn, ""), ok());
    assert_eq!(get(&mut conn), "");
}

#[test]
fn the_largest_clients_are_closed_first() {
    let server = Server::start(&["--maxmemory-clients", "1mb"]);
    let mut watcher = server.connect();
    run(&mut watcher, "CLIENT NO-EVICT ON");
    let hold = |size: usize, name: &str| {
        let mut conn = server.connect();
        conn.call(&["CLIENT", "SETNAME", name]);
        conn.send_raw(format!("*2\r\n$4\r\nECHO\r\n${size}\r\n").as_bytes()).expect("sent");
        conn.send_raw(&vec![b'x'; size - 1]).expect("sent");
        conn
    };
    let takes = |watcher: &mut Conn, name: &str| -> u64 {
        let list = text(run(watcher, "CLIENT LIST"));
        let line = list.lines().find(|line| line.contains(&format!("name={name} ")));
        let field = |line: &str| line.split(" tot-mem=").nth(1)?.split(' ').next()?.parse().ok();
        line.and_then(field).unwrap_or(0)
    };
    let _small = hold(200_000, "small");
    let _large = hold(600_000, "large");
    assert!(wait_for(DEADLINE, || takes(&mut watcher, "large") > 600_000));
    let _last = hold(400_000, "last");
    assert!(wait_for(DEADLINE, || takes(&mut watcher, "last") > 400_000));
    assert!(wait_for(DEADLINE, || takes(&mut watcher, "large") == 0), "{}", server.log());
    assert!(takes(&mut watcher, "small") > 200_000);
    assert_eq!(watcher.info("evicted_clients"), 1);
    assert!(server.log().contains("Evicting client: id="), "{}", server.log());
}

/// What a flush gives back comes later than those who want it.
#[test]
fn who_writes_waits_for_memory_that_is_being_freed() {
    let args = ["--threads", "2", "--maxmemory-policy", "allkeys-lru"];
    let server = Server::start(&[&args[..], &["--enable-debug-command", "yes"]].concat());
    let mut conn = server.connect();
    conn.set_read_deadline(Duration::from_secs(120));
    let script = "for i = 1, 1000000 do redis.call('rpush', i, 'a', 'b') end";
    conn.call(&["EVAL", script, "0"]);
    let max = limit(&mut conn, 1 << 20);
    conn.call(&["CONFIG", "RESETSTAT"]);
    let value = "v".repeat(1 << 20);
    // Those who send and go are waited for too.
    let mut gone: Vec<_> = (0..4).map(|_| server.connect()).collect();
    let mut writers: Vec<_> = (0..2).map(|_| server.connect()).collect();
    assert_eq!(conn.call(&["FLUSHDB", "ASYNC"]), ok());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (number, mut client) in gone.drain(..).enumerate() {
                client.send(&["SET", &format!("gone:{number}"), &value]).expect("sent");
            }
        });
        for (number, writer) in writers.iter_mut().enumerate() {
            let value = &value;
            scope.spawn(move || {
                for at in 0..16 {
                    let key = format!("{number}:{at}");
                    assert_eq!(writer.call(&["SET", &key, value]), ok());
                }
            });
        }
    });
    let peak = conn.info("used_memory_peak");
    // A sixteenth, and what the writers bring at once.
    assert!(peak < max + max / 16 + (8 << 20), "{peak} of {max}");
    let names: Vec<_> = (0..4).map(|number| format!("gone:{number}")).collect();
    let exists: Vec<_> = std::iter::once("EXISTS").chain(names.iter().map(|n| &**n)).collect();
    assert!(wait_for(DEADLINE, || conn.call(&exists) == Reply::Integer(4)));
    // What they brought did not push itself out while the flush was to make room for it.
    assert_eq!(conn.info("evicted_keys"), 0);
}
