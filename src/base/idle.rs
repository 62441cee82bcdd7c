//! What a thread does while it has to wait for long: look after whoever relies on it.
//!
//! An event loop that waits for a script, its own or another's, cannot run its tasks. It leaves here
//! how those of its clients are answered meanwhile who must be.

use std::cell::RefCell;
use std::rc::Rc;

thread_local! {
    static CARE: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Has `care` called whenever this thread waits for long.
pub fn set(care: Rc<dyn Fn()>) {
    CARE.with(|slot| *slot.borrow_mut() = Some(care));
}

/// Looks after whoever relies on this thread.
pub fn run() {
    let care = CARE.with(|slot| slot.borrow().clone());
    if let Some(care) = care {
        care();
    }
}
