//! Hunks of a patch and where they are in it. Pure; what a patch does is for git
//! to say.

/// A part of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// The file as it was called before, or as it is called where it is new.
    pub file: String,
    /// `@@ -12,7 +12,9 @@ static int f(void)`. Like everything in a patch it may
    /// hold any character.
    pub header: String,
    /// The line of the file at which it should apply; 0 for a file that is new.
    pub line: u64,
    /// The line of the patch that the header is in, from 1.
    pub patch_line: usize,
    /// All of its lines, those that are taken away, added, and left.
    pub lines: Vec<String>,
}

/// Finds the hunks of a patch, also of one that is damaged.
pub(super) fn hunks(diff: &str) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = Vec::new();
    let mut file = String::new();
    // What the header promises and is not there yet: without it a line that takes
    // `-- x` away would look like the name of a file.
    let mut due: Option<Due> = None;
    // Not `lines`, which would hide a CR.
    for (at, line) in diff.split_terminator('\n').enumerate() {
        if let Some(hunk) = hunks.last_mut()
            && due.as_mut().is_some_and(|due| due.take(line))
        {
            hunk.lines.push(line.to_owned());
            continue;
        }
        due = None;
        if let Some(name) = line.strip_prefix("--- ") {
            file = file_name(name, "a/");
        } else if let Some(name) = line.strip_prefix("+++ ") {
            if file == "/dev/null" {
                file = file_name(name, "b/");
            }
        } else if let Some((line_number, promised)) = header(line) {
            due = Some(promised);
            hunks.push(Hunk {
                file: file.clone(),
                header: line.to_owned(),
                line: line_number,
                patch_line: at + 1,
                lines: Vec::new(),
            });
        }
    }
    hunks
}

fn file_name(name: &str, side: &str) -> String {
    // A traditional diff has the file's time behind a tab.
    let name = name.split('\t').next().unwrap_or(name).trim_end();
    name.strip_prefix(side).unwrap_or(name).to_owned()
}

/// Lines that a hunk still lacks.
#[derive(Debug, Clone, Copy)]
struct Due {
    old: u64,
    new: u64,
}

impl Due {
    /// Whether a line belongs to the hunk.
    fn take(&mut self, line: &str) -> bool {
        let (old, new) = match line.as_bytes().first() {
            Some(b'-') => (1, 0),
            Some(b'+') => (0, 1),
            // `\ No newline at end of file`
            Some(b'\\') => (0, 0),
            // Mail programs cut the blank of an empty line off.
            Some(b' ' | b'\r') | None => (1, 1),
            Some(_) => return false,
        };
        if old > self.old || new > self.new || (self.old == 0 && self.new == 0 && old + new > 0) {
            return false;
        }
        self.old -= old;
        self.new -= new;
        true
    }
}

/// Takes `@@ -12,7 +12,9 @@` apart: the old line, and how many lines follow.
fn header(line: &str) -> Option<(u64, Due)> {
    let rest = line.strip_prefix("@@ -")?;
    let (old, rest) = rest.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let side = |text: &str| -> Option<(u64, u64)> {
        match text.split_once(',') {
            Some((line, count)) => Some((line.parse().ok()?, count.parse().ok()?)),
            None => Some((text.parse().ok()?, 1)),
        }
    };
    let ((line, old), (_, new)) = (side(old)?, side(new)?);
    Some((line, Due { old, new }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIFF: &str = "\
 net/core/dev.c | 2 +-

diff --git a/net/core/dev.c b/net/core/dev.c
index 1..2 100644
--- a/net/core/dev.c
+++ b/net/core/dev.c
@@ -3,3 +3,3 @@ int f(void)
 a
--- b
+++ c

@@ -30 +30,2 @@
 d
+e
diff --git a/new.c b/new.c
--- /dev/null
+++ b/new.c
@@ -0,0 +1 @@
+one
\\ No newline at end of file
-- 
2.47.3
";

    #[test]
    fn hunks_are_found_with_their_files_and_lines() {
        let found = hunks(DIFF);
        let places: Vec<_> =
            found.iter().map(|it| (it.file.as_str(), it.line, it.patch_line, it.lines.len())).collect();
        assert_eq!(places, [("net/core/dev.c", 3, 7, 4), ("net/core/dev.c", 30, 12, 2), ("new.c", 0, 18, 2)]);
        assert_eq!(found[0].header, "@@ -3,3 +3,3 @@ int f(void)");
        assert_eq!(found[0].lines, [" a", "--- b", "+++ c", ""]);
        assert_eq!(found[2].lines, ["+one", "\\ No newline at end of file"]);
    }

    #[test]
    fn a_hunk_ends_where_a_line_is_none_of_a_patch() {
        let found = hunks("--- a/x\n+++ b/x\n@@ -1,9 +1,9 @@\n a\nwrapped here\n b\n");
        assert_eq!(found[0].lines, [" a"]);
        let found = hunks("@@ -1 +1 @@\n-a\n+b\ndiff --git a/x b/x\n\\ No newline\n");
        assert_eq!(found[0].lines, ["-a", "+b"]);
    }

    proptest! {
        #[test]
        fn any_text_has_hunks_or_none(text in any::<String>(), cut in 0usize..400, at in 0usize..400) {
            let mut damaged = DIFF.to_owned();
            let cut = damaged.floor_char_boundary(cut.min(damaged.len()));
            damaged.truncate(cut);
            damaged.insert_str(damaged.floor_char_boundary(at.min(damaged.len())), &text);
            let lines: Vec<_> = damaged.split_terminator('\n').collect();
            for hunk in hunks(&damaged) {
                prop_assert_eq!(lines[hunk.patch_line - 1], hunk.header);
                prop_assert_eq!(&lines[hunk.patch_line..][..hunk.lines.len()], &hunk.lines[..]);
            }
        }

        #[test]
        fn no_count_is_too_large(old in any::<u64>(), new in any::<u64>(), lines in "[-+ a\\\\\n]{0,40}") {
            let found = hunks(&format!("@@ -{old},{new} +{new},{old} @@\n{lines}"));
            prop_assert!(!found.is_empty());
        }
    }
}
