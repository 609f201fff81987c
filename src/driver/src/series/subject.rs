//! Subjects of mails: `[PATCH net-next v2 3/7] net: do this`. Pure.

/// A subject, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Subject {
    /// Without what is in brackets before it; may be empty.
    pub(super) title: String,
    /// Which version of the series; none means the first.
    pub(super) version: Option<u32>,
    /// Which patch of how many.
    pub(super) number: Option<Number>,
    pub(super) kind: Kind,
}

/// `3/7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    /// 0 is the cover letter.
    pub(super) of: u32,
    pub(super) total: u32,
}

/// Whether a mail begins something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    Original,
    /// An answer, or passed on.
    Reply,
}

/// What mail programs put before the subject of an answer or of a mail passed on,
/// in the languages of those that do not leave it in English.
const REPLY: [&str; 7] = ["re", "aw", "sv", "vs", "antw", "fwd", "fw"];

/// Words before a version that is written into one with them: `PATCHv2`.
const BEFORE_VERSION: [&str; 6] = ["", "patch", "patch-", "rfc", "rfc-", "resend-"];

impl Subject {
    /// Reads a decoded subject. Every text is one.
    pub(super) fn parse(text: &str) -> Self {
        let mut subject = Self::default();
        let mut rest = text.trim();
        let mut before_title = true;
        loop {
            // Behind `[PATCH]` it is a part of the kernel: `fw: add a loader`.
            if before_title && let Some(after) = without_reply(rest) {
                subject.kind = Kind::Reply;
                rest = after;
            } else if let Some((tags, after)) =
                rest.strip_prefix('[').and_then(|inside| inside.split_once(']'))
            {
                subject.take_tags(tags);
                before_title &= !names_patch(tags);
                rest = after.trim_start();
            } else {
                break;
            }
        }
        // A folded header may have left more than one space.
        subject.title = rest.split_whitespace().collect::<Vec<_>>().join(" ");
        subject
    }

    /// Patchwork separates them by commas.
    fn take_tags(&mut self, tags: &str) {
        for tag in tags.split([' ', '\t', ',']) {
            self.number = self.number.or_else(|| number(tag));
            self.version = self.version.or_else(|| version(tag));
        }
    }
}

fn names_patch(tags: &str) -> bool {
    tags.to_ascii_lowercase().contains("patch")
}

fn without_reply(text: &str) -> Option<&str> {
    let (word, rest) = text.split_once(':')?;
    // Some count: `Re[2]:`.
    let word = word.split('[').next().unwrap_or(word).trim_end();
    REPLY.iter().any(|reply| word.eq_ignore_ascii_case(reply)).then(|| rest.trim_start())
}

fn number(tag: &str) -> Option<Number> {
    let (of, total) = tag.split_once('/')?;
    Some(Number { of: digits(of)?, total: digits(total)? })
}

fn version(tag: &str) -> Option<u32> {
    let lower = tag.to_ascii_lowercase();
    let (before, number) = lower.rsplit_once('v')?;
    if BEFORE_VERSION.contains(&before) { digits(number) } else { None }
}

/// `parse` alone would take a sign.
fn digits(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> (String, Option<u32>, Option<(u32, u32)>, Kind) {
        let Subject { title, version, number, kind } = Subject::parse(text);
        (title, version, number.map(|it| (it.of, it.total)), kind)
    }

    #[test]
    fn brackets_hold_version_and_number() {
        let title = "net: drain the list".to_owned();
        for (text, version, number) in [
            ("[PATCH] net: drain the list", None, None),
            ("[PATCH net-next v2 3/7] net: drain the list", Some(2), Some((3, 7))),
            ("[RFC PATCH v11 00/12]  net: drain\tthe list", Some(11), Some((0, 12))),
            ("[net-next,v2,03/15] net: drain the list", Some(2), Some((3, 15))),
            ("[PATCHv3 1/2] net: drain the list", Some(3), Some((1, 2))),
            ("[PATCH][RFC-v2] [1/2] net: drain the list", Some(2), Some((1, 2))),
            ("[PATCH 6.12.y 1/2] net: drain the list", None, Some((1, 2))),
            ("net: drain the list", None, None),
        ] {
            assert_eq!(parsed(text), (title.clone(), version, number, Kind::Original), "{text}");
        }
    }

    #[test]
    fn answers_are_told_from_originals() {
        for text in ["Re: [PATCH 1/2] x: y", "RE: x: y", "AW: Re: x: y", "[EXT] Re: x: y", "Re[2]: x: y"] {
            assert_eq!(Subject::parse(text).kind, Kind::Reply, "{text}");
        }
        for text in ["[PATCH] re-add: x", "rework: y", "[PATCH] net: Re: x", "[PATCH 1/2] fw: add x"] {
            assert_eq!(Subject::parse(text).kind, Kind::Original, "{text}");
        }
    }

    #[test]
    fn what_is_almost_a_number_is_none() {
        for text in
            ["[PATCH a/b] x", "[+1/2] x", "[1/] x", "[99999999999/2] x", "[PATCH 1/2", "[nv4] x", "[]"]
        {
            let Subject { number, version, .. } = Subject::parse(text);
            assert_eq!((number, version), (None, None), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_subject(text in any::<String>()) {
            let subject = Subject::parse(&text);
            prop_assert!(subject.title.len() <= text.len());
            prop_assert_eq!(subject.title.trim(), &subject.title);
        }

        #[test]
        fn every_number_is_read_back(version in 1u32..99, of in 0u32..200, total in 1u32..200, title in "[a-z]{1,9}: [a-z ]{0,20}[a-z]") {
            prop_assume!(!REPLY.iter().any(|reply| title.starts_with(&format!("{reply}:"))));
            let subject = Subject::parse(&format!("[PATCH net v{version} {of:02}/{total}] {title}"));
            prop_assert_eq!(subject.version, Some(version));
            prop_assert_eq!(subject.number, Some(Number { of, total }));
            prop_assert_eq!(subject.title, title.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
}
