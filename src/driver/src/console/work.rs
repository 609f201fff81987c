//! Counts, in tests only, how many bytes the classifier looks at, so that "time
//! grows with the log and no faster" is a test and not a hope. Outside of tests
//! there is nothing here.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static LOOKED_AT: Cell<u64> = const { Cell::new(0) };
}

/// Notes that so many bytes were looked at once.
#[cfg(test)]
pub(super) fn looked_at(bytes: usize) {
    LOOKED_AT.with(|count| count.set(count.get() + bytes as u64));
}

/// Notes that so many bytes were looked at once.
#[cfg(not(test))]
pub(super) const fn looked_at(_bytes: usize) {}

/// Bytes that `work` looks at, on this thread.
#[cfg(test)]
pub(super) fn of<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = LOOKED_AT.with(Cell::get);
    let result = work();
    (LOOKED_AT.with(Cell::get) - before, result)
}
