//! A TLS connection between the halves of its socket: plaintext on one side, ciphertext on the other.
//!
//! The reading and the writing half of a connection share it, both on one thread. It holds at most one
//! record of input and, as rustls bounds it, 64 KiB of output that the socket did not take. What it
//! gives out as written may still be here: [`Session::finish`] says when nothing is.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::{read, write, writev};
use rustls::{ServerConnection, server::ServerConfig};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpStream, tcp::OwnedReadHalf};

use super::super::stream::at_once;
use super::Tls;
use crate::base::limits::TLS_READ_LEN;

/// The TLS side of a connection.
pub(in crate::net) struct Session {
    tls: RefCell<ServerConnection>,
    /// Plaintext that somebody has looked at and left for the reading half.
    ahead: RefCell<Vec<u8>>,
}

impl Session {
    /// A session whose handshake is still to come.
    pub(in crate::net) fn new(tls: &Tls) -> io::Result<Self> {
        let tls = ServerConnection::new(Arc::<ServerConfig>::clone(&tls.config));
        let tls = tls.map_err(io::Error::other)?;
        Ok(Self { tls: RefCell::new(tls), ahead: RefCell::default() })
    }

    /// Goes on with the handshake; an error ends the connection.
    pub(in crate::net) fn poll_handshake(
        &self,
        half: &mut OwnedReadHalf,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let tls = &mut *self.tls.borrow_mut();
        loop {
            while let Err(error) = send(tls, half.as_ref()) {
                if error.kind() != ErrorKind::WouldBlock {
                    return Poll::Ready(Err(error));
                }
                ready!(half.as_ref().poll_write_ready(cx))?;
            }
            if !tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if ready!(receive(tls, half, cx))? == 0 {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// The names of users in the certificate that the client has shown.
    pub(in crate::net) fn users(&self, tls: &Tls) -> Vec<String> {
        tls.users_of(self.tls.borrow().peer_certificates().unwrap_or_default())
    }

    /// Reads plaintext into `buffer`; 0 at the end of the stream.
    pub(in crate::net) fn poll_read(
        &self,
        half: &mut OwnedReadHalf,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let (tls, mut filled) = (&mut *self.tls.borrow_mut(), self.take_ahead(buffer));
        loop {
            match drain(tls, &mut buffer[filled..]) {
                Ok(0) => return Poll::Ready(Ok(filled)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    match receive(tls, half, cx) {
                        Poll::Ready(Ok(1..)) => continue,
                        // What has come is served first; the rest is found out the next time.
                        _ if filled > 0 => return Poll::Ready(Ok(filled)),
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(end) => return Poll::Ready(end),
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            if filled == buffer.len() {
                return Poll::Ready(Ok(filled));
            }
        }
    }

    /// Takes plaintext for sending; returns how much. Nothing is taken while the socket is blocked.
    pub(in crate::net) fn try_write(
        &self,
        stream: &TcpStream,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let tls = &mut *self.tls.borrow_mut();
        send(tls, stream)?;
        let count = tls.writer().write_vectored(slices)?;
        match send(tls, stream) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }

    /// Sends what was taken before.
    pub(in crate::net) fn finish(&self, stream: &TcpStream) -> io::Result<()> {
        send(&mut self.tls.borrow_mut(), stream)
    }

    /// Tells the other side that nothing more comes, if its socket takes that now.
    pub(in crate::net) fn close(&self, stream: &TcpStream) {
        let tls = &mut *self.tls.borrow_mut();
        tls.send_close_notify();
        // The connection ends anyway.
        let _ = send(tls, stream);
    }

    /// Copies plaintext that has arrived into `buffer`; without `keep` it is not read again.
    pub(in crate::net) fn look(
        &self,
        stream: &TcpStream,
        buffer: &mut [u8],
        keep: bool,
    ) -> io::Result<usize> {
        let (tls, ahead) = (&mut *self.tls.borrow_mut(), &mut *self.ahead.borrow_mut());
        while keep && ahead.len() < buffer.len() {
            let mut part = [0; TLS_READ_LEN];
            let room = (buffer.len() - ahead.len()).min(part.len());
            match drain(tls, &mut part[..room]) {
                Ok(count) if count > 0 => ahead.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    match at_once(read(stream, &mut part[..]), || stream.try_read(&mut part)) {
                        Ok(count) if count > 0 => feed(tls, stream, &part[..count])?,
                        // The end is found again by whoever reads.
                        _ => break,
                    }
                }
                _ => break,
            }
        }
        let count = ahead.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ahead[..count]);
        if !keep {
            ahead.drain(..count);
        }
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn take_ahead(&self, buffer: &mut [u8]) -> usize {
        let ahead = &mut *self.ahead.borrow_mut();
        let count = ahead.len().min(buffer.len());
        if count > 0 {
            buffer[..count].copy_from_slice(&ahead[..count]);
            ahead.drain(..count);
        }
        count
    }
}

/// The socket as rustls writes to it.
struct Raw<'a>(&'a TcpStream);

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        at_once(write(self.0, bytes), || self.0.try_write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        at_once(writev(self.0, slices), || self.0.try_write_vectored(slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends the ciphertext there is; `WouldBlock` if some of it is left.
fn send(tls: &mut ServerConnection, stream: &TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(&mut Raw(stream)) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Reads plaintext that is there already; `WouldBlock` for none, 0 at the end of the stream.
fn drain(tls: &mut ServerConnection, buffer: &mut [u8]) -> io::Result<usize> {
    tls.reader().read(buffer)
}

/// Reads ciphertext once; 0 at the end of the stream.
fn receive(
    tls: &mut ServerConnection,
    half: &mut OwnedReadHalf,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut part = [MaybeUninit::uninit(); TLS_READ_LEN];
    let mut part = ReadBuf::uninit(&mut part);
    ready!(Pin::new(&mut *half).poll_read(cx, &mut part))?;
    feed(tls, half.as_ref(), part.filled())?;
    Poll::Ready(Ok(part.filled().len()))
}

/// Takes ciphertext in; an error is told to the other side as far as possible.
fn feed(tls: &mut ServerConnection, stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() && tls.read_tls(&mut bytes)? > 0 {
        if let Err(error) = tls.process_new_packets() {
            // Who does not even begin to speak TLS would take the alert for a reply.
            if !(tls.is_handshaking() && matches!(error, rustls::Error::InvalidMessage(_))) {
                let _ = send(tls, stream);
            }
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
    }
    // Keys may have to be renewed; what is left goes with the next reply.
    match send(tls, stream) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}
