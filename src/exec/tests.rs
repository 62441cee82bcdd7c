//! The executor without sockets: replies, what propagates, statistics, admission.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Batch, Executor, ExpireCursor, Stop};
use crate::base::limits::EXPIRE_FIELDS_MAX;
use crate::command::CommandTable;
use crate::config::Config;
use crate::keyspace::Removed;
use crate::resp::{ParseLimits, ReplyBuf, RequestParser};
use crate::server::{Client, ClientFlags, ClientHandle, PauseKind, Peer, Server, gate};

/// A server, one event loop and one client.
struct Bench {
    server: Arc<Server>,
    executor: Executor,
    client: Client,
}

impl Bench {
    fn new() -> Self {
        let commands = Arc::new(CommandTable::new(&[]).expect("no renames"));
        let server = Server::new(Config::new(), 1, CommandTable::catalog(), None);
        let here: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        let handle = ClientHandle::new(1, 0, Peer::Tcp(here, here), 0, 0, 0);
        let executor = Executor::new(Arc::clone(&server), commands, 0);
        Self { server, executor, client: Client::new(Arc::new(handle)) }
    }

    /// Runs inline requests and returns their replies and why the last one stopped, if it did.
    fn run(&mut self, requests: &str) -> (String, Option<Stop>) {
        let (mut parser, mut batch) = (RequestParser::default(), Batch::default());
        let unauthenticated = self.client.flags.has(ClientFlags::UNAUTHENTICATED);
        let limits = ParseLimits { bulk_max: 1 << 29, unauthenticated };
        batch.fill(&mut parser, requests.as_bytes(), limits).expect("well-formed requests");
        let mut out = ReplyBuf::default();
        let progress =
            self.executor.run(requests.as_bytes(), &batch, 0, &mut self.client, &mut out);
        (String::from_utf8_lossy(&out.to_vec()).into_owned(), progress.stop)
    }

    /// Runs requests and returns what they propagated, one command a line with its database.
    fn propagated(&mut self, requests: &str) -> Vec<String> {
        self.server.propagation.capture();
        self.run(requests);
        let words = |argv: &[Vec<u8>]| {
            argv.iter().map(|arg| String::from_utf8_lossy(arg)).collect::<Vec<_>>().join(" ")
        };
        let taken = self.server.propagation.take();
        taken.iter().map(|one| format!("{}: {}", one.0, words(&one.1))).collect()
    }
}

#[test]
fn replies_come_in_order() {
    let (replies, stop) = Bench::new().run("SET k 1\nINCR k\nGET k\nNOSUCH a\nGET\n");
    let expected = "+OK\r\n:2\r\n$1\r\n2\r\n-ERR unknown command 'NOSUCH', with args beginning \
                    with: 'a' \r\n-ERR wrong number of arguments for 'get' command\r\n";
    assert_eq!(replies, expected);
    assert!(stop.is_none(), "{stop:?}");
}

#[test]
fn writes_propagate_as_they_came() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.propagated("SET k v\nSELECT 3\nMSET a 1 b 2\n"),
        ["0: SET k v", "3: MSET a 1 b 2"]
    );
    assert_eq!(bench.propagated("GET a\nSETNX a x\nDEL missing\n"), [""; 0]);
    assert_eq!(bench.propagated("FLUSHDB\n"), ["3: FLUSHDB"]);
}

#[test]
fn a_transaction_propagates_as_one() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.propagated("MULTI\nSET k v\nGET k\nSELECT 2\nINCR n\nEXEC\n"),
        ["0: MULTI", "0: SET k v", "2: INCR n", "2: EXEC"]
    );
    // A single write needs no frame.
    assert_eq!(bench.propagated("MULTI\nGET k\nSET k w\nEXEC\n"), ["2: SET k w"]);
    assert_eq!(bench.propagated("MULTI\nSET k v\nDISCARD\nMULTI\nGET k\nEXEC\n"), [""; 0]);
}

#[test]
fn a_queue_is_bounded() {
    let mut bench = Bench::new();
    bench.server.settings.query_max.store(1000, std::sync::atomic::Ordering::Relaxed);
    let sets = "SET k 0123456789\n".repeat(60);
    let (replies, stop) = bench.run(&format!("MULTI\n{sets}"));
    assert!(matches!(stop, Some(Stop::Close)) && replies.matches("QUEUED").count() < 50);
}

#[test]
fn places_travel_as_scores_and_counts_as_commands() {
    let commands = Bench::new().propagated(
        "GEOADD g CH 13.361389 38.115556 a\nGEOADD g NX 1 1 a\nPFADD h a\nPFADD h a\nPFCOUNT h\n\
         PFCOUNT h\nSETBIT s 1 0\nSETBIT s 1 0\nBITFIELD s GET u8 0\nBITFIELD s SET u8 0 0\n\
         PFDEBUG TODENSE h\nPFDEBUG GETREG h\nGEORADIUS g 0 0 1 m STORE d\nSORT g BY x STORE d\n",
    );
    let expected = [
        "0: ZADD g CH 3479099956230698 a",
        "0: PFADD h a",
        "0: PFCOUNT h",
        "0: SETBIT s 1 0",
        "0: PFDEBUG TODENSE h",
        "0: SORT g BY x STORE d",
    ];
    assert_eq!(commands, expected);
}

#[test]
fn conditions_and_results_propagate_as_plain_writes() {
    let mut bench = Bench::new();
    assert_eq!(bench.propagated("SET k v NX\nSET k w IFEQ v GET\n"), ["0: SET k v", "0: SET k w"]);
    assert_eq!(
        bench.propagated("SET k x KEEPTTL XX\nGETSET k y\n"),
        ["0: SET k x KEEPTTL", "0: SET k y"]
    );
    assert_eq!(
        bench.propagated("SET n 1\nINCRBYFLOAT n 0.5\n"),
        ["0: SET n 1", "0: SET n 1.5 KEEPTTL"]
    );
    assert_eq!(bench.propagated("GETDEL k\nDELEX n IFEQ 1.5\n"), ["0: DEL k", "0: DEL n"]);
}

#[test]
fn restored_keys_propagate_with_deadlines() {
    let mut bench = Bench::new();
    let payload = r#""\x00\x05hello\x0a\x00cr\xdfve4 \x0a""#;
    let verbatim = bench.propagated(&format!("RESTORE k 0 {payload}\nDUMP k\n"));
    assert!(verbatim.len() == 1 && verbatim[0].starts_with("0: RESTORE k 0 "), "{verbatim:?}");
    let before = bench.server.now_ms();
    let relative = bench.propagated(&format!("RESTORE k 100000 {payload} REPLACE\n"));
    let at_ms: i64 = relative[0].split(' ').nth(3).and_then(|ms| ms.parse().ok()).expect("a time");
    assert!((100_000..110_000).contains(&(at_ms - before)));
    assert!(relative[0].ends_with(" REPLACE ABSTTL"), "{relative:?}");
    let absolute = bench.propagated(&format!("RESTORE k {at_ms} {payload} ABSTTL REPLACE\n"));
    assert!(absolute[0].ends_with(" ABSTTL REPLACE"), "{absolute:?}");
    let late = format!("RESTORE k 1 {payload} ABSTTL REPLACE\n");
    assert_eq!(bench.propagated(&late), ["0: DEL k"]);
    assert_eq!(bench.propagated(&late), [""; 0]);
}

#[test]
fn popped_members_propagate_as_removals() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.propagated("SADD k a\nSADD k a\nSPOP k\nSPOP k\nSADD n 7\nSPOP n\n"),
        ["0: SADD k a", "0: SREM k a", "0: SADD n 7", "0: SREM n 7"]
    );
    let adds: String = (0..3000).map(|n| format!(" m{n}")).collect();
    bench.propagated(&format!("SADD k{adds}\n"));
    for (count, lengths) in [(1500, vec![1024, 476]), (1400, vec![1024, 376])] {
        let unit = bench.propagated(&format!("SPOP k {count}\n"));
        assert_eq!((&*unit[0], &*unit[3], unit.len()), ("0: MULTI", "0: EXEC", 4));
        let removals = &unit[1..3];
        let popped: Vec<usize> = removals.iter().map(|r| r.split(' ').count() - 3).collect();
        assert!(removals.iter().all(|removal| removal.starts_with("0: SREM k m")));
        assert_eq!(popped, lengths);
    }
    assert_eq!(bench.propagated("SPOP k 0\nSRANDMEMBER k\n"), [""; 0]);
    assert_eq!(bench.propagated("SPOP k 100\nSPOP k 100\n"), ["0: DEL k"]);
}

#[test]
fn set_algebra_propagates_as_it_came() {
    let mut bench = Bench::new();
    bench.propagated("SADD a 1 2 x\nSADD b 2\n");
    assert_eq!(
        bench.propagated("SINTERSTORE d a b\nSDIFFSTORE d b a\nSDIFFSTORE d b a\nSMOVE a b x\n"),
        ["0: SINTERSTORE d a b", "0: SDIFFSTORE d b a", "0: SMOVE a b x"]
    );
    assert_eq!(bench.propagated("SMOVE a b missing\nSREM a missing\n"), [""; 0]);
}

#[test]
fn what_was_popped_of_several_lists_propagates_as_a_pop() {
    let mut bench = Bench::new();
    bench.propagated("RPUSH a 1 2 3 4\n");
    assert_eq!(
        bench.propagated("LMPOP 2 none a LEFT COUNT 2\nLMPOP 1 a RIGHT\nLMPOP 1 none LEFT\n"),
        ["0: LPOP a 2", "0: RPOP a 1"]
    );
    let verbatim = ["0: LMOVE a b LEFT LEFT", "0: LMOVEM b a LEFT LEFT COUNT 9 OBO"];
    assert_eq!(
        bench.propagated(
            "LMOVE a b LEFT LEFT\nLMOVE a b LEFT LEFT\nLMOVEM b a LEFT LEFT COUNT 9 OBO\n"
        ),
        verbatim
    );
    // Nothing changes.
    assert_eq!(bench.propagated("LTRIM a 0 -1\nLREM a 0 x\nLPUSHX none x\nLPOP a 0\n"), [""; 0]);
}

#[test]
fn members_popped_from_one_of_many_propagate_as_pops_of_that_one() {
    let mut bench = Bench::new();
    bench.propagated("ZADD z 1 a 2 b 3 c\n");
    assert_eq!(
        bench.propagated("ZMPOP 2 y z MIN\nZMPOP 1 z MAX COUNT 9\nZMPOP 1 z MIN\nZPOPMIN z\n"),
        ["0: ZPOPMIN z 1", "0: ZPOPMAX z 2"]
    );
    assert_eq!(
        bench.propagated("ZADD z INCR 1 a\nZADD z NX 1 a\nZADD z CH 2 a\nZINCRBY z 0 a\n"),
        ["0: ZADD z INCR 1 a", "0: ZADD z CH 2 a"]
    );
    assert_eq!(
        bench.propagated("ZUNIONSTORE d 1 z\nZUNIONSTORE d 1 y\nZUNIONSTORE d 1 y\nZREM z x\n"),
        ["0: ZUNIONSTORE d 1 z", "0: ZUNIONSTORE d 1 y"]
    );
}

#[test]
fn relative_deadlines_propagate_as_absolute_ones() {
    let mut bench = Bench::new();
    let stream = bench.propagated("SET k v EX 100\nEXPIRE k 50\nGETEX k PERSIST\nSETEX k 7 w\n");
    let kinds: Vec<String> = stream
        .iter()
        .map(|line| {
            line.split(' ')
                .map(|w| if w.len() > 12 { "<ms>" } else { w })
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let expected =
        ["0: SET k v PXAT <ms>", "0: PEXPIREAT k <ms>", "0: PERSIST k", "0: SET k w PXAT <ms>"];
    assert_eq!(kinds, expected);
    assert_eq!(bench.propagated("EXPIRE k -1\n"), ["0: DEL k"]);
}

#[test]
fn expired_keys_propagate_as_deletions() {
    let mut bench = Bench::new();
    bench.run("SET lazy v PXAT 1\nSET active v PXAT 1\nSET stays v\n");
    assert_eq!(bench.propagated("GET lazy\n"), ["0: DEL lazy"]);
    let mut cursor = ExpireCursor::new(0, 1);
    while bench.executor.expire_slice(&mut cursor) {}
    let taken = bench.server.propagation.take();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].1, [b"DEL".to_vec(), b"active".to_vec()]);
    assert_eq!(bench.run("DBSIZE\n").0, ":1\r\n");
}

#[test]
fn deadlines_of_fields_propagate_as_absolute_times() {
    let mut bench = Bench::new();
    bench.run("HSET h a 1 b 2 c 3\n");
    let at = "33177117420000";
    assert_eq!(
        bench.propagated("HEXPIREAT h 33177117420 FIELDS 2 a none\nHEXPIRE h 10 GT FIELDS 1 a\n"),
        [format!("0: HPEXPIREAT h {at} FIELDS 1 a")]
    );
    assert_eq!(
        bench.propagated(
            "HGETEX h EXAT 33177117420 FIELDS 2 b none\nHGETEX h PERSIST FIELDS 2 b c\n"
        ),
        [format!("0: HPEXPIREAT h {at} FIELDS 1 b"), "0: HPERSIST h FIELDS 1 b".to_owned()]
    );
    assert_eq!(
        bench.propagated(
            "HSETEX h XX FXX EXAT 33177117420 FIELDS 1 b 5\nHSETEX h FXX FIELDS 1 x 1\n"
        ),
        [format!("0: HSETEX h PXAT {at} FIELDS 1 b 5")]
    );
    assert_eq!(
        bench.propagated("HINCRBYFLOAT h a 0.5\nHINCRBYFLOAT h c 0.5\nHINCRBY h b 1\n"),
        ["0: HSETEX h KEEPTTL FIELDS 1 a 1.5", "0: HSET h c 3.5", "0: HINCRBY h b 1"]
    );
    assert_eq!(
        bench.propagated(
            "HGETDEL h FIELDS 2 c none\nHEXPIRE h 0 FIELDS 1 b\nHSETEX h EX 0 FIELDS 1 a 1\n"
        ),
        ["0: HDEL h c", "0: HDEL h b", "0: HDEL h a"]
    );
    assert_eq!(
        bench.propagated("HIMPORT PREPARE u x y\nHIMPORT SET k u 1 2\nHIMPORT SET k u 3 4\n"),
        ["0: HSET k x 1 y 2", "0: MULTI", "0: DEL k", "0: HSET k x 3 y 4", "0: EXEC"]
    );
}

#[test]
fn expired_fields_propagate_as_deletions() {
    let mut bench = Bench::new();
    let until = Instant::now() + Duration::from_secs(10);
    bench.run("HSET lazy f v g w\nHPEXPIRE lazy 1 FIELDS 1 f\nHSET active f v g w\n");
    bench.server.propagation.capture();
    while bench.run("HGET lazy f\n").0 != "$-1\r\n" && Instant::now() < until {}
    bench.run("HPEXPIRE active 1 FIELDS 1 f\n");
    let mut cursor = ExpireCursor::new(0, 1);
    while bench.run("HLEN active\n").0 != ":1\r\n" && Instant::now() < until {
        while bench.executor.expire_slice(&mut cursor) {}
    }
    let taken = bench.server.propagation.take();
    let deletion = |key: &[u8]| vec![b"HDEL".to_vec(), key.to_vec(), b"f".to_vec()];
    assert_eq!(taken[0].1, deletion(b"lazy"));
    assert_eq!(taken[2].1, deletion(b"active"));
    // With its last field the hash goes, and no DEL is needed.
    bench.server.propagation.capture();
    bench.run("HPEXPIRE active 1 FIELDS 1 g\n");
    while bench.run("EXISTS active\n").0 != ":0\r\n" && Instant::now() < until {
        while bench.executor.expire_slice(&mut cursor) {}
    }
    assert_eq!(bench.server.propagation.take().len(), 2);
    assert!(bench.run("INFO stats\n").0.contains("expired_subkeys:3\r\n"));
}

#[test]
fn many_due_fields_are_removed_a_bounded_number_at_a_time() {
    const FIELDS: usize = 20_000;
    let mut bench = Bench::new();
    for first in (0..FIELDS).step_by(1000) {
        let names: Vec<String> = (first..first + 1000).map(|n| format!("field:{n}")).collect();
        let pairs: Vec<String> = names.iter().map(|name| format!("{name} v")).collect();
        bench.run(&format!("HSET h {}\n", pairs.join(" ")));
        bench.run(&format!("HPEXPIRE h 1 FIELDS 1000 {}\n", names.join(" ")));
    }
    bench.run("HSET h stays v\n");
    let keyspace = &bench.server.keyspace;
    let shard = keyspace.shard_of(keyspace.hash(b"h"));
    let (mut removed, far) = (Removed::default(), bench.server.now_ms() + 10);
    let mut most = 0;
    while keyspace.lock(shard).expire_some(far, far, keyspace.hasher(), &mut removed) {
        most = most.max(removed.fields.drain(..).map(|hash| hash.fields.len()).sum());
    }
    assert!((1..2 * EXPIRE_FIELDS_MAX).contains(&most), "{most} at once");
    assert_eq!(bench.run("HGETALL h\n").0, "*2\r\n$5\r\nstays\r\n$1\r\nv\r\n");
    assert_eq!(bench.run("HLEN h\n").0, ":1\r\n");
}

#[test]
fn strangers_may_only_authenticate() {
    let mut bench = Bench::new();
    bench.server.reconfigure(|config| config.set(&[(b"requirepass", b"secret")])).expect("valid");
    bench.client.set_flags(ClientFlags::UNAUTHENTICATED, true);
    let mut first = |request: &str| bench.run(request).0.split(' ').next().map(str::to_owned);
    assert_eq!(first("GET k\n").as_deref(), Some("-NOAUTH"));
    assert_eq!(first("AUTH wrong\n").as_deref(), Some("-WRONGPASS"));
    assert_eq!(first("AUTH secret\n").as_deref(), Some("+OK\r\n"));
    assert_eq!(first("GET k\n").as_deref(), Some("$-1\r\n"));
}

#[test]
fn a_pause_stops_before_the_first_write() {
    let mut bench = Bench::new();
    bench.server.pause.begin(PauseKind::Write, i64::MAX, bench.server.now_ms());
    bench.server.set_gate(gate::PAUSED, true);
    let (replies, stop) = bench.run("GET k\nSET k v\nGET k\n");
    assert!(replies == "$-1\r\n" && matches!(stop, Some(Stop::Paused)), "{replies} {stop:?}");
    bench.server.pause.end();
    assert_eq!(bench.run("SET k v\n").0, "+OK\r\n");
}

#[test]
fn silenced_replies_leave_no_trace() {
    let mut bench = Bench::new();
    assert_eq!(bench.run("CLIENT REPLY SKIP\nSET k v\nGET k\n").0, "$1\r\nv\r\n");
    assert_eq!(
        bench.run("CLIENT REPLY OFF\nGET k\nNOSUCH\nCLIENT REPLY ON\nGET k\n").0,
        "+OK\r\n$1\r\nv\r\n"
    );
}

#[test]
fn every_execution_is_counted() {
    let mut bench = Bench::new();
    bench.run("SET k v\nINCR k\nINCR\nGET k\nGET k\n");
    let info = bench.run("INFO commandstats\n").0;
    let line = |name: &str| {
        let start = format!("cmdstat_{name}:");
        info.lines().find(|line| line.starts_with(&start)).expect("the command ran").to_owned()
    };
    assert!(line("get").contains("calls=2,"), "{info}");
    assert!(
        line("incr").contains("calls=1,")
            && line("incr").ends_with("rejected_calls=1,failed_calls=1")
    );
}
