//! What `git format-patch --base` writes below a cover letter or a patch, and b4
//! too. Pure.

/// Trailers about what a series is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Trailers {
    /// Commits to begin at: more than one only where they were written twice.
    pub(super) bases: Vec<String>,
    /// Patches that have to be there before, by `git patch-id --stable`.
    pub(super) prerequisites: Vec<String>,
}

/// No shorter name of a commit is written by a program.
const SHORTEST: usize = 7;

impl Trailers {
    /// Finds them wherever they are: a line of a diff never begins like one.
    pub(super) fn find(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            if let Some(hash) = line.strip_prefix("base-commit:").and_then(hash) {
                add(&mut found.bases, hash);
            } else if let Some(hash) = line.strip_prefix("prerequisite-patch-id:").and_then(hash) {
                add(&mut found.prerequisites, hash);
            }
        }
        found
    }
}

fn add(hashes: &mut Vec<String>, hash: String) {
    if !hashes.contains(&hash) {
        hashes.push(hash);
    }
}

fn hash(value: &str) -> Option<String> {
    let value = value.split_whitespace().next()?;
    let is_hash =
        (SHORTEST..=64).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| value.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn trailers_are_found_and_what_talks_about_them_is_not() {
        let found = Trailers::find(
            "text\nbase-commit: E57940AFB8871BF018E18C12EC6462C451E56402\r\n\
             prerequisite-patch-id: 0123456789abcdef0123456789abcdef01234567\n\
             prerequisite-patch-id: 0123456789abcdef0123456789abcdef01234567\n\
             + base-commit: 1111111111111\n base-commit: 2222222222222\n\
             base-commit: none\nbase-commit:\nbase-commit: abc\n",
        );
        assert_eq!(found.bases, ["e57940afb8871bf018e18c12ec6462c451e56402"]);
        assert_eq!(found.prerequisites, ["0123456789abcdef0123456789abcdef01234567"]);
    }

    proptest! {
        #[test]
        fn whatever_is_found_can_name_a_commit(text in any::<String>(), value in "[ a-fg0-9-]{0,70}") {
            for hash in Trailers::find(&format!("{text}\nbase-commit:{value}\n")).bases {
                prop_assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
                prop_assert!((SHORTEST..=64).contains(&hash.len()));
            }
        }
    }
}
