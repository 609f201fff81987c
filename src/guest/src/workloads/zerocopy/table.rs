//! A table of facts about the kernel: all that do not hold are told, not only
//! the first.
//!
//! Pure.

use std::fmt::{Debug, Display};

use rustix::io::Errno;

use crate::context::{Context, Stop, WorkloadResult};

/// How many deviations a message spells out.
const SPELT_OUT: usize = 20;

/// Collects what does not hold.
#[derive(Debug, Default)]
pub(super) struct Table {
    row: &'static str,
    checks: u64,
    deviations: Vec<String>,
}

/// The symbol of an error number, as far as these suites expect it.
pub(super) fn in_words(errno: Errno) -> String {
    let symbol = match errno {
        Errno::PERM => "EPERM",
        Errno::IO => "EIO",
        Errno::AGAIN => "EAGAIN",
        Errno::ACCESS => "EACCES",
        Errno::FAULT => "EFAULT",
        Errno::NODEV => "ENODEV",
        Errno::INVAL => "EINVAL",
        Errno::NOPROTOOPT => "ENOPROTOOPT",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::NOTCONN => "ENOTCONN",
        Errno::CONNRESET => "ECONNRESET",
        other => return other.to_string(),
    };
    symbol.to_owned()
}

/// `done` or the error.
pub(super) fn outcome<T>(result: &Result<T, Errno>) -> String {
    result.as_ref().map_or_else(|errno| in_words(*errno), |_| "done".to_owned())
}

impl Table {
    /// What follows belongs to this row.
    pub(super) fn begin(&mut self, row: &'static str) {
        self.row = row;
    }

    /// Takes note of one fact.
    pub(super) fn expect(&mut self, what: impl Display, found: impl Display, expected: impl Display) {
        self.checks += 1;
        let (found, expected) = (found.to_string(), expected.to_string());
        if found != expected {
            self.deviations.push(format!("{}: {what}: {found}; expected: {expected}", self.row));
        }
    }

    /// As [`Self::expect`], for values that have no words of their own.
    pub(super) fn same<T: Debug + PartialEq>(&mut self, what: impl Display, found: &T, expected: &T) {
        self.expect(what, format!("{found:?}"), format!("{expected:?}"));
    }

    /// Takes note of what a call without a result came to.
    pub(super) fn call<T>(
        &mut self,
        what: impl Display,
        found: &Result<T, Errno>,
        expected: Result<(), Errno>,
    ) {
        self.expect(what, outcome(found), outcome(&expected));
    }

    /// A failure of one row does not keep the others from being looked at.
    ///
    /// # Errors
    ///
    /// What is no failure of the kernel.
    pub(super) fn take(&mut self, row: Result<(), Stop>) -> Result<(), Stop> {
        match row {
            Err(Stop::Fail(message)) => {
                self.checks += 1;
                self.deviations.push(format!("{}: {message}", self.row));
                Ok(())
            }
            other => other,
        }
    }

    /// Passes when everything held.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] with everything that did not.
    pub(super) fn verdict(self, context: &Context<'_>) -> WorkloadResult {
        context.checked(self.checks);
        self.message().map_or(Ok(()), |message| Err(Stop::Fail(message)))
    }

    fn message(&self) -> Option<String> {
        let mut text = match self.deviations.as_slice() {
            [] => return None,
            [only] => return Some(only.clone()),
            // The first line is what summaries show.
            [first, others @ ..] => {
                format!("{first}; and {} more of {} facts do not hold", others.len(), self.checks)
            }
        };
        for deviation in self.deviations.iter().skip(1).take(SPELT_OUT) {
            text.push('\n');
            text.push_str(deviation);
        }
        if self.deviations.len() > SPELT_OUT + 1 {
            text.push_str("\n...");
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(row: &'static str) -> Table {
        let mut table = Table::default();
        table.begin(row);
        table
    }

    #[test]
    fn a_table_whose_facts_hold_has_nothing_to_say() {
        let mut table = of("mmap");
        table.call("to read", &Ok(()), Ok(()));
        table.same("pages", &3, &3);
        assert_eq!((table.message(), table.checks), (None, 2));
    }

    #[test]
    fn every_deviation_is_told_with_its_row() {
        let mut table = of("mmap");
        table.call("to write", &Ok(()), Err(Errno::PERM));
        table.begin("FIN");
        table.call("an empty queue", &Ok(1), Err(Errno::IO));
        table.same("pages", &1, &1);
        let text = "mmap: to write: done; expected: EPERM; and 1 more of 3 facts do not hold\n\
                    FIN: an empty queue: done; expected: EIO";
        assert_eq!(table.message().as_deref(), Some(text));
    }

    #[test]
    fn a_single_deviation_is_the_whole_message() {
        let mut table = of("RST");
        table.same("again", &Err::<(), _>(Errno::PERM), &Ok(()));
        let found = format!("{:?}", Err::<(), _>(Errno::PERM));
        let text = format!("RST: again: {found}; expected: Ok(())");
        assert_eq!(table.message(), Some(text));
    }

    #[test]
    fn a_row_that_fails_is_a_deviation_and_a_harness_error_ends_the_table() {
        let mut table = of("fork");
        assert_eq!(table.take(Err(Stop::Fail("no data".into()))), Ok(()));
        assert_eq!(table.message().as_deref(), Some("fork: no data"));
        let error = Err(Stop::Error("no pipe".into()));
        assert_eq!(table.take(error.clone()), error);
    }

    #[test]
    fn a_flood_of_deviations_is_cut() {
        let mut table = of("optlen");
        for n in 0..100 {
            table.same(n, &0, &1);
        }
        let text = table.message().expect("deviations");
        let start = "optlen: 0: 0; expected: 1; and 99 more of 100 facts do not hold\noptlen: 1: ";
        assert!(text.starts_with(start), "{text}");
        assert_eq!((text.lines().count(), text.lines().last()), (SPELT_OUT + 2, Some("...")));
    }
}
