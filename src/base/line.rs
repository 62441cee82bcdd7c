//! Values of several threads side by side.

/// Keeps a value on a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
pub struct Line<T>(pub T);
