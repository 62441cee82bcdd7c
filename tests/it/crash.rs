//! The process is killed at random instants: what was acknowledged is there afterwards, and no
//! transaction is there by half.
//!
//! `REDSTART_CRASH_ROUNDS=200` kills that often; by default it is a few times only.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::dataset::{call, digest, run, text};
use crate::harness::{APPEND_DIR, Conn, Reply, Server, wait_for};

const DEADLINE: Duration = Duration::from_secs(20);
/// Clients that write at the same time, each to keys of its own.
const WRITERS: usize = 4;
/// Keys of a transaction.
const SPREAD: usize = 8;

fn rounds(otherwise: u32) -> u32 {
    let given = std::env::var("REDSTART_CRASH_ROUNDS").ok();
    given.map_or(otherwise, |text| text.parse().expect("REDSTART_CRASH_ROUNDS: a number"))
}

/// What one client was told: the number of its last step that was acknowledged, and what of that has
/// to be there whatever happens.
#[derive(Clone, Copy, Debug, Default)]
struct Steps {
    acknowledged: u64,
    /// The last step before the append-only file was switched off, or else the last of all.
    kept: u64,
}

/// Each step of a client is one number; it is written in four ways, each of which shows it.
fn requests(client: usize, step: u64) -> Vec<Vec<String>> {
    let step = step.to_string();
    let key = |name: &str| format!("{name}:{client}");
    let mut requests = vec![
        vec!["SET".to_owned(), key("last"), step.clone()],
        vec!["INCR".to_owned(), key("count")],
        vec!["RPUSH".to_owned(), key("list"), step.clone()],
        vec!["MULTI".to_owned()],
    ];
    requests.extend((0..SPREAD).map(|part| {
        vec!["HSET".to_owned(), format!("tx:{client}:{part}"), "step".to_owned(), step.clone()]
    }));
    requests.push(vec!["EXEC".to_owned()]);
    requests
}

/// Writes steps until the connection ends; every reply that comes says that its write is kept.
fn write_steps(conn: &mut Conn, client: usize, from: u64, steps: &Mutex<Vec<Steps>>) {
    for step in from + 1.. {
        for request in requests(client, step) {
            if conn.send(&request).is_err() {
                return;
            }
            match conn.read() {
                Ok(Reply::Error(error)) => {
                    panic!("{request:?}: {}", String::from_utf8_lossy(&error))
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
        steps.lock().expect("no writer panics")[client].acknowledged = step;
    }
}

fn acknowledged(steps: &Mutex<Vec<Steps>>) -> Vec<u64> {
    steps.lock().expect("no writer panics").iter().map(|step| step.acknowledged).collect()
}

/// From now on these steps have to be there whatever happens.
fn keep(steps: &Mutex<Vec<Steps>>, kept: &[u64]) {
    for (step, kept) in steps.lock().expect("no writer panics").iter_mut().zip(kept) {
        step.kept = step.kept.max(*kept);
    }
}

/// Rewrites the append-only file, and switches it off and on again, at random.
fn disturb(
    conn: &mut Conn,
    steps: &Mutex<Vec<Steps>>,
    appends: &AtomicBool,
    synced: bool,
) -> Option<()> {
    let mut ask = |request: &[&str]| conn.send(request).and_then(|()| conn.read()).ok();
    loop {
        let pause = Instant::now() + Duration::from_millis(fastrand::u64(0..30));
        wait_for(Duration::from_secs(1), || Instant::now() >= pause);
        match fastrand::u8(..3) {
            0 => drop(ask(&["BGSAVE"])?),
            1 => drop(ask(&["BGREWRITEAOF"])?),
            _ => {
                let before = acknowledged(steps);
                if synced {
                    keep(steps, &before);
                }
                appends.store(false, Ordering::SeqCst);
                ask(&["CONFIG", "SET", "appendonly", "no"])?;
                keep(steps, &before);
                ask(&["CONFIG", "SET", "appendonly", "yes"])?;
                let whole = |reply| {
                    let info = text(reply);
                    info.contains("aof_rewrite_in_progress:0")
                        && info.contains("aof_rewrite_scheduled:0")
                        && info.contains("aof_last_bgrewrite_status:ok")
                };
                let mut ended = false;
                let on = wait_for(DEADLINE, || match ask(&["INFO", "persistence"]) {
                    Some(reply) => whole(reply),
                    None => {
                        ended = true;
                        true
                    }
                });
                assert!(on, "the append-only file is not switched on again");
                if ended {
                    return None;
                }
                appends.store(true, Ordering::SeqCst);
            }
        }
    }
}

/// Notes again and again which steps are in the file. Under `everysec` writes may be put off for a
/// while when a sync is slow.
fn note_written(conn: &mut Conn, steps: &Mutex<Vec<Steps>>, appends: &AtomicBool) {
    loop {
        let before = acknowledged(steps);
        let was_on = appends.load(Ordering::SeqCst);
        let Ok(info) = conn.send(&["INFO", "persistence"]).and_then(|()| conn.read()) else {
            return;
        };
        let is_written = text(info).contains("aof_buffer_length:0\r\n");
        if is_written && was_on && appends.load(Ordering::SeqCst) {
            keep(steps, &before);
        }
    }
}

fn number(reply: Reply) -> u64 {
    match reply {
        Reply::NilBulk => 0,
        Reply::Bulk(text) => String::from_utf8_lossy(&text).parse().expect("a number"),
        Reply::Integer(number) => u64::try_from(number).expect("not negative"),
        other => panic!("{other:?} is no number"),
    }
}

/// Fails unless the data is that of a step from `kept` on; returns the step, which is brought to its
/// end.
fn check_client(conn: &mut Conn, client: usize, kept: u64, acknowledged: u64, lossy: bool) -> u64 {
    let last = number(run(conn, &format!("GET last:{client}")));
    let count = number(run(conn, &format!("GET count:{client}")));
    let parts: Vec<u64> = (0..SPREAD)
        .map(|part| number(run(conn, &format!("HGET tx:{client}:{part} step"))))
        .collect();
    let Reply::Array(list) = run(conn, &format!("LRANGE list:{client} 0 -1")) else {
        panic!("LRANGE is an array")
    };
    let list: Vec<u64> = list.into_iter().map(number).collect();
    let shown = format!(
        "client {client}: kept {kept} of {acknowledged}: last {last}, count \
                         {count}, list {}, transaction {parts:?}",
        list.len()
    );
    assert!(parts.iter().all(|part| *part == parts[0]), "half a transaction: {shown}");
    let length = u64::try_from(list.len()).expect("lengths fit");
    let expected: Vec<u64> = (1..=length).collect();
    let differs = list.iter().zip(&expected).position(|(one, other)| one != other);
    assert!(
        differs.is_none(),
        "the list goes wrong at {:?}: {shown}",
        &list[differs.unwrap_or(0)..]
    );
    // Each step does these in turn.
    let order = [last, count, length, parts[0]];
    assert!(order.is_sorted_by(|a, b| a >= b) && last - parts[0] <= 1, "out of order: {shown}");
    assert!(parts[0] >= kept, "acknowledged and lost: {shown}");
    if !lossy {
        assert!(last <= acknowledged + 1, "more than was sent: {shown}");
    }
    for key in ["last", "count"] {
        call(conn, &["SET", &format!("{key}:{client}"), &last.to_string()]);
    }
    if length < last {
        call(conn, &["RPUSH", &format!("list:{client}"), &last.to_string()]);
    }
    for part in 0..SPREAD {
        call(conn, &["HSET", &format!("tx:{client}:{part}"), "step", &last.to_string()]);
    }
    last
}

/// Kills the server again and again while it is written to.
fn kill_again_and_again(policy: &str, disturbed: bool, rounds: u32) {
    let args = ["--appendonly", "yes", "--appendfsync", policy, "--threads", "2"];
    let mut server = Server::start(&args);
    let mut from = [0; WRITERS];
    let mut written = 0;
    for round in 0..rounds {
        let start = |&step: &u64| Steps { acknowledged: step, kept: step };
        let steps = Mutex::new(from.iter().map(start).collect::<Vec<_>>());
        let appends = AtomicBool::new(true);
        thread::scope(|scope| {
            for (client, step) in from.iter().copied().enumerate() {
                let (mut conn, steps) = (server.connect(), &steps);
                scope.spawn(move || write_steps(&mut conn, client, step, steps));
            }
            if policy != "always" {
                let (mut conn, steps, appends) = (server.connect(), &steps, &appends);
                scope.spawn(move || note_written(&mut conn, steps, appends));
            }
            if disturbed {
                let (mut conn, steps, appends) = (server.connect(), &steps, &appends);
                scope.spawn(move || disturb(&mut conn, steps, appends, policy == "always"));
            }
            let instant = Instant::now() + Duration::from_micros(fastrand::u64(0..250_000));
            wait_for(Duration::from_secs(1), || Instant::now() >= instant);
            server.kill();
        });
        server = server.start_again(&args);
        let mut conn = server.connect();
        conn.set_read_deadline(DEADLINE);
        let steps = steps.into_inner().expect("no writer panics");
        let appends = appends.into_inner();
        for (client, Steps { acknowledged, kept }) in steps.into_iter().enumerate() {
            let kept = if appends && policy == "always" { acknowledged } else { kept };
            written += acknowledged - from[client];
            from[client] = check_client(&mut conn, client, kept, acknowledged, false);
        }
        assert!(from.iter().all(|step| *step > 0) || round < 5, "nothing is written");
    }
    println!("{rounds} rounds, {written} steps acknowledged");
}

#[test]
fn what_is_acknowledged_survives_a_kill() {
    kill_again_and_again("always", false, rounds(3));
}

#[test]
fn rewrites_and_switching_lose_nothing() {
    kill_again_and_again("always", true, rounds(4));
}

/// What is in the file is with the system, which is not killed.
#[test]
fn a_kill_loses_nothing_that_was_written() {
    kill_again_and_again("everysec", true, rounds(3));
}

/// A process that ended before the manifest named its newest piece leaves that behind.
#[test]
fn pieces_that_were_left_over_are_not_loaded() {
    let args = ["--enable-debug-command", "yes", "--appendonly", "yes"];
    let server = Server::start(&args);
    let append = server.dir().join(APPEND_DIR);
    let stale = "*3\r\n$5\r\nRPUSH\r\n$4\r\nlist\r\n$5\r\nstale\r\n";
    for number in 2..5 {
        let name = format!("appendonly.aof.{number}.incr.aof");
        fs::write(append.join(name), stale).expect("written");
    }
    let mut conn = server.connect();
    for switched in [false, true] {
        run(&mut conn, "RPUSH list a");
        if switched {
            run(&mut conn, "CONFIG SET appendonly no");
            run(&mut conn, "CONFIG SET appendonly yes");
        } else {
            run(&mut conn, "BGREWRITEAOF");
        }
        wait_rewritten(&mut conn);
        run(&mut conn, "CONFIG SET appendfsync always");
        run(&mut conn, "RPUSH list b");
        let again = Server::start_on(server.dir(), &args);
        assert_eq!(digest(&mut again.connect()), digest(&mut conn), "switched: {switched}");
    }
}

fn wait_rewritten(conn: &mut Conn) {
    let over = || {
        let info = text(run(conn, "INFO persistence"));
        info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
    };
    assert!(wait_for(DEADLINE, over), "the rewrite does not end");
    assert!(text(run(conn, "INFO persistence")).contains("aof_last_bgrewrite_status:ok"));
}

/// However quickly it is switched off and on, in the end it is on, and has everything.
#[test]
fn switching_quickly_ends_switched_on() {
    let args = ["--enable-debug-command", "yes", "--appendonly", "yes"];
    let server = Server::start(&args);
    let mut conn = server.connect();
    run(&mut conn, "DEBUG POPULATE 20000");
    for round in 0..rounds(10) {
        if round % 3 > 0 {
            // Refused where one is under way.
            conn.call(&["BGREWRITEAOF"]);
        }
        for _ in 0..=round % 4 {
            run(&mut conn, &format!("RPUSH list {round}"));
            run(&mut conn, "CONFIG SET appendonly no");
            run(&mut conn, "CONFIG SET appendonly yes");
        }
        if round % 5 == 4 {
            wait_rewritten(&mut conn);
            run(&mut conn, "CONFIG SET appendfsync always");
            run(&mut conn, &format!("RPUSH list {round}"));
            let again = Server::start_on(server.dir(), &args);
            assert_eq!(digest(&mut again.connect()), digest(&mut conn), "round {round}");
            run(&mut conn, "CONFIG SET appendfsync everysec");
        }
    }
}

/// Clients that switch it off and on at the same time, while others write, end neither the process nor
/// its log.
#[test]
fn switching_by_several_clients_ends_switched_on() {
    let args = [
        "--enable-debug-command",
        "yes",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--threads",
        "2",
    ];
    let server = Server::start(&args);
    run(&mut server.connect(), "DEBUG POPULATE 500");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (server, is_over) = (&server, &is_over);
        for client in 0..WRITERS {
            scope.spawn(move || {
                let mut conn = server.connect();
                while !is_over.load(Ordering::Relaxed) {
                    run(&mut conn, &format!("INCR {client}"));
                }
            });
        }
        for _ in 0..4 {
            scope.spawn(move || {
                let mut conn = server.connect();
                while !is_over.load(Ordering::Relaxed) {
                    match fastrand::u8(..4) {
                        0 => drop(conn.call(&["BGREWRITEAOF"])),
                        1 => drop(run(&mut conn, "CONFIG SET appendonly no")),
                        _ => drop(run(&mut conn, "CONFIG SET appendonly yes")),
                    }
                }
            });
        }
        let end = Instant::now() + Duration::from_secs(u64::from(rounds(20).min(60)) / 10);
        wait_for(DEADLINE, || Instant::now() >= end);
        is_over.store(true, Ordering::Relaxed);
    });
    let mut conn = server.connect();
    run(&mut conn, "CONFIG SET appendonly yes");
    wait_rewritten(&mut conn);
    run(&mut conn, "SET afterwards 1");
    assert!(text(run(&mut conn, "INFO persistence")).contains("aof_enabled:1\r\n"));
    let again = Server::start_on(server.dir(), &args);
    assert_eq!(digest(&mut again.connect()), digest(&mut conn));
}

/// The last increment of a server that wrote `count` units, and the digest after each.
fn appended(count: usize) -> (Server, PathBuf, Vec<(u64, String)>) {
    let args = ["--enable-debug-command", "yes", "--appendonly", "yes", "--appendfsync", "always"];
    let server = Server::start(&args);
    let mut conn = server.connect();
    let path = server.dir().join(APPEND_DIR).join("appendonly.aof.1.incr.aof");
    let len = || fs::metadata(&path).expect("the increment is there").len();
    let mut states = vec![(len(), digest(&mut conn))];
    for unit in 0..count {
        match unit % 4 {
            0 => drop(run(&mut conn, &format!("SET key:{unit} {}", "v".repeat(unit)))),
            1 => drop(run(&mut conn, &format!("RPUSH list a b {unit}"))),
            2 => {
                run(&mut conn, "MULTI");
                run(&mut conn, "INCR number");
                run(&mut conn, "HSET hash field 1");
                run(&mut conn, &format!("SADD set {unit}"));
                run(&mut conn, "EXEC");
            }
            _ => drop(run(&mut conn, &format!("SET key:{unit} x PX 100000000"))),
        }
        states.push((len(), digest(&mut conn)));
    }
    assert!(states.is_sorted_by(|one, next| one.0 < next.0), "{states:?}");
    drop(conn);
    (server, path, states)
}

/// Cut anywhere, the file is loaded as far as it is whole; a copy of it is kept, and where that is not
/// allowed the server does not start.
#[test]
fn a_torn_tail_is_cut() {
    let (mut server, path, states) = appended(40);
    server.kill();
    let whole = fs::read(&path).expect("the increment is there");
    let name = path.file_name().expect("a file");
    let args = ["--enable-debug-command", "yes", "--appendonly", "yes"];
    for round in 0..rounds(6) / 2 {
        let at = fastrand::usize(1..whole.len());
        fs::write(&path, &whole[..at]).expect("written");
        let again = Server::start_on(server.dir(), &args);
        let len = u64::try_from(at).expect("lengths fit");
        let (end, expected) = states.iter().rfind(|state| state.0 <= len).expect("it begins empty");
        assert_eq!(digest(&mut again.connect()), *expected, "cut at {at}");
        let cut = again.dir().join(APPEND_DIR).join(name);
        // A choice of database may stand before the command that was cut off.
        let kept = fs::metadata(&cut).expect("it is there").len();
        assert!((*end..=len).contains(&kept), "cut at {at}: {kept} are left");
        // It goes on where it was cut.
        run(&mut again.connect(), "SET after cut");
        let expected = digest(&mut again.connect());
        let again = again.start_again(&args);
        assert_eq!(digest(&mut again.connect()), expected, "cut at {at}, and written");
        if *end < len && round % 5 == 0 {
            refuse(&server, &["--aof-load-truncated", "no"], "Unexpected end of file", at);
        }
    }
}

/// Rubbish after the last unit is not what a crash leaves: the server does not start, unless so much
/// of it may be cut.
#[test]
fn rubbish_at_the_end_is_refused() {
    let (mut server, path, states) = appended(8);
    server.kill();
    let whole = fs::read(&path).expect("the increment is there");
    let args = ["--enable-debug-command", "yes", "--appendonly", "yes"];
    for round in 0..rounds(6) / 2 {
        let noise: Vec<u8> = match round % 3 {
            0 => vec![0; fastrand::usize(1..500)],
            1 => (0..fastrand::usize(1..500)).map(|_| fastrand::u8(b'a'..=b'z')).collect(),
            _ => b"*2\r\n$3\r\nGET\r\n$-7\r\nx\r\n".to_vec(),
        };
        let mut file = File::create(&path).expect("made");
        file.write_all(&whole).and_then(|()| file.write_all(&noise)).expect("written");
        refuse(&server, &[], "Bad file format", whole.len());
        let lenient = [&args[..], &["--aof-load-corrupt-tail-max-size", "1000"]].concat();
        let again = Server::start_on(server.dir(), &lenient);
        assert_eq!(digest(&mut again.connect()), states.last().expect("some").1);
    }
}

fn refuse(server: &Server, options: &[&str], reason: &str, at: usize) {
    let args = [&["--appendonly", "yes"], options].concat();
    let mut refused = Server::launch_on(server.dir(), &args);
    assert!(refused.has_ended(DEADLINE), "it starts, at {at}");
    assert!(refused.log().contains(reason), "at {at}:\n{}", refused.log());
}
