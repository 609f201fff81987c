//! The kernel log between the moment it arrives and the moment it is known
//! which test it belongs to. Pure.

/// Kernel log that is not yet given to a test.
#[derive(Debug, Default)]
pub(super) struct ConsoleText {
    bytes: Vec<u8>,
    /// Offset of the first of them in the log.
    start: u64,
}

impl ConsoleText {
    /// Longest line that is kept together.
    const LONGEST: usize = 4 << 10;

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Offset behind the last whole line: what follows may become a marker.
    pub(super) fn whole_lines(&self) -> u64 {
        let lines = self.bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = if self.bytes.len() - lines > Self::LONGEST { self.bytes.len() } else { lines };
        self.start + end as u64
    }

    pub(super) fn take_until(&mut self, until: u64) -> Vec<u8> {
        let count = usize::try_from(until.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let rest = self.bytes.split_off(count.min(self.bytes.len()));
        let taken = std::mem::replace(&mut self.bytes, rest);
        self.start += taken.len() as u64;
        taken
    }

    /// Offset behind everything that has arrived.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}
