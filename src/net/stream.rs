//! The kinds of sockets behind one face.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::io::{Errno, writev};
use rustix::net::{RecvFlags, SendFlags, send};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

use super::tls::Session;

/// Bytes by which a buffer grows for what TLS decrypts into it: a record.
const RECORD_LEN: usize = 16 * 1024;

/// How replies are sent, by `send`, which takes a shorter way through the kernel than `write`.
pub(super) const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;

/// What a call of a socket `brought`; tokio asks again when there is nothing to be had, and remembers
/// that.
///
/// Tokio itself would not even try before its reactor has run, but while an event loop waits for a
/// script its clients are to be answered all the same.
pub(super) fn at_once(
    brought: Result<usize, Errno>,
    again: impl FnOnce() -> io::Result<usize>,
) -> io::Result<usize> {
    match brought {
        Err(Errno::AGAIN) => again(),
        brought => Ok(brought?),
    }
}

/// The reading half of a connection.
pub(super) enum Reader {
    /// TCP.
    Tcp(tcp::OwnedReadHalf),
    /// A unix socket.
    Unix(unix::OwnedReadHalf),
    /// TLS over TCP.
    Tls(tcp::OwnedReadHalf, Rc<Session>),
}

/// The writing half of a connection.
pub(super) enum Writer {
    /// TCP.
    Tcp(tcp::OwnedWriteHalf),
    /// A unix socket.
    Unix(unix::OwnedWriteHalf),
    /// TLS over TCP.
    Tls(tcp::OwnedWriteHalf, Rc<Session>),
}

/// A connection's socket.
pub(super) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TLS over TCP, after the handshake.
    Tls(tcp::OwnedReadHalf, tcp::OwnedWriteHalf, Rc<Session>),
}

impl Stream {
    pub(super) fn split(self) -> (Reader, Writer) {
        match self {
            Self::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (Reader::Tcp(read), Writer::Tcp(write))
            }
            Self::Unix(stream) => {
                let (read, write) = stream.into_split();
                (Reader::Unix(read), Writer::Unix(write))
            }
            Self::Tls(read, write, session) => {
                (Reader::Tls(read, Rc::clone(&session)), Writer::Tls(write, session))
            }
        }
    }
}

impl Reader {
    /// Reads into `buffer`; returns how many bytes came, 0 at the end of the stream.
    ///
    /// `poll_read` rather than readiness and `try_read`: after a short read tokio knows that nothing
    /// is left and saves the system call that would find out.
    #[inline]
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let polled = match self {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, &mut buffer),
            Self::Unix(half) => Pin::new(half).poll_read(cx, &mut buffer),
            Self::Tls(half, session) => {
                return session.poll_read(half, cx, buffer.initialized_mut());
            }
        };
        polled.map_ok(|()| buffer.filled().len())
    }

    /// Whether the other side is known to have closed; reads nothing.
    ///
    /// A unix socket, or one with unread input, may be closed without being known to; so may TLS, whose
    /// end is input.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> bool {
        let (Self::Tcp(half) | Self::Tls(half, _)) = self else { return false };
        let mut byte = [0];
        matches!(half.poll_peek(cx, &mut ReadBuf::new(&mut byte)), Poll::Ready(Ok(0) | Err(_)))
    }

    /// Appends at most `room` bytes to `bytes`, straight from the socket.
    pub(super) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut Vec<u8>,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        use bytes::BufMut;
        if let Self::Tls(half, session) = self {
            let start = bytes.len();
            bytes.resize(start + room.min(RECORD_LEN), 0);
            let polled = session.poll_read(half, cx, &mut bytes[start..]);
            let count = match &polled {
                Poll::Ready(Ok(count)) => *count,
                _ => 0,
            };
            bytes.truncate(start + count);
            return polled;
        }
        loop {
            let mut limited = (&mut *bytes).limit(room);
            let (ready, read) = match self {
                Self::Tcp(half) => {
                    (half.as_ref().poll_read_ready(cx), half.try_read_buf(&mut limited))
                }
                Self::Unix(half) => {
                    (half.as_ref().poll_read_ready(cx), half.try_read_buf(&mut limited))
                }
                Self::Tls(..) => unreachable!("it is read above"),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Readiness may have been stale; the next poll registers the task.
                    if ready.is_pending() {
                        return Poll::Pending;
                    }
                }
                read => return Poll::Ready(read),
            }
        }
    }
}

impl Writer {
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => {
                at_once(send(half.as_ref(), bytes, SEND_FLAGS), || half.try_write(bytes))
            }
            Self::Unix(half) => {
                at_once(send(half.as_ref(), bytes, SEND_FLAGS), || half.try_write(bytes))
            }
            Self::Tls(half, session) => session.try_write(half.as_ref(), &[IoSlice::new(bytes)]),
        }
    }

    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => {
                at_once(writev(half.as_ref(), slices), || half.try_write_vectored(slices))
            }
            Self::Unix(half) => {
                at_once(writev(half.as_ref(), slices), || half.try_write_vectored(slices))
            }
            Self::Tls(half, session) => session.try_write(half.as_ref(), slices),
        }
    }

    /// The socket, where what is written goes to it as it is.
    pub(super) fn plain_socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Tcp(half) => Some(half.as_ref().as_fd()),
            Self::Unix(half) => Some(half.as_ref().as_fd()),
            Self::Tls(..) => None,
        }
    }

    /// Sends what was accepted but is not in the socket yet.
    pub(super) fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
            Self::Tls(half, session) => session.finish(half.as_ref()),
        }
    }

    /// Says goodbye where the protocol wants that.
    pub(super) fn close(&self) {
        if let Self::Tls(half, session) = self {
            session.close(half.as_ref());
        }
    }

    /// Reads what has arrived behind the back of the reading half, or only looks at it and will `keep`
    /// it.
    pub(super) fn look(&self, buffer: &mut [u8], keep: bool) -> io::Result<usize> {
        let flags = RecvFlags::DONTWAIT | if keep { RecvFlags::PEEK } else { RecvFlags::empty() };
        let (count, _) = match self {
            Self::Tcp(half) => rustix::net::recv(half.as_ref(), buffer, flags),
            Self::Unix(half) => rustix::net::recv(half.as_ref(), buffer, flags),
            Self::Tls(half, session) => return session.look(half.as_ref(), buffer, keep),
        }?;
        Ok(count)
    }

    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => half.as_ref().poll_write_ready(cx),
            Self::Unix(half) => half.as_ref().poll_write_ready(cx),
            Self::Tls(half, _) => half.as_ref().poll_write_ready(cx),
        }
    }
}
