//! The two kinds of sockets behind one face.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

/// The reading half of a connection.
pub(super) enum Reader {
    /// TCP.
    Tcp(tcp::OwnedReadHalf),
    /// A unix socket.
    Unix(unix::OwnedReadHalf),
}

/// The writing half of a connection.
pub(super) enum Writer {
    /// TCP.
    Tcp(tcp::OwnedWriteHalf),
    /// A unix socket.
    Unix(unix::OwnedWriteHalf),
}

/// A connection's socket.
pub(super) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
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
        };
        polled.map_ok(|()| buffer.filled().len())
    }

    /// Whether the other side is known to have closed; reads nothing.
    ///
    /// A unix socket, or one with unread input, may be closed without being known to.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> bool {
        let Self::Tcp(half) = self else { return false };
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
        loop {
            let mut limited = (&mut *bytes).limit(room);
            let (ready, read) = match self {
                Self::Tcp(half) => {
                    (half.as_ref().poll_read_ready(cx), half.try_read_buf(&mut limited))
                }
                Self::Unix(half) => {
                    (half.as_ref().poll_read_ready(cx), half.try_read_buf(&mut limited))
                }
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
            Self::Tcp(half) => half.try_write(bytes),
            Self::Unix(half) => half.try_write(bytes),
        }
    }

    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write_vectored(slices),
            Self::Unix(half) => half.try_write_vectored(slices),
        }
    }

    /// Reads from the socket behind the back of its reading half.
    pub(super) fn recv(&self, flags: RecvFlags, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, _) = match self {
            Self::Tcp(half) => rustix::net::recv(half.as_ref(), buffer, flags),
            Self::Unix(half) => rustix::net::recv(half.as_ref(), buffer, flags),
        }?;
        Ok(count)
    }

    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => half.as_ref().poll_write_ready(cx),
            Self::Unix(half) => half.as_ref().poll_write_ready(cx),
        }
    }
}
