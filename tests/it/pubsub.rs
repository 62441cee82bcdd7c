//! Publishing across event loops: one order for everybody, nothing lost between subscribing and
//! unsubscribing, slow subscribers closed, and nothing left behind.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::harness::{Conn, Reply, Server, encode, wait_for};

const LONG: Duration = Duration::from_secs(20);

const OK: &[u8] = b"OK";

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

fn text(reply: &Reply) -> &str {
    let Reply::Bulk(bytes) = reply else { panic!("{reply:?} is no bulk string") };
    str::from_utf8(bytes).expect("the test sends text")
}

/// The items of a message or confirmation.
fn items(reply: &Reply) -> &[Reply] {
    match reply {
        Reply::Array(items) | Reply::Push(items) => items,
        other => panic!("{other:?} is no message"),
    }
}

fn next(conn: &mut Conn) -> Reply {
    conn.read().expect("a message or a reply")
}

/// A client that listens: `request` and as many confirmations as it names things.
fn listener(server: &Server, resp3: bool, request: &[&str]) -> Conn {
    let mut conn = server.connect();
    conn.set_read_deadline(LONG);
    if resp3 {
        conn.call(&["HELLO", "3"]);
    }
    conn.send(request).expect("the server reads");
    for name in &request[1..] {
        assert_eq!(items(&next(&mut conn))[1], bulk(name));
    }
    conn
}

fn publish(conn: &mut Conn, channel: &str, message: &str) -> i64 {
    let Reply::Integer(count) = conn.call(&["PUBLISH", channel, message]) else {
        panic!("PUBLISH answers a count")
    };
    count
}

/// The messages of `count` by channel, as `channel message`.
fn collect(mut conn: Conn, count: usize) -> HashMap<String, Vec<String>> {
    let mut seen: HashMap<String, Vec<String>> = HashMap::new();
    for _ in 0..count {
        let message = next(&mut conn);
        let [.., channel, payload] = items(&message) else { panic!("{message:?}") };
        seen.entry(text(channel).to_owned()).or_default().push(text(payload).to_owned());
    }
    seen
}

#[test]
fn everybody_sees_one_order() {
    const PUBLISHERS: usize = 4;
    const MESSAGES: usize = 3_000;
    let server = Server::start(&["--threads", "3"]);
    let both = PUBLISHERS * MESSAGES;
    let listeners = [
        listener(&server, false, &["SUBSCRIBE", "even", "odd"]),
        listener(&server, true, &["SUBSCRIBE", "odd", "even"]),
        listener(&server, false, &["PSUBSCRIBE", "*"]),
        listener(&server, true, &["PSUBSCRIBE", "*d", "ev*"]),
        listener(&server, false, &["PSUBSCRIBE", "[oe]*"]),
    ];
    let seen = thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let mut conn = server.connect();
            scope.spawn(move || {
                let mut rng = Rng::with_seed(publisher as u64);
                let mut sent = 0;
                while sent < MESSAGES {
                    let burst = rng.usize(1..200).min(MESSAGES - sent);
                    let requests: Vec<u8> = (sent..sent + burst)
                        .flat_map(|number| {
                            let channel = if number % 2 == 0 { "even" } else { "odd" };
                            encode(&["PUBLISH", channel, &format!("{publisher} {number}")])
                        })
                        .collect();
                    conn.send_raw(&requests).expect("the server reads");
                    (0..burst).for_each(|_| assert_eq!(next(&mut conn), Reply::Integer(5)));
                    sent += burst;
                }
            });
        }
        let readers = listeners.map(|conn| scope.spawn(move || collect(conn, both)));
        readers.map(|reader| reader.join().expect("all messages come"))
    });
    for channel in ["even", "odd"] {
        let first = &seen[0][channel];
        assert_eq!(first.len(), both / 2);
        for publisher in 0..PUBLISHERS {
            let numbers = first.iter().filter_map(|message| {
                let (from, number) = message.split_once(' ')?;
                (from == publisher.to_string()).then(|| number.parse::<usize>().ok())?
            });
            assert!(numbers.is_sorted(), "publisher {publisher} on {channel}");
        }
        assert!(
            seen.iter().all(|other| other[channel] == *first),
            "the orders on {channel} differ"
        );
    }
}

/// Whoever publishes learns how many listen; exactly as many messages come, each before the
/// confirmation that the listening has ended.
#[test]
fn as_many_messages_come_as_publishers_were_told() {
    const ROUNDS: usize = 400;
    let server = Server::start(&["--threads", "3"]);
    let (stop, told) = (AtomicBool::new(false), AtomicI64::new(0));
    let mut received = 0;
    thread::scope(|scope| {
        for _ in 0..3 {
            let (mut conn, stop, told) = (server.connect(), &stop, &told);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    told.fetch_add(publish(&mut conn, "news", "x"), Ordering::Relaxed);
                }
            });
        }
        let mut conn = server.connect();
        let mut rng = Rng::with_seed(7);
        for _ in 0..ROUNDS {
            let (begin, end) = if rng.bool() {
                (&["SUBSCRIBE", "news"], &["UNSUBSCRIBE", "news"])
            } else {
                (&["PSUBSCRIBE", "n*"], &["PUNSUBSCRIBE", "n*"])
            };
            let confirmation = conn.call(begin);
            assert_eq!(items(&confirmation)[2], Reply::Integer(1), "{confirmation:?}");
            conn.send(end).expect("the server reads");
            while !text(&items(&next(&mut conn))[0]).contains("unsubscribe") {
                received += 1;
            }
            // No message may follow the confirmation.
            assert_eq!(conn.call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(received, told.load(Ordering::Relaxed));
}

#[test]
fn what_was_published_before_a_request_comes_before_its_reply() {
    let server = Server::start(&["--threads", "2"]);
    let mut publisher = server.connect();
    let mut listeners = [
        listener(&server, true, &["SUBSCRIBE", "c"]),
        listener(&server, true, &["SUBSCRIBE", "c"]),
    ];
    for number in 0..300 {
        let payload = number.to_string();
        assert_eq!(publish(&mut publisher, "c", &payload), 2);
        for conn in &mut listeners {
            let message = conn.call(&["ECHO", "here"]);
            assert_eq!(message, Reply::Push(vec![bulk("message"), bulk("c"), bulk(&payload)]));
            assert_eq!(next(conn), bulk("here"));
        }
    }
}

#[test]
fn a_publisher_hears_itself_between_its_replies() {
    let server = Server::start(&["--threads", "2"]);
    let mut conn = listener(&server, true, &["SUBSCRIBE", "own"]);
    let requests: Vec<u8> = (0..200)
        .flat_map(|number| {
            [encode(&["PUBLISH", "own", &number.to_string()]), encode(&["ECHO", "x"])].concat()
        })
        .collect();
    conn.send_raw(&requests).expect("the server reads");
    for number in 0..200 {
        assert_eq!(next(&mut conn), Reply::Integer(1));
        let message = vec![bulk("message"), bulk("own"), bulk(&number.to_string())];
        assert_eq!(next(&mut conn), Reply::Push(message));
        assert_eq!(next(&mut conn), bulk("x"));
    }
    // A transaction's reply stays whole.
    for request in [&["MULTI"][..], &["PUBLISH", "own", "in"], &["ECHO", "y"]] {
        conn.send(request).expect("the server reads");
        next(&mut conn);
    }
    assert_eq!(conn.call(&["EXEC"]), Reply::Array(vec![Reply::Integer(1), bulk("y")]));
    assert_eq!(next(&mut conn), Reply::Push(vec![bulk("message"), bulk("own"), bulk("in")]));
}

#[test]
fn long_replies_are_not_interrupted() {
    const MEMBERS: usize = 20_000;
    let server = Server::start(&["--threads", "2"]);
    let mut writer = server.connect();
    for start in (0..MEMBERS).step_by(1_000) {
        let members: Vec<String> = (start..start + 1_000).map(|n| format!("member:{n}")).collect();
        let mut request = vec!["SADD", "large"];
        request.extend(members.iter().map(String::as_str));
        writer.call(&request);
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut conn = listener(&server, true, &["SUBSCRIBE", "c"]);
        scope.spawn(|| {
            let mut publisher = server.connect();
            while !stop.load(Ordering::Relaxed) {
                publish(&mut publisher, "c", "x");
            }
        });
        for _ in 0..20 {
            conn.send(&["SMEMBERS", "large"]).expect("the server reads");
            loop {
                match next(&mut conn) {
                    Reply::Push(_) => {}
                    Reply::Set(members) => {
                        assert!(members.iter().all(|member| text(member).starts_with("member:")));
                        break assert_eq!(members.len(), MEMBERS);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn who_waits_for_a_key_or_a_pause_gets_messages_meanwhile() {
    let server = Server::start(&["--threads", "2"]);
    let (mut conn, mut observer) = (server.connect(), server.connect());
    let mut waiting = listener(&server, true, &["SUBSCRIBE", "c"]);
    waiting.send(&["BLPOP", "queue", "0"]).expect("the server reads");
    assert!(wait_for(LONG, || observer.info("blocked_clients") == 1));
    assert_eq!(publish(&mut conn, "c", "1"), 1);
    assert_eq!(text(&items(&next(&mut waiting))[2]), "1");
    assert_eq!(conn.call(&["RPUSH", "queue", "x"]), Reply::Integer(1));
    assert_eq!(next(&mut waiting), Reply::Array(vec![bulk("queue"), bulk("x")]));

    assert_eq!(conn.call(&["CLIENT", "PAUSE", "100000", "WRITE"]), Reply::Simple(OK.to_vec()));
    waiting.send(&["SET", "k", "v"]).expect("the server reads");
    // PUBLISH waits for the end of a pause, too, so the message comes from before it.
    let mut publisher = server.connect();
    publisher.send(&["PUBLISH", "c", "2"]).expect("the server reads");
    assert_eq!(conn.call(&["CLIENT", "UNPAUSE"]), Reply::Simple(OK.to_vec()));
    let replies = [next(&mut waiting), next(&mut waiting)];
    assert!(replies.contains(&Reply::Simple(OK.to_vec())), "{replies:?}");
    assert_eq!(next(&mut publisher), Reply::Integer(1));
}

#[test]
fn a_slow_subscriber_is_closed_and_others_go_on() {
    const MESSAGES: usize = 3_000;
    let server = Server::start(&["--threads", "2"]);
    let mut conn = server.connect();
    let limit = "pubsub 8mb 0 0";
    let set = ["CONFIG", "SET", "client-output-buffer-limit", limit];
    assert_eq!(conn.call(&set), Reply::Simple(OK.to_vec()));
    let slow = listener(&server, false, &["SUBSCRIBE", "c"]);
    let quick = listener(&server, false, &["SUBSCRIBE", "c"]);
    let payload = "x".repeat(10_000);
    thread::scope(|scope| {
        let reader = scope.spawn(move || collect(quick, MESSAGES));
        let counts: Vec<i64> = (0..MESSAGES).map(|_| publish(&mut conn, "c", &payload)).collect();
        assert_eq!((counts[0], counts[MESSAGES - 1]), (2, 1));
        assert_eq!(reader.join().expect("all messages come")["c"].len(), MESSAGES);
    });
    assert_eq!(conn.info("client_output_buffer_limit_disconnections"), 1);
    assert_eq!((conn.info("pubsub_clients"), conn.info("connected_clients")), (0, 1));
    assert!(server.log().contains("for overcoming of output buffer limits"), "{}", server.log());
    drop(slow);
}

#[test]
fn a_subscriber_may_exceed_the_soft_limit_only_so_long() {
    let server = Server::start(&["--threads", "2"]);
    let mut conn = server.connect();
    let limit = "pubsub 0 100kb 1";
    let set = ["CONFIG", "SET", "client-output-buffer-limit", limit];
    assert_eq!(conn.call(&set), Reply::Simple(OK.to_vec()));
    let slow = listener(&server, false, &["SUBSCRIBE", "c"]);
    let payload = "x".repeat(100_000);
    // More than the socket takes.
    (0..100).for_each(|_| assert_eq!(publish(&mut conn, "c", &payload), 1));
    assert_eq!(publish(&mut conn, "c", "x"), 1);
    assert!(wait_for(LONG, || conn.info("pubsub_clients") == 0));
    assert_eq!(conn.info("client_output_buffer_limit_disconnections"), 1);
    drop(slow);
}

#[test]
fn nothing_is_left_of_clients_that_go() {
    let server = Server::start(&["--threads", "3"]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (mut conn, mut rng) = (server.connect(), Rng::with_seed(3));
                while !stop.load(Ordering::Relaxed) {
                    publish(&mut conn, &format!("c{}", rng.u32(0..20)), "x");
                }
            });
        }
        let clients: Vec<_> = (0..3)
            .map(|seed| {
                let server = &server;
                scope.spawn(move || {
                    let mut rng = Rng::with_seed(seed);
                    for _ in 0..150 {
                        let mut conn = server.connect();
                        for _ in 0..rng.u32(1..30) {
                            let word = rng.choice(["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"]);
                            let channel = format!("c{}", rng.u32(0..20));
                            let word = word.expect("a choice of three");
                            conn.send(&[word, &channel]).expect("the server reads");
                        }
                        match rng.u32(0..3) {
                            0 => drop(conn.send(&["QUIT"])),
                            1 => drop(conn.send(&["RESET"])),
                            _ => {}
                        }
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().expect("clients come and go"));
        stop.store(true, Ordering::Relaxed);
    });
    let mut conn = server.connect();
    assert!(wait_for(LONG, || conn.info("connected_clients") == 1));
    for field in ["pubsub_clients", "pubsub_channels", "pubsub_patterns", "pubsubshard_channels"] {
        assert_eq!(conn.info(field), 0, "{field}");
    }
    assert_eq!(publish(&mut conn, "c1", "x"), 0);
}

#[test]
fn ten_thousand_subscriptions() {
    const CHANNELS: usize = 10_000;
    const CLIENTS: usize = 300;
    let server = Server::start(&["--threads", "2"]);
    let names: Vec<String> = (0..CHANNELS).map(|number| format!("channel:{number}")).collect();
    let mut request = vec!["SUBSCRIBE"];
    request.extend(names.iter().map(String::as_str));
    let mut many = listener(&server, false, &request);
    let mut clients: Vec<Conn> =
        (0..CLIENTS).map(|_| listener(&server, false, &["SUBSCRIBE", "channel:0"])).collect();
    let mut conn = server.connect();
    assert_eq!(conn.info("pubsub_channels"), CHANNELS as u64);
    assert_eq!(publish(&mut conn, "channel:0", "all"), CLIENTS as i64 + 1);
    let message = Reply::Array(vec![bulk("message"), bulk("channel:0"), bulk("all")]);
    assert!(clients.iter_mut().all(|client| next(client) == message));
    assert_eq!(next(&mut many), message);
    for name in &names {
        assert!(publish(&mut conn, name, "x") > 0);
        assert_eq!(items(&next(&mut many))[1], bulk(name));
    }
    many.send(&["UNSUBSCRIBE"]).expect("the server reads");
    let mut left: Vec<String> =
        (0..CHANNELS).map(|_| text(&items(&next(&mut many))[1]).to_owned()).collect();
    left.sort_unstable();
    let mut expected = names.clone();
    expected.sort_unstable();
    assert_eq!(left, expected);
    assert_eq!(conn.info("pubsub_channels"), 1);
}

#[test]
fn idle_subscribers_stay_and_killed_ones_go() {
    let server = Server::start(&["--threads", "2", "--timeout", "1"]);
    let (mut idle, mut listening) =
        (server.connect(), listener(&server, false, &["SUBSCRIBE", "c"]));
    idle.call(&["PING"]);
    idle.set_read_deadline(LONG);
    assert!(idle.read().is_err(), "an idle client is closed");
    let mut conn = server.connect();
    assert_eq!(publish(&mut conn, "c", "x"), 1);
    assert_eq!(text(&items(&next(&mut listening))[2]), "x");
    assert_eq!(conn.call(&["CLIENT", "KILL", "TYPE", "pubsub"]), Reply::Integer(1));
    assert!(listening.read().is_err());
    assert!(wait_for(LONG, || publish(&mut conn, "c", "x") == 0));
}

/// A message to many who listen on one event loop is written to all of them at once, where the kernel
/// has io_uring; who does not read gets what the socket did not take once it reads again.
#[test]
fn messages_to_many_arrive_whole_however_they_are_sent() {
    const MESSAGES: usize = 8_000;
    for io_uring in ["yes", "no"] {
        let limit = ["--client-output-buffer-limit", "pubsub 0 0 0"];
        let server =
            Server::start(&[&["--threads", "1", "--io-uring", io_uring], &limit[..]].concat());
        let mut slow: Vec<Conn> =
            (0..12).map(|_| listener(&server, false, &["SUBSCRIBE", "channel"])).collect();
        let fast: Vec<Conn> =
            (0..12).map(|_| listener(&server, false, &["SUBSCRIBE", "channel"])).collect();
        let message = |number: usize| format!("{number} {}", "m".repeat(number % 2_000));
        let readers: Vec<_> = fast
            .into_iter()
            .map(|conn| thread::spawn(move || collect(conn, MESSAGES)["channel"].len()))
            .collect();
        let mut publisher = server.connect();
        for number in 0..MESSAGES {
            assert_eq!(publish(&mut publisher, "channel", &message(number)), 24);
        }
        for reader in readers {
            assert_eq!(reader.join().expect("it reads to the end"), MESSAGES);
        }
        for conn in &mut slow {
            for number in 0..MESSAGES {
                assert_eq!(items(&next(conn))[2], bulk(&message(number)), "{io_uring}");
            }
        }
    }
}
