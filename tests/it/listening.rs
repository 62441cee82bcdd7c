//! CONFIG SET port and bind: sockets move, connections stay.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use crate::harness::{Conn, Reply, Server, free_addr, wait_for};

const OK: &[u8] = b"OK";
const DEADLINE: Duration = Duration::from_secs(5);

fn set(conn: &mut Conn, name: &str, value: &str) -> Reply {
    conn.call(&["CONFIG", "SET", name, value])
}

fn ok() -> Reply {
    Reply::Simple(OK.to_vec())
}

/// Whether a new connection to `addr` is served.
fn answers(addr: SocketAddr) -> bool {
    let ask = || -> io::Result<Reply> {
        let mut conn = Conn::open(addr)?;
        conn.send(&["PING"])?;
        conn.read()
    };
    ask().is_ok_and(|reply| reply == Reply::Simple(b"PONG".to_vec()))
}

#[test]
fn a_new_port_takes_the_place_of_the_old_one() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let new = free_addr().expect("a free port");
    assert_eq!(set(&mut conn, "port", &new.port().to_string()), ok());
    assert!(wait_for(DEADLINE, || answers(new)), "nobody answers at {new}");
    assert!(Conn::open(server.addr()).is_err(), "the old port is still open");
    assert_eq!(conn.call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
    assert_eq!(set(&mut conn, "port", &server.addr().port().to_string()), ok());
    assert!(wait_for(DEADLINE, || answers(server.addr())), "there is no way back");
}

#[test]
fn a_port_in_use_changes_nothing() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port();
    let refusal = conn.call(&["CONFIG", "SET", "timeout", "7", "port", &port.to_string()]);
    let text = b"ERR CONFIG SET failed (possibly related to argument 'port') - \
        Unable to listen on this port. Check server logs.";
    assert_eq!(refusal, Reply::Error(text.to_vec()));
    assert!(wait_for(DEADLINE, || answers(server.addr())), "the old port is gone");
    let timeout = conn.call(&["CONFIG", "GET", "timeout"]);
    let value = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
    assert_eq!(timeout, Reply::Array(vec![value("timeout"), value("0")]));
}

#[test]
fn a_wildcard_and_one_of_its_addresses_follow_each_other() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    for bind in ["127.0.0.1 127.0.0.2", "0.0.0.0", "127.0.0.1"] {
        assert_eq!(set(&mut conn, "bind", bind), ok(), "{bind}");
        assert!(wait_for(DEADLINE, || answers(server.addr())), "nobody answers after {bind}");
    }
    let refusal = set(&mut conn, "bind", "999.999.999.999");
    let text = b"ERR CONFIG SET failed (possibly related to argument 'bind') - \
        Failed to bind to specified addresses.";
    assert_eq!(refusal, Reply::Error(text.to_vec()));
    assert!(wait_for(DEADLINE, || answers(server.addr())), "the old address is gone");
}
