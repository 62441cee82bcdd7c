//! The sockets of `http-port` and the thread that serves them.
//!
//! The thread starts with the first socket, so a server without `http-port` has none. It is a
//! current-thread runtime with a task for each connection; a page is made without awaiting anything.
//! CONFIG SET opens sockets on the event loop that runs it and hands them over, as it must not wait.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, LocalSet};

use super::routes::{Connection, Pages};
use crate::base::limits::{HTTP_CONNECTIONS_MAX, HTTP_HEAD_MAX, HTTP_HEAD_WAIT, HTTP_HEADERS_MAX};
use crate::command::CommandTable;
use crate::config::Config;
use crate::net::{BindError, bind_http, is_ended};
use crate::server::Server;

/// How long accepting rests after an error such as too many open files.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Listens where `http-port` and `http-bind` say, now and after each CONFIG SET.
pub fn open(server: &Arc<Server>, commands: &Arc<CommandTable>) -> Result<(), BindError> {
    let mut port = Port {
        server: Arc::clone(server),
        commands: Arc::clone(commands),
        sockets: Vec::new(),
        thread: None,
    };
    for address in port.listen(&server.config.read())? {
        tracing::info!("Metrics and console at http://{address}/");
    }
    *server.relisten_http.lock() = Some(Box::new(move |config, before| {
        port.listen_anew(config, before).map_err(|error| error.to_string())
    }));
    Ok(())
}

/// Listens no longer, and waits for the thread to end.
pub fn close(server: &Server) {
    let port = server.relisten_http.lock().take();
    drop(port);
}

/// What of `http-port` is not on its thread.
struct Port {
    server: Arc<Server>,
    commands: Arc<CommandTable>,
    /// The listening sockets, held a second time to end them from here.
    sockets: Vec<StdListener>,
    thread: Option<(UnboundedSender<StdListener>, JoinHandle<()>)>,
}

impl Port {
    fn listen(&mut self, config: &Config) -> Result<Vec<SocketAddr>, BindError> {
        let mut addresses = Vec::new();
        for socket in bind_http(config)? {
            addresses.push(self.take(socket).map_err(|error| {
                tracing::warn!("Can't listen on http-port: {error}");
                BindError::Port {
                    kind: "http",
                    port: u16::try_from(config.int("http-port")).unwrap_or(0),
                }
            })?);
        }
        Ok(addresses)
    }

    /// Has the thread accept on the socket.
    fn take(&mut self, socket: StdListener) -> io::Result<SocketAddr> {
        let address = socket.local_addr()?;
        self.sockets.push(socket.try_clone()?);
        // It ends only when the server stops.
        let _ = self.thread()?.send(socket);
        Ok(address)
    }

    /// As [`crate::net::Listening::listen_anew`]: the old sockets end first, and come back if there
    /// are no new ones to be had.
    fn listen_anew(&mut self, config: &Config, before: &Config) -> Result<(), BindError> {
        self.end_sockets();
        let opened = self.listen(config).map(drop);
        if opened.is_err() {
            self.end_sockets();
            if let Err(error) = self.listen(before) {
                tracing::warn!("No longer listening: {error}");
            }
        }
        opened
    }

    fn end_sockets(&mut self) {
        for socket in self.sockets.drain(..) {
            // Its task sees the end; a socket that has ended already needs none.
            let _ = SockRef::from(&socket).shutdown(Shutdown::Both);
        }
    }

    fn thread(&mut self) -> io::Result<&UnboundedSender<StdListener>> {
        if self.thread.is_none() {
            let (sender, receiver) = unbounded_channel();
            let pages = Pages::new(Arc::clone(&self.server), Arc::clone(&self.commands));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let work = move || LocalSet::new().block_on(&runtime, serve(pages, receiver));
            let thread = std::thread::Builder::new().name("http".to_owned()).spawn(work)?;
            self.thread = Some((sender, thread));
        }
        Ok(&self.thread.as_ref().expect("it was just started").0)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.end_sockets();
        if let Some((sender, thread)) = self.thread.take() {
            drop(sender);
            // A panic has ended the process already.
            let _ = thread.join();
        }
    }
}

/// Accepts on all sockets that arrive until no more can.
async fn serve(pages: Pages, mut opened: UnboundedReceiver<StdListener>) {
    let connections = Rc::new(Connections { pages, open: Default::default() });
    while let Some(socket) = opened.recv().await {
        match TcpListener::from_std(socket) {
            Ok(listener) => {
                tokio::task::spawn_local(Rc::clone(&connections).accept(listener));
            }
            Err(error) => tracing::warn!("Unrecoverable error creating a socket: {error}"),
        }
    }
}

struct Connections {
    pages: Pages,
    /// The tasks of connections, the oldest first.
    open: std::cell::RefCell<VecDeque<AbortHandle>>,
}

impl Connections {
    async fn accept(self: Rc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.begin(stream, peer),
                Err(error) if is_ended(&error) => return,
                Err(error) => {
                    tracing::warn!("Accepting HTTP connection: {error}");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    /// Serves a connection. Where there are too many, whoever has been there longest makes room, so that
    /// connections that only wait keep nobody out.
    fn begin(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        let Ok(local) = stream.local_addr() else { return };
        let mut open = self.open.borrow_mut();
        open.retain(|task| !task.is_finished());
        while open.len() >= HTTP_CONNECTIONS_MAX {
            open.pop_front().expect("it is not empty").abort();
        }
        let (all, connection) = (Rc::clone(self), Connection { peer, local });
        let task = tokio::task::spawn_local(async move { all.run(stream, connection).await });
        open.push_back(task.abort_handle());
    }

    async fn run(&self, stream: TcpStream, connection: Connection) {
        // Pages are small and whole.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| {
            let page = self.pages.answer(connection, &request);
            async move { Ok::<_, Infallible>(page) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HTTP_HEAD_WAIT)
            .half_close(true)
            .max_headers(HTTP_HEADERS_MAX)
            .max_buf_size(HTTP_HEAD_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!("HTTP connection of {}: {error}", connection.peer);
        }
    }
}
