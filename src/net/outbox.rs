//! Sends what many connections are to be told with one system call, through io_uring.
//!
//! Only for sending, and only at the end of a round that many connections were ready in: the kernel
//! copies each reply into its socket while the call lasts, or says that the socket takes no more, so
//! that nothing is under way when the call returns. Waiting and reading stay with tokio.

#![expect(unsafe_code, reason = "7 to 13 % of the server's time per request at pipeline 16")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{IoUring, Probe, opcode, squeue, types};
use rustix::io::Errno;
use rustix::net::SendFlags;
use smallvec::SmallVec;

use super::stream::SEND_FLAGS;

/// Most sends of one system call.
const LETTERS_MAX: usize = 128;

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing: the kernel has not seen it.
    Unsent,
    /// Nobody knows.
    Unknown,
    /// The socket took that many of its bytes.
    Sent(usize),
    /// The socket took none.
    Refused(Errno),
}

/// Bytes for one socket.
pub(super) struct Letter<'a> {
    to: BorrowedFd<'a>,
    bytes: &'a [u8],
    pub(super) fate: Fate,
}

impl<'a> Letter<'a> {
    pub(super) fn new(to: BorrowedFd<'a>, bytes: &'a [u8]) -> Self {
        Self { to, bytes, fate: Fate::Unsent }
    }

    fn entry(&self) -> squeue::Entry {
        // A longer rest is sent afterwards.
        let len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        // The kernel must not wait on behalf of a send, which would outlast the call.
        let flags = SEND_FLAGS | SendFlags::DONTWAIT;
        opcode::Send::new(types::Fd(self.to.as_raw_fd()), self.bytes.as_ptr(), len)
            .flags(flags.bits() as i32)
            .build()
    }
}

/// An event loop's way to send many replies at once.
pub(super) struct Outbox {
    /// Gone after an error, with the entries that the kernel did not take.
    ring: Option<IoUring>,
}

impl Outbox {
    /// An outbox, where the kernel has io_uring and lets the process use it.
    pub(super) fn new() -> io::Result<Self> {
        let ring = IoUring::builder().setup_clamp().build(LETTERS_MAX as u32)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::Send::CODE) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut outbox = Self { ring: Some(ring) };
        // Who may make a ring need not be allowed to enter it.
        outbox.complete(&[opcode::Nop::new().build()], |_, _| ()).map_err(|(error, _)| error)?;
        Ok(outbox)
    }

    /// Sends all letters and notes what became of each. After an error the outbox sends nothing more.
    pub(super) fn send(&mut self, letters: &mut [Letter<'_>]) -> io::Result<()> {
        for letters in letters.chunks_mut(LETTERS_MAX) {
            let mut entries = SmallVec::<[squeue::Entry; LETTERS_MAX]>::new();
            for (number, letter) in letters.iter().enumerate() {
                entries.push(letter.entry().user_data(number as u64));
            }
            let sent = self.complete(&entries, |number, result| {
                letters[number].fate = match usize::try_from(result) {
                    Ok(count) => Fate::Sent(count),
                    Err(_) => Fate::Refused(Errno::from_raw_os_error(-result)),
                };
            });
            if let Err((error, taken)) = sent {
                note_lost(&mut letters[..taken]);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Carries `entries` out, whose buffers the caller lends, and calls `done` with the number and the
    /// result of each. An error comes with how many of them the kernel has taken, in their order.
    fn complete(
        &mut self,
        entries: &[squeue::Entry],
        mut done: impl FnMut(usize, i32),
    ) -> Result<(), (io::Error, usize)> {
        let mut ring = self.ring.take().ok_or_else(|| (io::ErrorKind::NotConnected.into(), 0))?;
        // SAFETY: what the entries point to is lent for the time of this call. Those that the kernel
        // takes are told not to wait, so they are over when the call that takes them returns, also
        // where their completion is not seen. Those that it does not take are dropped with the ring.
        unsafe { ring.submission().push_multiple(entries) }
            .map_err(|full| (io::Error::other(full), 0))?;
        let mut left = entries.len();
        while left > 0 {
            let submitted = ring.submit_and_wait(left);
            for completed in ring.completion() {
                done(completed.user_data() as usize, completed.result());
                left -= 1;
            }
            match submitted {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err((error, entries.len() - ring.submission().len()));
                }
                _ => {}
            }
        }
        self.ring = Some(ring);
        Ok(())
    }
}

/// Of letters that the kernel took before it reported an error, those without a completion may have
/// been sent or not.
fn note_lost(taken: &mut [Letter<'_>]) {
    let lost = taken.iter_mut().filter(|letter| letter.fate == Fate::Unsent);
    lost.for_each(|letter| letter.fate = Fate::Unknown);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::mem::ManuallyDrop;
    use std::os::fd::{AsFd, FromRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Where the kernel has no io_uring there is nothing to test.
    fn outbox() -> Option<Outbox> {
        Outbox::new().inspect_err(|error| println!("no io_uring: {error}")).ok()
    }

    fn pairs(count: usize) -> Vec<(UnixStream, UnixStream)> {
        (0..count).map(|_| UnixStream::pair().expect("a pair of sockets")).collect()
    }

    #[test]
    fn letters_arrive_whole() {
        let Some(mut outbox) = outbox() else { return };
        for count in [1, 2, LETTERS_MAX, 3 * LETTERS_MAX + 1] {
            let pairs = pairs(count);
            let texts: Vec<_> = (0..count).map(|n| format!("to {n} ").repeat(n % 50 + 1)).collect();
            let mut letters: Vec<_> = pairs
                .iter()
                .zip(&texts)
                .map(|(pair, text)| Letter::new(pair.0.as_fd(), text.as_bytes()))
                .collect();
            outbox.send(&mut letters).expect("the kernel takes them");
            for (letter, text) in letters.iter().zip(&texts) {
                assert_eq!(letter.fate, Fate::Sent(text.len()));
            }
            for ((_, mut reader), text) in pairs.into_iter().zip(&texts) {
                let mut read = vec![0; text.len()];
                reader.read_exact(&mut read).expect("it has arrived");
                assert_eq!(read, text.as_bytes());
            }
        }
    }

    #[test]
    fn a_full_socket_takes_a_part_and_then_nothing() {
        let Some(mut outbox) = outbox() else { return };
        let (pairs, long) = (pairs(3), vec![b'x'; 16 << 20]);
        let mut send = |bytes: &[u8]| -> Vec<_> {
            let mut letters: Vec<_> =
                pairs.iter().map(|pair| Letter::new(pair.0.as_fd(), bytes)).collect();
            outbox.send(&mut letters).expect("the kernel takes them");
            letters.iter().map(|letter| letter.fate).collect()
        };
        let first = send(&long);
        assert!(first.iter().all(|sent| matches!(sent, Fate::Sent(1..16_777_216))), "{first:?}");
        assert_eq!(send(b"more"), vec![Fate::Refused(Errno::AGAIN); 3]);
    }

    #[test]
    fn who_has_gone_is_told_apart() {
        let Some(mut outbox) = outbox() else { return };
        let ((gone, other), (stays, _reader)) =
            (UnixStream::pair().expect("a pair"), UnixStream::pair().expect("a pair"));
        drop(other);
        let mut letters = [Letter::new(gone.as_fd(), b"one"), Letter::new(stays.as_fd(), b"two")];
        outbox.send(&mut letters).expect("the kernel takes them");
        let fates = [Fate::Refused(Errno::PIPE), Fate::Sent(3)];
        assert_eq!(letters.map(|letter| letter.fate), fates);
    }

    #[test]
    fn what_the_kernel_does_not_take_is_unsent() {
        let Some(mut outbox) = outbox() else { return };
        let (writer, mut reader) = UnixStream::pair().expect("a pair of sockets");
        let letter = || Letter::new(writer.as_fd(), b"text");
        let mut letters: Vec<_> = std::iter::repeat_with(letter).take(LETTERS_MAX + 1).collect();
        let ring = outbox.ring.as_ref().expect("it is new").as_raw_fd();
        // SAFETY: the ring keeps its descriptor, which is not closed here.
        let mut ring = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(ring) });
        // From here on it is no ring any more.
        rustix::io::dup2(&writer, &mut ring).expect("a descriptor in the place of another");
        for _ in 0..2 {
            outbox.send(&mut letters).expect_err("a socket carries nothing out");
            assert!(letters.iter().all(|letter| letter.fate == Fate::Unsent));
        }
        reader.set_nonblocking(true).expect("a socket");
        let read = reader.read(&mut [0; 4]).map_err(|error| error.kind());
        assert_eq!(read, Err(io::ErrorKind::WouldBlock));
    }

    #[test]
    fn what_was_taken_and_not_completed_is_unknown() {
        let (writer, _reader) = UnixStream::pair().expect("a pair of sockets");
        let fates = [Fate::Sent(4), Fate::Unsent, Fate::Refused(Errno::AGAIN), Fate::Unsent];
        let mut letters = fates.map(|fate| Letter { fate, ..Letter::new(writer.as_fd(), b"text") });
        note_lost(&mut letters[..3]);
        let expected = [fates[0], Fate::Unknown, fates[2], Fate::Unsent];
        assert_eq!(letters.map(|letter| letter.fate), expected);
    }
}
