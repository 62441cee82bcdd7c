//! The lock of a shard and of the log of writes: one atomic exchange to take it, one store to release
//! it.
//!
//! A shard is locked three times per pipelined command (two prefetches and the command) and twice for
//! one that comes alone, so the lock itself is a visible part of a command's cost; a general mutex pays
//! a second atomic exchange at release to learn of waiters. Here a waiter is on its own: it spins for
//! about as long as a command takes, then lets other threads run, then sleeps in short steps. Waits are
//! short because nothing waits or does I/O while it holds a shard; a sleeper notices a release at most
//! [`NAP`] late.
//!
//! There is no order among waiters and no poisoning: the process aborts on a panic.

#![cfg_attr(
    not(feature = "shuttle"),
    expect(unsafe_code, reason = "8 % of the server's time per request at pipeline 64")
)]

#[cfg(feature = "shuttle")]
pub(super) use model::pass_time;
#[cfg(feature = "shuttle")]
pub(crate) use model::{Guard, Lock};
#[cfg(not(feature = "shuttle"))]
pub(super) use native::pass_time;
#[cfg(not(feature = "shuttle"))]
pub(crate) use native::{Guard, Lock};

#[cfg(not(feature = "shuttle"))]
mod native {
    use std::cell::UnsafeCell;
    use std::ops::{Deref, DerefMut};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use crate::base::idle;

    /// Tries before a waiter lets other threads run: about as long as a command takes.
    const SPINS: u32 = 100;
    /// Turns given away before a waiter sleeps.
    const YIELDS: u32 = 10;
    /// Naps between two looks at whoever relies on the waiter: some milliseconds.
    const NAPS: u32 = 100;
    /// How long a waiter sleeps at a time.
    const NAP: Duration = Duration::from_micros(50);

    /// A value that one thread at a time may use, beside what says whether one does.
    #[repr(C)]
    pub(crate) struct Lock<T> {
        held: AtomicBool,
        value: UnsafeCell<T>,
    }

    // SAFETY: only the holder of the lock reaches the value, and `held` orders one holder's accesses
    // before the next one's (release at unlock, acquire at lock).
    unsafe impl<T: Send> Sync for Lock<T> {}

    /// The right to use a locked value.
    pub(crate) struct Guard<'a, T> {
        lock: &'a Lock<T>,
    }

    impl<T> Lock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self { held: AtomicBool::new(false), value: UnsafeCell::new(value) }
        }

        #[inline]
        pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
            let free = !self.held.load(Ordering::Relaxed);
            let taken = free && !self.held.swap(true, Ordering::Acquire);
            // Not `then_some`: a guard that is made and dropped would release another's lock.
            taken.then(|| Guard { lock: self })
        }

        #[inline]
        pub(crate) fn lock(&self) -> Guard<'_, T> {
            self.lock_unless(|| false).expect("it waits for ever")
        }

        /// Locks unless `gives_up`, which is asked now and then while somebody else holds the lock.
        #[inline]
        pub(crate) fn lock_unless(&self, gives_up: impl Fn() -> bool) -> Option<Guard<'_, T>> {
            if !self.held.swap(true, Ordering::Acquire) {
                return Some(Guard { lock: self });
            }
            self.wait(gives_up)
        }

        #[cold]
        fn wait(&self, gives_up: impl Fn() -> bool) -> Option<Guard<'_, T>> {
            let mut tries = 0;
            loop {
                if let Some(guard) = self.try_lock() {
                    return Some(guard);
                }
                tries += 1;
                if pass_time(tries) && gives_up() {
                    return None;
                }
            }
        }
    }

    /// Waits a little, as becomes somebody who has tried `tries` times in vain; `true` when that has
    /// lasted long enough to look whether it is worth to go on.
    pub(in crate::keyspace) fn pass_time(tries: u32) -> bool {
        if tries < SPINS {
            std::hint::spin_loop();
        } else if tries < SPINS + YIELDS {
            std::thread::yield_now();
        } else {
            nap();
            let long = tries.is_multiple_of(NAPS);
            if long {
                idle::run();
            }
            return long;
        }
        false
    }

    #[expect(clippy::disallowed_methods, reason = "the holder may be asleep itself")]
    fn nap() {
        std::thread::sleep(NAP);
    }

    impl<T> Deref for Guard<'_, T> {
        type Target = T;

        #[inline]
        fn deref(&self) -> &T {
            // SAFETY: the guard is proof that this thread holds the lock.
            unsafe { &*self.lock.value.get() }
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        #[inline]
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: as above, and the guard is borrowed exclusively.
            unsafe { &mut *self.lock.value.get() }
        }
    }

    impl<T> Drop for Guard<'_, T> {
        #[inline]
        fn drop(&mut self) {
            self.lock.held.store(false, Ordering::Release);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn one_thread_at_a_time_gets_in() {
            let lock = Lock::new(0u64);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..20_000 {
                            let mut value = lock.lock();
                            let seen = *value;
                            std::hint::spin_loop();
                            *value = seen + 1;
                        }
                    });
                }
            });
            assert_eq!(*lock.lock(), 80_000);
        }

        #[test]
        fn who_waits_may_give_up() {
            let lock = Lock::new(());
            assert!(lock.lock_unless(|| true).is_some());
            let guard = lock.lock();
            assert!(lock.lock_unless(|| true).is_none());
            drop(guard);
            assert!(lock.try_lock().is_some());
        }

        #[test]
        fn a_held_lock_is_not_taken_twice() {
            let lock = Lock::new(());
            let guard = lock.lock();
            assert!(lock.try_lock().is_none());
            drop(guard);
            assert!(lock.try_lock().is_some());
        }
    }
}

/// The same on the primitives of shuttle, which explores the interleavings of threads.
#[cfg(feature = "shuttle")]
mod model {
    use shuttle::sync::{Mutex, MutexGuard};

    pub(crate) struct Lock<T>(Mutex<T>);
    pub(crate) type Guard<'a, T> = MutexGuard<'a, T>;

    impl<T> Lock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
            self.0.try_lock().ok()
        }

        pub(crate) fn lock(&self) -> Guard<'_, T> {
            self.0.lock().expect("no thread of a model panics while it holds a lock")
        }

        pub(crate) fn lock_unless(&self, gives_up: impl Fn() -> bool) -> Option<Guard<'_, T>> {
            loop {
                if let Some(guard) = self.try_lock() {
                    return Some(guard);
                }
                if pass_time(0) && gives_up() {
                    return None;
                }
            }
        }
    }

    pub(in crate::keyspace) fn pass_time(_: u32) -> bool {
        shuttle::thread::yield_now();
        true
    }
}
