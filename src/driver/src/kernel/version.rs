//! Order of file names by the kernel version in them: `6.1` < `6.9-rc1` < `6.9`
//! < `6.12`. Pure.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Endings that say how a file is packed and nothing of its version.
const ENDINGS: [&str; 12] = [
    ".tar.xz",
    ".tar.gz",
    ".tar.bz2",
    ".tar.zst",
    ".tar.lz4",
    ".tar.lzma",
    ".tar",
    ".tgz",
    ".txz",
    ".tbz2",
    ".tbz",
    ".deb",
];

/// The path whose name carries the newest version; whole paths decide a tie.
pub(super) fn newest(paths: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let name = |path: &Path| path.file_name().unwrap_or(OsStr::new("")).to_string_lossy().into_owned();
    paths.into_iter().max_by(|a, b| {
        compare(&name(a), &name(b)).then_with(|| compare(&a.to_string_lossy(), &b.to_string_lossy()))
    })
}

/// Compares two names.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (Tokens(stem(a)), Tokens(stem(b)));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            // A release is newer than what led up to it, older than what was built on it.
            (None, Some(more)) => end_against(more),
            (Some(more), None) => end_against(more).reverse(),
            (Some(a), Some(b)) => a.against(b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn stem(name: &str) -> &str {
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

#[derive(Debug, Clone, Copy)]
enum Token<'a> {
    /// Digits without leading zeros; of any length, so not a number type.
    Number(&'a str),
    Text(&'a str),
}

impl Token<'_> {
    /// Whether it marks something that comes before the version it follows.
    fn is_prerelease(self) -> bool {
        matches!(self, Self::Text(text) if text.starts_with("-rc") || text.starts_with('~'))
    }

    fn against(self, other: Self) -> Ordering {
        match (self, other) {
            (Token::Number(a), Token::Number(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
            (Token::Text(a), Token::Text(b)) => {
                other.is_prerelease().cmp(&self.is_prerelease()).then_with(|| a.cmp(b))
            }
            // As at the end: what comes before a version comes before its numbers.
            (Token::Number(_), Token::Text(_)) if other.is_prerelease() => Ordering::Greater,
            (Token::Number(_), Token::Text(_)) => Ordering::Less,
            (Token::Text(_), Token::Number(_)) => other.against(self).reverse(),
        }
    }
}

fn end_against(more: Token<'_>) -> Ordering {
    if more.is_prerelease() { Ordering::Greater } else { Ordering::Less }
}

struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let numeric = self.0.chars().next()?.is_ascii_digit();
        let end = self.0.find(|c: char| c.is_ascii_digit() != numeric).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(if numeric { Token::Number(token.trim_start_matches('0')) } else { Token::Text(token) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ascending(names: &[&str]) {
        for (index, older) in names.iter().enumerate() {
            for newer in &names[index + 1..] {
                assert_eq!(compare(older, newer), Ordering::Less, "{older} < {newer}");
                assert_eq!(compare(newer, older), Ordering::Greater, "{newer} > {older}");
            }
        }
    }

    #[test]
    fn a_prerelease_comes_before_the_end_and_the_end_before_a_number() {
        ascending(&["-rc0", "", "0", "a"]);
    }

    #[test]
    fn versions_compare_as_numbers() {
        ascending(&[
            "linux-source-5.10.tar.xz",
            "linux-source-6.1.tar.xz",
            "linux-source-6.9.tar.xz",
            "linux-source-6.12.tar.xz",
        ]);
    }

    #[test]
    fn a_stable_release_is_newer_than_its_base_whatever_the_ending() {
        ascending(&["linux-6.12.tar.xz", "linux-6.12.1.tar.gz", "linux-6.12.10.tar"]);
    }

    #[test]
    fn a_release_candidate_is_older_than_its_release() {
        ascending(&[
            "linux-6.12.9.tar",
            "linux-6.13-rc1.tar",
            "linux-6.13-rc10.tar",
            "linux-6.13.tar",
            "linux-6.13.1.tar",
        ]);
        ascending(&["linux-source-6.12~rc3", "linux-source-6.12"]);
    }

    #[test]
    fn debian_packages_compare_by_abi_and_then_by_version() {
        ascending(&[
            "linux-image-6.1.0-9-cloud-amd64_6.1.27-1_amd64.deb",
            "linux-image-6.1.0-54-cloud-amd64_6.1.190-1_amd64.deb",
            "linux-image-6.1.0-56-cloud-amd64_6.1.192-1_amd64.deb",
            "linux-image-6.1.0-56-cloud-amd64_6.1.192-2_amd64.deb",
        ]);
    }

    #[test]
    fn the_newest_is_chosen_by_name_before_directory() {
        let paths = ["/z/linux-6.1.tar", "/a/linux-6.12.tar", "/b/linux-6.12.tar"].map(PathBuf::from);
        assert_eq!(newest(paths), Some(PathBuf::from("/b/linux-6.12.tar")));
        assert_eq!(newest([]), None);
    }

    proptest! {
        #[test]
        fn the_order_is_total(names in proptest::collection::vec("(linux-)?[0-9]{0,3}(\\.[0-9]{1,2}){0,2}(-rc[0-9])?(~a)?[a-z.-]{0,3}", 3)) {
            let [a, b, c] = [&names[0], &names[1], &names[2]];
            prop_assert_eq!(compare(a, a), Ordering::Equal);
            prop_assert_eq!(compare(a, b), compare(b, a).reverse());
            if compare(a, b) != Ordering::Greater && compare(b, c) != Ordering::Greater {
                prop_assert_ne!(compare(a, c), Ordering::Greater);
            }
        }

        #[test]
        fn any_names_can_be_compared(a in ".*", b in ".*") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        }
    }
}
