//! Couriers against servers that say what a test wants.

use std::net::TcpListener;

use super::*;

/// A server that answers each connection's next lines with these.
fn serve(scripts: Vec<Vec<&'static str>>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for script in scripts {
            let Ok((stream, _)) = listener.accept() else { return };
            let mut reader = BufReader::new(stream);
            for answer in script {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    break;
                }
                // The lines of SELECT that follow its first one are not answered.
                if line.starts_with("*2") {
                    (0..4).for_each(|_| drop(reader.read_line(&mut line)));
                }
                if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    port
}

fn parcel(port: u16, requests: &[&str]) -> Parcel {
    let request = |text: &&str| Request {
        head: text.as_bytes().to_vec(),
        body: Arc::default(),
        tail: b"\r\n".to_vec(),
    };
    let requests = requests.iter().map(request).collect();
    let (host, timeout) = ("127.0.0.1".to_owned(), Duration::from_secs(5));
    Parcel { host, port, auth: None, db: 3, timeout, requests }
}

fn receipt(couriers: &Couriers, parcel: Parcel) -> Receipt {
    let delivery = couriers.send(parcel);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async { delivery.arrival().notified().await });
    delivery.receipt().expect("it has arrived")
}

#[test]
fn answers_come_in_order_and_connections_are_kept() {
    let port = serve(vec![vec!["+OK\r\n", "+OK\r\n", "-BUSY there\r\n", "+OK\r\n", ":1\r\n"]]);
    let couriers = Couriers::default();
    let first = receipt(&couriers, parcel(port, &["a"]));
    assert_eq!(first, Receipt { answers: vec![Ok(())], broken: None });
    assert_eq!(couriers.0.desk.lock().kept.len(), 1);
    // The same connection, in the same database; after an error it is not kept.
    let second = receipt(&couriers, parcel(port, &["b", "c", "d"]));
    assert_eq!(second.answers, [Err("BUSY there".to_owned()), Ok(()), Ok(())]);
    assert!(couriers.0.desk.lock().kept.is_empty());
}

#[test]
fn a_kept_connection_that_was_closed_is_replaced() {
    let port = serve(vec![vec!["+OK\r\n", "+OK\r\n"], vec!["+OK\r\n", "+OK\r\n"]]);
    let couriers = Couriers::default();
    for _ in 0..2 {
        let receipt = receipt(&couriers, parcel(port, &["a"]));
        assert_eq!(receipt, Receipt { answers: vec![Ok(())], broken: None });
    }
}

#[test]
fn nothing_is_sent_to_the_wrong_database() {
    let port = serve(vec![vec!["-ERR DB index is out of range\r\n"]]);
    let receipt = receipt(&Couriers::default(), parcel(port, &["a", "b"]));
    let error = Err("ERR DB index is out of range".to_owned());
    assert_eq!(receipt, Receipt { answers: vec![error.clone(), error], broken: None });
}

#[test]
fn what_breaks_off_says_where() {
    let couriers = Couriers::default();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let slow = Parcel { timeout: Duration::from_millis(50), ..parcel(port, &["a"]) };
    assert_eq!(receipt(&couriers, slow).broken, Some(Broken::Reading));
    drop(listener);
    assert_eq!(receipt(&couriers, parcel(port, &["a"])).broken, Some(Broken::Writing));
    let nowhere = Parcel { host: "no.such.host.invalid".to_owned(), ..parcel(1, &["a"]) };
    assert_eq!(receipt(&couriers, nowhere).broken, Some(Broken::Connecting));
    // The second request is read and not answered.
    let port = serve(vec![vec!["+OK\r\n", "+OK\r\n", ""]]);
    let half = receipt(&couriers, parcel(port, &["a", "b"]));
    assert_eq!(half, Receipt { answers: vec![Ok(())], broken: Some(Broken::Reading) });
}

#[test]
fn a_peer_that_drips_is_left_when_the_time_is_up() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        // The line never ends; whoever reads it gives up.
        while stream.write_all(b"+").is_ok() {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    let start = Instant::now();
    let parcel = Parcel { timeout: Duration::from_millis(300), ..parcel(port, &["a"]) };
    let receipt = receipt(&Couriers::default(), parcel);
    assert_eq!(receipt, Receipt { answers: vec![], broken: Some(Broken::Reading) });
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn nothing_more_is_sent_on_a_connection_that_should_be_secured_otherwise() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let couriers = Couriers::default();
    let known = couriers.clone();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a courier comes");
        let select = select(3);
        let mut seen = vec![0; select.len()];
        stream.read_exact(&mut seen).expect("it asks for its database");
        assert_eq!(seen, select);
        known.set_secure(Some(Arc::new(|_| Err(ErrorKind::Unsupported.into()))));
        stream.write_all(b"+OK\r\n").expect("it waits for that");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("it hangs up");
        rest
    });
    let receipt = receipt(&couriers, parcel(port, &["secret"]));
    assert_eq!(receipt, Receipt { answers: vec![], broken: Some(Broken::Writing) });
    assert!(peer.join().expect("it saw no more").is_empty());
    assert_eq!(couriers.kept(), 0);
}

#[test]
fn what_changes_nothing_ends_no_connection() {
    let port = serve(vec![vec!["+OK\r\n", "+OK\r\n", "+OK\r\n"]]);
    let couriers = Couriers::default();
    for _ in 0..2 {
        let receipt = receipt(&couriers, parcel(port, &["a"]));
        assert_eq!(receipt, Receipt { answers: vec![Ok(())], broken: None });
        couriers.set_secure(None);
        assert_eq!(couriers.kept(), 1);
    }
    couriers.set_secure(Some(Arc::new(|_| Err(ErrorKind::Unsupported.into()))));
    assert_eq!(couriers.kept(), 0);
}
