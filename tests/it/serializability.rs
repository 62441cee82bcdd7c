//! Transactions take place one after the other: their histories are looked through for cycles.
//!
//! Clients append unique values to lists and read lists, several of each in one transaction. What a
//! read returns tells the order of all appends to its key, and that gives the dependencies
//!
//! ```text
//! write-write   who appended a value  -> who appended the next one
//! write-read    who appended a value  -> who read the list that ends with it
//! read-write    who read a list       -> who appended the value that follows
//! time          whose reply had come  -> who sent only then
//! ```
//!
//! The history is strictly serializable if these have no cycle. (The method is that of Kingsbury and
//! Alvaro, Elle: Inferring Isolation Anomalies from Experimental Observations, 2020.)

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::harness::{Conn, Reply, Server, encode, stress_duration};

const CLIENTS: u64 = 8;
/// Keys in use at one time, and transactions after which the next ones replace them.
const KEYS: u64 = 4;
const TRANSACTIONS_PER_KEYS: u64 = 60;
/// Longest history that is looked through at once.
const ROUND: Duration = Duration::from_secs(2);

/// Runs what ARGV says, a key and a value to append or an empty text, and returns all that was read.
const SCRIPT: &str = "local read = {} \
    for i = 1, #ARGV, 2 do \
        if ARGV[i + 1] == '' then table.insert(read, redis.call('LRANGE', ARGV[i], 0, -1)) \
        else redis.call('RPUSH', ARGV[i], ARGV[i + 1]) end \
    end \
    return read";

#[derive(Clone, Debug, PartialEq)]
enum Op {
    Append { key: u64, value: u64 },
    Read { key: u64, list: Vec<u64> },
}

#[derive(Clone, Debug, PartialEq)]
struct Transaction {
    ops: Vec<Op>,
    /// Aborted ones have done nothing.
    committed: bool,
    /// Stamps before it was sent and after its reply had come.
    sent: u64,
    answered: u64,
}

impl Op {
    fn key(&self) -> u64 {
        let (Op::Append { key, .. } | Op::Read { key, .. }) = self;
        *key
    }

    fn request(&self) -> [String; 4] {
        let key = format!("list:{}", self.key());
        match self {
            Op::Append { value, .. } => ["RPUSH".to_owned(), key, value.to_string(), String::new()],
            Op::Read { .. } => ["LRANGE".to_owned(), key, "0".to_owned(), "-1".to_owned()],
        }
    }

    fn encoded(&self) -> Vec<u8> {
        let request = self.request();
        encode(&request[..if matches!(self, Op::Append { .. }) { 3 } else { 4 }])
    }

    /// Keeps what the server answered.
    fn take(&mut self, reply: &Reply) {
        match self {
            Op::Append { .. } => assert!(matches!(reply, Reply::Integer(_)), "{reply:?} to RPUSH"),
            Op::Read { list, .. } => *list = values(reply),
        }
    }
}

fn values(reply: &Reply) -> Vec<u64> {
    let Reply::Array(items) = reply else { panic!("{reply:?} is no list") };
    let value = |item: &Reply| match item {
        Reply::Bulk(text) => str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    items.iter().map(|item| value(item).expect("lists hold numbers")).collect()
}

/// Where the clients of a round draw their keys, values and stamps from.
#[derive(Default)]
struct Counters {
    transactions: AtomicU64,
    value: AtomicU64,
    stamp: AtomicU64,
}

impl Counters {
    fn plan(&self, random: &mut Rng, first_key: u64) -> Vec<Op> {
        let number = self.transactions.fetch_add(1, Ordering::Relaxed);
        let first = first_key + number / TRANSACTIONS_PER_KEYS * KEYS;
        let op = |random: &mut Rng| {
            let key = first + random.u64(..KEYS);
            if random.bool() {
                let value = self.value.fetch_add(1, Ordering::Relaxed);
                Op::Append { key, value }
            } else {
                Op::Read { key, list: Vec::new() }
            }
        };
        (0..random.usize(1..6)).map(|_| op(random)).collect()
    }

    fn stamp(&self) -> u64 {
        self.stamp.fetch_add(1, Ordering::SeqCst)
    }
}

fn replies(conn: &mut Conn, requests: &[Vec<u8>]) -> Vec<Reply> {
    conn.send_raw(&requests.concat()).expect("the server reads");
    requests.iter().map(|_| conn.read().expect("the server replies")).collect()
}

/// Runs the operations as one transaction, in one of several ways; false when it was aborted.
fn execute(conn: &mut Conn, random: &mut Rng, ops: &mut [Op]) -> bool {
    match random.u32(..6) {
        0 | 1 => by_multi(conn, ops, false),
        2 => by_multi(conn, ops, random.u32(..4) == 0),
        3 => by_watch(conn, ops),
        4 => by_script(conn, ops, true),
        _ => by_script(conn, ops, false),
    }
}

fn by_multi(conn: &mut Conn, ops: &mut [Op], spoilt: bool) -> bool {
    let mut requests = vec![encode(&["MULTI"])];
    requests.extend(ops.iter().map(Op::encoded));
    if spoilt {
        requests.push(encode(&["LRANGE"]));
    }
    requests.push(encode(&["EXEC"]));
    match replies(conn, &requests).pop() {
        Some(Reply::Array(items)) => {
            ops.iter_mut().zip(&items).for_each(|(op, item)| op.take(item))
        }
        Some(Reply::Error(error)) if spoilt && error.starts_with(b"EXECABORT") => return false,
        other => panic!("{other:?} to EXEC"),
    }
    true
}

/// Reads before the transaction, which only appends and takes place only if the reads still hold.
fn by_watch(conn: &mut Conn, ops: &mut [Op]) -> bool {
    ops.sort_by_key(|op| matches!(op, Op::Append { .. }));
    let (reads, appends) =
        ops.split_at_mut(ops.partition_point(|op| matches!(op, Op::Read { .. })));
    let mut watch = vec!["WATCH".to_owned()];
    watch.extend(reads.iter().chain(&*appends).map(|op| op.request()[1].clone()));
    let mut requests = vec![encode(&watch)];
    requests.extend(reads.iter().map(Op::encoded));
    let lists = replies(conn, &requests);
    reads.iter_mut().zip(&lists[1..]).for_each(|(op, list)| op.take(list));
    let mut requests = vec![encode(&["MULTI"])];
    requests.extend(appends.iter().map(Op::encoded));
    requests.push(encode(&["EXEC"]));
    match replies(conn, &requests).pop() {
        Some(Reply::Array(items)) => assert_eq!(items.len(), appends.len()),
        Some(Reply::NilArray) => return false,
        other => panic!("{other:?} to EXEC"),
    }
    true
}

fn by_script(conn: &mut Conn, ops: &mut [Op], declared: bool) -> bool {
    let mut request = vec!["EVAL".to_owned(), SCRIPT.to_owned(), "0".to_owned()];
    if declared {
        request[2] = ops.len().to_string();
        request.extend(ops.iter().map(|op| op.request()[1].clone()));
    }
    for op in &*ops {
        let [_, key, value, _] = op.request();
        let is_append = matches!(op, Op::Append { .. });
        request.extend([key, if is_append { value } else { String::new() }]);
    }
    let reply = conn.call(&request);
    let Reply::Array(lists) = &reply else { panic!("{reply:?} to EVAL") };
    let reads = ops.iter_mut().filter(|op| matches!(op, Op::Read { .. }));
    reads.zip(lists).for_each(|(op, list)| op.take(list));
    true
}

/// Runs clients for a while; their transactions, and in the end what each list holds.
fn record(
    server: &Server,
    span: Duration,
    round: u64,
) -> (Vec<Transaction>, BTreeMap<u64, Vec<u64>>) {
    let (counters, first_key, end) = (Counters::default(), round << 32, Instant::now() + span);
    let run = |client: u64| {
        let (mut random, mut conn) = (Rng::with_seed(round * CLIENTS + client), server.connect());
        let mut history = Vec::new();
        while Instant::now() < end {
            let mut ops = counters.plan(&mut random, first_key);
            let sent = counters.stamp();
            let committed = execute(&mut conn, &mut random, &mut ops);
            history.push(Transaction { ops, committed, sent, answered: counters.stamp() });
        }
        history
    };
    let history: Vec<Transaction> = thread::scope(|scope| {
        let run = &run;
        let running: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || run(client))).collect();
        running.into_iter().flat_map(|client| client.join().expect("no client fails")).collect()
    });
    let mut conn = server.connect();
    let keys = history.iter().flat_map(|transaction| &transaction.ops).map(Op::key);
    let mut lists = BTreeMap::new();
    for key in keys {
        lists.entry(key).or_insert_with(|| {
            let list = values(&conn.call(&["LRANGE", &format!("list:{key}"), "0", "-1"]));
            conn.call(&["DEL", &format!("list:{key}")]);
            list
        });
    }
    (history, lists)
}

/// What is wrong with a history, given what each list held in the end.
fn anomaly(history: &[Transaction], lists: &BTreeMap<u64, Vec<u64>>) -> Option<String> {
    let writers = match writers(history, lists) {
        Ok(writers) => writers,
        Err(wrong) => return Some(wrong),
    };
    let mut graph = Graph::new(history);
    for list in lists.values() {
        for pair in list.windows(2) {
            graph.add(writers[&pair[0]], writers[&pair[1]]);
        }
    }
    for (index, transaction) in history.iter().enumerate().filter(|(_, one)| one.committed) {
        for (at, op) in transaction.ops.iter().enumerate() {
            let Op::Read { key, list } = op else { continue };
            let whole = &lists[key];
            if !whole.starts_with(list) || !holds_own(list, &transaction.ops, at) {
                return Some(format!("{key} was {whole:?} in the end, but {transaction:?}"));
            }
            if let Some(last) = list.last() {
                graph.add(writers[last], index);
            }
            if let Some(next) = whole.get(list.len()) {
                graph.add(index, writers[next]);
            }
        }
    }
    let cycle: Vec<String> =
        graph.cycle()?.into_iter().map(|index| format!("{:?}", history[index])).collect();
    Some(format!(
        "each comes before the next, and the last before the first:\n{}",
        cycle.join("\n")
    ))
}

/// Who appended each value. All that was committed is there once, and nothing else.
fn writers(
    history: &[Transaction],
    lists: &BTreeMap<u64, Vec<u64>>,
) -> Result<HashMap<u64, usize>, String> {
    let (mut writers, mut committed) = (HashMap::new(), 0);
    for (index, transaction) in history.iter().enumerate() {
        for op in &transaction.ops {
            let Op::Append { key, value } = op else { continue };
            let times = lists[key].iter().filter(|other| *other == value).count();
            if times != usize::from(transaction.committed) {
                return Err(format!("{value} is {times} times in {key}: {transaction:?}"));
            }
            committed += times;
            writers.insert(*value, index);
        }
    }
    let found: usize = lists.values().map(Vec::len).sum();
    if found == committed { Ok(writers) } else { Err(format!("{found} values of {committed}")) }
}

/// Whether what a transaction reads ends with what it has itself appended to that list so far, and
/// has nothing of what it appends later.
fn holds_own(list: &[u64], ops: &[Op], read: usize) -> bool {
    let own = |ops: &[Op], key: u64| -> Vec<u64> {
        let value = |op: &Op| match op {
            Op::Append { key: other, value } if *other == key => Some(*value),
            _ => None,
        };
        ops.iter().filter_map(value).collect()
    };
    let (before, after) = (own(&ops[..read], ops[read].key()), own(&ops[read..], ops[read].key()));
    list.ends_with(&before) && !after.iter().any(|value| list.contains(value))
}

/// What has to come before what: transactions by index, and behind them a node for every stamp,
/// which keep the order of time with few edges.
struct Graph {
    transactions: usize,
    next: Vec<Vec<usize>>,
}

impl Graph {
    fn new(history: &[Transaction]) -> Graph {
        let count = history.len();
        let stamps = history.iter().map(|one| one.answered as usize + 1).max().unwrap_or(0);
        let mut graph = Graph { transactions: count, next: vec![Vec::new(); count + stamps] };
        for stamp in 1..stamps {
            graph.add(count + stamp - 1, count + stamp);
        }
        for (index, transaction) in history.iter().enumerate() {
            graph.add(count + transaction.sent as usize, index);
            graph.add(index, count + transaction.answered as usize);
        }
        graph
    }

    fn add(&mut self, first: usize, then: usize) {
        if first != then {
            self.next[first].push(then);
        }
    }

    /// The transactions of a cycle, in its order.
    fn cycle(&self) -> Option<Vec<usize>> {
        let mut before = vec![0; self.next.len()];
        self.next.iter().flatten().for_each(|&then| before[then] += 1);
        let mut free: Vec<usize> = (0..before.len()).filter(|&node| before[node] == 0).collect();
        while let Some(node) = free.pop() {
            for &then in &self.next[node] {
                before[then] -= 1;
                if before[then] == 0 {
                    free.push(then);
                }
            }
        }
        // What is left comes after something that is left: going back ends in a circle.
        let mut back = HashMap::new();
        for node in (0..before.len()).filter(|&node| before[node] > 0) {
            back.extend(self.next[node].iter().map(|&then| (then, node)));
        }
        let mut node = before.iter().position(|&count| count > 0)?;
        let mut path = Vec::new();
        while !path.contains(&node) {
            path.push(node);
            node = back[&node];
        }
        let start = path.iter().position(|&one| one == node).unwrap_or(0);
        let mut cycle: Vec<usize> =
            path.drain(start..).filter(|&node| node < self.transactions).collect();
        cycle.reverse();
        Some(cycle)
    }
}

#[test]
fn histories_are_strictly_serializable() {
    let server = Server::start_with_threads(4);
    let end = Instant::now() + stress_duration();
    let (mut committed, mut aborted) = (0, 0);
    for round in 0.. {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let (history, lists) = record(&server, left.min(ROUND), round);
        if let Some(anomaly) = anomaly(&history, &lists) {
            panic!("round {round}: {anomaly}");
        }
        committed += history.iter().filter(|transaction| transaction.committed).count();
        aborted += history.iter().filter(|transaction| !transaction.committed).count();
    }
    assert!(committed > aborted && aborted > 0, "{committed} committed, {aborted} aborted");
}

/// Committed transactions, each with its two stamps.
fn history(transactions: &[(u64, u64, &[Op])]) -> Vec<Transaction> {
    let one = |&(sent, answered, ops): &(u64, u64, &[Op])| Transaction {
        ops: ops.to_vec(),
        committed: true,
        sent,
        answered,
    };
    transactions.iter().map(one).collect()
}

#[test]
fn planted_anomalies_are_found() {
    let append = |key, value| Op::Append { key, value };
    let read = |key, list: &[u64]| Op::Read { key, list: list.to_vec() };
    let lists = |pairs: &[(u64, &[u64])]| -> BTreeMap<u64, Vec<u64>> {
        pairs.iter().map(|(key, list)| (*key, list.to_vec())).collect()
    };
    let is_bad = |history: &[Transaction], lists| anomaly(history, &lists).is_some();

    let fine = history(&[
        (0, 3, &[append(1, 10), read(1, &[10]), append(2, 20)]),
        (1, 2, &[read(1, &[]), read(2, &[])]),
        (4, 5, &[read(2, &[20]), append(1, 11)]),
    ]);
    let ends = lists(&[(1, &[10, 11]), (2, &[20])]);
    assert_eq!(anomaly(&fine, &ends), None);

    let mut aborted = fine.clone();
    aborted[2].committed = false;
    assert!(is_bad(&aborted, ends.clone()), "an aborted append is there");
    assert!(is_bad(&fine, lists(&[(1, &[10]), (2, &[20])])), "a committed one is not");
    assert!(is_bad(&fine, lists(&[(1, &[11, 10]), (2, &[20])])), "a read is no beginning");
    let torn = history(&[(0, 3, &[append(1, 10), append(1, 11)]), (1, 2, &[read(1, &[10])])]);
    assert!(is_bad(&torn, lists(&[(1, &[10, 11])])), "half a transaction is read");
    let skew =
        history(&[(0, 2, &[read(1, &[]), append(2, 20)]), (1, 3, &[read(2, &[]), append(1, 10)])]);
    assert!(is_bad(&skew, lists(&[(1, &[10]), (2, &[20])])), "each misses the other's write");
    let order = history(&[
        (0, 7, &[append(1, 10)]),
        (1, 6, &[append(2, 20)]),
        (2, 5, &[read(1, &[10]), read(2, &[])]),
        (3, 4, &[read(1, &[]), read(2, &[20])]),
    ]);
    assert!(is_bad(&order, lists(&[(1, &[10]), (2, &[20])])), "two orders of two writes");
    let stale = history(&[(0, 1, &[append(1, 10)]), (2, 3, &[read(1, &[])])]);
    assert!(is_bad(&stale, lists(&[(1, &[10])])), "a read misses what was answered before it");
    let own = history(&[(0, 1, &[append(1, 10), read(1, &[])])]);
    assert!(is_bad(&own, lists(&[(1, &[10])])), "a transaction misses its own write");
}
