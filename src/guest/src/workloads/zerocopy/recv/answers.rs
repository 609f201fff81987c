//! What a request of `TCP_ZEROCOPY_RECEIVE` came to, as an entry of a table.
//!
//! Pure.

use std::fmt::{Display, Write as _};

use rustix::io::Errno;

use super::super::table::{Table, in_words};
use super::sys::Answer;

/// What a request came to, in words.
pub(super) fn told(result: &Result<Answer, Errno>) -> String {
    let answer = match result {
        Ok(answer) => answer,
        Err(errno) => return in_words(*errno),
    };
    let mut text = format!("length {}, recv_skip_hint {}, inq {}", answer.length, answer.skip, answer.inq);
    let rest = [
        ("err", i64::from(answer.err)),
        ("copybuf_len", i64::from(answer.copied)),
        ("msg_flags", i64::from(answer.msg_flags)),
        ("msg_controllen", i64::try_from(answer.control).unwrap_or(i64::MAX)),
    ];
    for (name, value) in rest {
        if value != 0 {
            // Writing to a string cannot fail.
            let _ = write!(text, ", {name} {value}");
        }
    }
    text
}

impl Table {
    /// Takes note of what a request came to.
    pub(super) fn answer(
        &mut self,
        what: impl Display,
        found: &Result<Answer, Errno>,
        expected: &Result<Answer, Errno>,
    ) {
        self.expect(what, told(found), told(expected));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_with_what_is_usually_nothing_only_if_it_is_something() {
        assert_eq!(told(&Ok(Answer { inq: 1, ..Answer::default() })), "length 0, recv_skip_hint 0, inq 1");
        let found = Ok(Answer { err: -104, copied: -14, ..Answer::default() });
        let text = "length 0, recv_skip_hint 0, inq 0, err -104, copybuf_len -14";
        assert_eq!(told(&found), text);
        assert_eq!(told(&Err(Errno::IO)), "EIO");
    }
}
