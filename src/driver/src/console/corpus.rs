//! Walks `testdata/console`: logs with what must be found in them.
//!
//! A file begins with comment lines (`# `) that say what it is, then the
//! expected items, or `silent`, then a line `---`, then the raw log. With
//! `KREGRESS_UPDATE=1` the expectations are rewritten; read the difference
//! before committing it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::{FindingKind, Item, Marker, Scanner};

const UPDATE: &str = "KREGRESS_UPDATE";
const SEPARATOR: &str = "---\n";

/// A file of the corpus.
struct Case {
    path: PathBuf,
    comment: String,
    expected: String,
    log: Vec<u8>,
}

impl Case {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).expect("a readable log");
        let name = path.display();
        let separator = SEPARATOR.as_bytes();
        let at = bytes.windows(separator.len()).position(|window| window == separator);
        let at = at.unwrap_or_else(|| panic!("{name} has no line `---`"));
        let header = std::str::from_utf8(&bytes[..at]).expect("a header of text");
        let comment: String = header.split_inclusive('\n').take_while(|line| line.starts_with('#')).collect();
        assert!(!comment.is_empty(), "{name} does not say what it is");
        Self {
            path: path.to_owned(),
            expected: header[comment.len()..].to_owned(),
            comment,
            log: bytes[at + separator.len()..].to_vec(),
        }
    }

    fn write(&self, expected: &str) {
        let mut bytes = format!("{}{expected}{SEPARATOR}", self.comment).into_bytes();
        bytes.extend_from_slice(&self.log);
        // Other tests read the corpus meanwhile.
        let new = self.path.with_extension("new");
        fs::write(&new, bytes).expect("a writable corpus");
        fs::rename(&new, &self.path).expect("a writable corpus");
    }

    /// Number of the line that holds this byte, from 1.
    fn line_of(&self, at: u64) -> usize {
        let at = usize::try_from(at).expect("a small log").min(self.log.len());
        self.log[..at].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn describe(&self, items: &[Item]) -> String {
        let mut text = String::new();
        for item in items {
            match item {
                Item::Finding(finding) => {
                    let (first, last) = (self.line_of(finding.start), self.line_of(finding.end - 1));
                    let kind = finding.kind.name();
                    let _ = writeln!(text, "{kind} {first}-{last}: {}", finding.title);
                    if !finding.stack.is_empty() {
                        let _ = writeln!(text, "  {}", finding.stack.join(" "));
                    }
                }
                Item::Marker(Marker::Begin { id, name, at }) => {
                    let _ = writeln!(text, "begin {}: {id} {name}", self.line_of(at - 1));
                }
                Item::Marker(Marker::End { id, word, at }) => {
                    let _ = writeln!(text, "end {}: {id} {word}", self.line_of(*at));
                }
                Item::Marker(Marker::Other(other)) | Item::GaveUp(other) => {
                    let _ = writeln!(text, "other: {other}");
                }
            }
        }
        if text.is_empty() { "silent\n".to_owned() } else { text }
    }
}

fn corpus() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/console");
    let entries = fs::read_dir(directory).expect("the corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths.iter().map(|path| Case::read(path)).collect()
}

fn scan(log: &[u8], chunk: usize) -> Vec<Item> {
    let mut scanner = Scanner::new();
    let mut items = Vec::new();
    for chunk in log.chunks(chunk) {
        scanner.push(chunk);
        items.extend(scanner.drain());
    }
    scanner.finish();
    items.extend(scanner.drain());
    items
}

#[test]
fn every_log_of_the_corpus_gives_what_its_header_says() {
    let update = std::env::var_os(UPDATE).is_some_and(|value| value == "1");
    let mut wrong = String::new();
    let cases = corpus();
    for case in &cases {
        let seen = case.describe(&scan(&case.log, usize::MAX));
        if seen == case.expected {
            continue;
        }
        if update {
            case.write(&seen);
        } else {
            let name = case.path.file_name().expect("a name").display();
            let _ = writeln!(wrong, "{name}\nexpected:\n{}found:\n{seen}", case.expected);
        }
    }
    assert!(wrong.is_empty(), "{wrong}hint: `{UPDATE}=1` rewrites the headers");
    assert!(cases.len() >= 65, "the corpus is gone");
}

#[test]
fn no_log_of_the_corpus_depends_on_the_chunks() {
    for case in corpus() {
        let whole = scan(&case.log, usize::MAX);
        for chunk in [1, 7, 64, 1000] {
            assert_eq!(scan(&case.log, chunk), whole, "{} in chunks of {chunk}", case.path.display());
        }
    }
}

#[test]
fn the_corpus_has_every_kind_of_finding_and_logs_that_stay_silent() {
    let mut missing: BTreeSet<_> = FindingKind::ALL.iter().map(|kind| kind.name()).collect();
    let mut silent = 0;
    for case in corpus() {
        let mut findings = 0;
        for item in scan(&case.log, usize::MAX) {
            if let Item::Finding(finding) = item {
                missing.remove(finding.kind.name());
                findings += 1;
            }
        }
        silent += usize::from(findings == 0);
    }
    assert!(missing.is_empty(), "no log shows {missing:?}");
    assert!(silent >= 4, "only {silent} logs are silent");
}

#[test]
fn every_finding_of_the_corpus_lies_within_its_log_and_in_one_section() {
    for case in corpus() {
        let name = case.path.display();
        let mut section = 0;
        for item in scan(&case.log, usize::MAX) {
            match item {
                Item::Finding(finding) => {
                    assert!(finding.start < finding.end, "{name}: {finding:?}");
                    assert!(finding.end <= case.log.len() as u64, "{name}: {finding:?}");
                    assert!(finding.start >= section, "{name}: {finding:?} begins before its section");
                }
                Item::Marker(Marker::Begin { at, .. } | Marker::End { at, .. }) => section = at,
                Item::Marker(Marker::Other(_)) | Item::GaveUp(_) => {}
            }
        }
    }
}

#[test]
fn every_report_of_lockdep_but_of_rcu_usage_switches_it_off() {
    let mut wrong = Vec::new();
    for case in corpus() {
        for item in scan(&case.log, usize::MAX) {
            let Item::Finding(finding) = item else { continue };
            let name = case.path.file_stem().expect("a name").to_string_lossy();
            let lasts = name.starts_with("lockdep-") && !finding.title.contains("suspicious RCU usage");
            if finding.kind == FindingKind::Lockdep
                && super::switches_off(finding.kind, &finding.title) != lasts
            {
                wrong.push(finding.title);
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
