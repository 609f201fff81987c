//! An error and its causes as one text. Pure.
//!
//! Many errors quote their cause themselves, so that it stands before their
//! hint; such a cause is not told twice.

use std::error::Error;

/// The error, then each cause that it does not quote: `outer: cause`, in front
/// of the hints.
#[must_use]
pub fn text(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    for cause in causes.map(ToString::to_string) {
        if text.contains(&cause) {
            continue;
        }
        let hints = text.find("\nhint: ").unwrap_or(text.len());
        text.insert_str(hints, &format!(": {cause}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read `x`: {source}\nhint: look elsewhere")]
    struct Quotes {
        source: io::Error,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot begin\nhint: try again")]
    struct Silent {
        source: Quotes,
    }

    fn quotes() -> Quotes {
        Quotes { source: io::Error::from_raw_os_error(20) }
    }

    #[test]
    fn a_cause_that_is_quoted_is_not_told_twice() {
        insta::assert_snapshot!(text(&quotes()), @r"
        cannot read `x`: Not a directory (os error 20)
        hint: look elsewhere
        ");
    }

    #[test]
    fn a_cause_that_is_not_quoted_comes_before_the_hints() {
        insta::assert_snapshot!(text(&Silent { source: quotes() }), @r"
        cannot begin: cannot read `x`: Not a directory (os error 20)
        hint: look elsewhere
        hint: try again
        ");
    }

    #[test]
    fn contexts_come_in_their_order() {
        let error = anyhow::anyhow!("inner").context("middle").context("outer");
        assert_eq!(text(error.as_ref()), "outer: middle: inner");
    }
}
