//! The only room that knows serde_yaml: from text to plain structs, with the
//! place of everything that is wrong.
//!
//! A text is read twice. The first reading makes a tree of places and refuses
//! what serde would let pass (keys given twice, keys without a value); the
//! second fills the structs of `kernels` and `suite`, and serde's errors are
//! put into our words. What is wrong beyond that is found by those modules, who
//! ask [`Document::place`] where it stands.

mod shapes;
mod tree;
mod words;

use std::fmt;

use serde::de::DeserializeOwned;

use super::error::{ConfigError, Place, Problem};
use tree::{Node, START, Shape, Spot};

pub(super) use shapes::{Entries, Scalar};
#[cfg(test)]
pub(super) use words::keys_of;

/// The version of both file formats.
const VERSION: &str = "1";

/// Way to a value: `tests.drain.metrics[0]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Item(usize),
}

impl Path {
    /// The whole document.
    pub(super) fn root() -> Self {
        Self::default()
    }

    /// The value of a key.
    pub(super) fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    /// An item of a list, counted from 0.
    pub(super) fn item(&self, index: usize) -> Self {
        self.then(Step::Item(index))
    }

    fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if i == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A YAML text without syntax errors, repeated keys and empty values.
#[derive(Debug)]
pub(super) struct Document<'t> {
    file: &'t str,
    text: &'t str,
    tree: Node,
}

impl<'t> Document<'t> {
    /// Reads a text; `file` is its name in messages.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any file of ours, whatever its subject.
    pub(super) fn read(file: &'t str, text: &'t str) -> Result<Self, ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        words::check_characters(file, text)?;
        let tree = tree::read(text).map_err(|error| words::translate(file, text, &error))?;
        let document = Self { file, text, tree };
        document.check(&Path::root(), &document.tree, START)?;
        document.check_version()?;
        Ok(document)
    }

    /// Fills a struct.
    ///
    /// # Errors
    ///
    /// Unknown and missing keys, and values of the wrong type.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        serde_yaml::from_str(self.text).map_err(|error| words::translate(self.file, self.text, &error))
    }

    /// Where a value stands: a scalar at itself, anything else at its key. Of a
    /// way that leads nowhere, the last step that exists.
    pub(super) fn place(&self, path: &Path) -> Place {
        self.at(self.walk(path).0)
    }

    /// Where a key stands, even if its value is a scalar.
    pub(super) fn place_of_key(&self, map: &Path, key: &str) -> Place {
        let (spot, node) = self.walk(map);
        let entry = node.and_then(|node| node.entry(key));
        self.at(entry.map_or(spot, |entry| entry.spot))
    }

    /// Where a way ends, and what is there unless it leads nowhere.
    fn walk(&self, path: &Path) -> (Spot, Option<&Node>) {
        let (mut spot, mut node) = (START, &self.tree);
        for step in &path.0 {
            let next = match step {
                Step::Key(key) => node.entry(key).map(|entry| (entry.spot, &entry.value)),
                Step::Item(index) => node.item(*index).map(|item| (item.first_spot().unwrap_or(spot), item)),
            };
            let Some((at, value)) = next else { return (spot, None) };
            spot = value.spot.unwrap_or(at);
            node = value;
        }
        (spot, Some(node))
    }

    /// An error about a value.
    pub(super) fn error(&self, path: &Path, problem: Problem) -> ConfigError {
        ConfigError::content(self.place(path), problem)
    }

    /// An error about a key.
    pub(super) fn error_at_key(&self, map: &Path, key: &str, problem: Problem) -> ConfigError {
        ConfigError::content(self.place_of_key(map, key), problem)
    }

    fn at(&self, spot: Spot) -> Place {
        Place { file: self.file.to_owned(), line: spot.line, column: spot.column }
    }

    fn fail(&self, spot: Spot, problem: Problem) -> ConfigError {
        ConfigError::content(self.at(spot), problem)
    }

    /// Refuses keys given twice and keys or items without a value.
    fn check(&self, path: &Path, node: &Node, spot: Spot) -> Result<(), ConfigError> {
        match &node.shape {
            Shape::Nothing if path.0.is_empty() => Err(self.fail(START, Problem::Empty)),
            Shape::Nothing => {
                Err(self.fail(node.spot.unwrap_or(spot), Problem::NoValue { path: path.to_string() }))
            }
            Shape::Scalar(_) => Ok(()),
            Shape::List(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(i, item)| self.check(&path.item(i), item, item.first_spot().unwrap_or(spot))),
            Shape::Map(entries) => {
                for (i, entry) in entries.iter().enumerate() {
                    if let Some(first) = entries[..i].iter().find(|first| first.key == entry.key) {
                        let key = entry.key.clone();
                        let problem =
                            Problem::DuplicateKey { key, within: path.to_string(), first: first.spot.line };
                        return Err(self.fail(entry.spot, problem));
                    }
                    self.check(&path.key(&entry.key), &entry.value, entry.spot)?;
                }
                Ok(())
            }
        }
    }

    /// Judged before anything else, so that a file of a later version is not
    /// reported as full of mistakes.
    fn check_version(&self) -> Result<(), ConfigError> {
        if !matches!(self.tree.shape, Shape::Map(_)) {
            // For serde to refuse, in words that fit the file.
            return Ok(());
        }
        let Some(entry) = self.tree.entry("version") else {
            let problem = Problem::MissingKey { key: "version".into(), within: String::new() };
            return Err(self.fail(self.tree.first_spot().unwrap_or(START), problem));
        };
        match &entry.value.shape {
            Shape::Scalar(found) if found == VERSION => Ok(()),
            Shape::Scalar(found) => {
                let problem = Problem::Version { found: found.clone() };
                Err(self.fail(entry.value.spot.unwrap_or(entry.spot), problem))
            }
            _ => {
                let message = "a number is expected".into();
                Err(self.fail(entry.spot, Problem::WrongType { path: "version".into(), message }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    const TEXT: &str = "\
version: 1   # comment
map:
  plain: word
  'quoted': \"a\\tb\"
  block: |
    two
    lines

  flow: {a: 1, b: [x, {c: 2}]}
list:
- one
- {two: 2}
-
  three: 3
n\u{e4}he: ja
";

    fn place(path: &Path) -> (usize, usize) {
        let place = Document::read("f", TEXT).expect("good YAML").place(path);
        (place.line, place.column)
    }

    #[test]
    fn a_scalar_is_at_itself_and_a_collection_at_its_key() {
        let root = Path::root();
        let map = root.key("map");
        let flow = map.key("flow");
        for (path, at) in [
            (root.clone(), (1, 1)),
            (root.key("version"), (1, 10)),
            (map.clone(), (2, 1)),
            (map.key("plain"), (3, 10)),
            (map.key("quoted"), (4, 13)),
            (map.key("block"), (5, 10)),
            (flow.clone(), (9, 3)),
            (flow.key("a"), (9, 13)),
            (flow.key("b"), (9, 16)),
            (flow.key("b").item(0), (9, 20)),
            (flow.key("b").item(1), (9, 24)),
            (flow.key("b").item(1).key("c"), (9, 27)),
            (root.key("list"), (10, 1)),
            (root.key("list").item(0), (11, 3)),
            (root.key("list").item(1), (12, 4)),
            (root.key("list").item(2), (14, 3)),
            (root.key("n\u{e4}he"), (15, 7)),
        ] {
            assert_eq!(place(&path), at, "{path}");
        }
    }

    #[test]
    fn a_way_that_leads_nowhere_ends_where_it_leaves_the_file() {
        let map = Path::root().key("map");
        assert_eq!(place(&map.key("missing").key("deeper")), (2, 1));
        assert_eq!(place(&map.key("plain").key("deeper")), (3, 10));
        assert_eq!(place(&Path::root().key("list").item(7)), (10, 1));
    }

    #[test]
    fn a_key_has_a_place_of_its_own() {
        let document = Document::read("f", TEXT).expect("good YAML");
        let at = |map: &Path, key| document.place_of_key(map, key).to_string();
        assert_eq!(at(&Path::root().key("map"), "quoted"), "f:4:3");
        assert_eq!(at(&Path::root().key("list").item(1), "two"), "f:12:4");
        assert_eq!(at(&Path::root(), "missing"), "f:1:1");
    }

    #[test]
    fn a_path_reads_like_the_file() {
        let path = Path::root().key("tests").key("drain").key("metrics").item(0).key("unit");
        assert_eq!(path.to_string(), "tests.drain.metrics[0].unit");
    }

    #[test]
    fn an_alias_is_where_its_anchor_is() {
        let document = Document::read("f", "version: 1\na: &a word\nb: *a\n").expect("good YAML");
        assert_eq!(document.place(&Path::root().key("b")).line, 2);
    }

    #[test]
    fn a_byte_order_mark_moves_nothing() {
        let document = Document::read("f", "\u{feff}version: 1\na: b\n").expect("good YAML");
        assert_eq!(document.place(&Path::root().key("version")).to_string(), "f:1:10");
    }

    #[test]
    fn carriage_returns_move_nothing() {
        let text = TEXT.replace('\n', "\r\n");
        let document = Document::read("f", &text).expect("good YAML");
        assert_eq!(document.place(&Path::root().key("list").item(2)).to_string(), "f:14:3");
    }

    #[test]
    fn serde_knows_the_keys_of_a_struct() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its keys are looked at")]
        struct Two {
            one: Option<u8>,
            two: Option<u8>,
        }
        assert_eq!(keys_of::<Two>(), ["one", "two"]);
    }

    #[test]
    fn a_struct_without_fields_has_no_known_keys() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct None {}
        let document = Document::read("f", "version: 1\n").expect("good YAML");
        let error = document.parse::<None>().expect_err("unknown key").to_string();
        assert_eq!(error, "f:1:1: unknown key `version`");
    }

    #[test]
    fn entries_keep_their_order() {
        let text = "version: 1\nz: 2\na: 3\n";
        let document = Document::read("f", text).expect("good YAML");
        let entries: Entries<Scalar> = document.parse().expect("entries");
        let keys: Vec<_> = entries.0.iter().map(|(key, Scalar(value))| format!("{key}={value}")).collect();
        assert_eq!(keys, ["version=1", "z=2", "a=3"]);
    }

    proptest! {
        /// Whatever stands before it, a word is found where it was put.
        #[test]
        fn places_are_exact(
            before in prop::collection::vec("[a-z\u{e4}\u{1f980}]{1,9}: ([0-9]{1,3}|\"[^\"\\\\\\pC\\p{Zl}\\p{Zp}]{0,9}\"|'[a-z ]{0,5}'|\\[x, y\\]|# *\n  - z)", 0..12),
            indent in 1_usize..9,
        ) {
            // Numbered, for keys must not repeat.
            let mut text = String::from("version: 1\n");
            for (i, line) in before.iter().enumerate() {
                text.push_str(&format!("k{i}{line}\n\n"));
            }
            let line = text.lines().count() + 2;
            text.push_str(&format!("target:\n{:indent$}deep:  here\n", ""));
            let document = Document::read("f", &text).expect("good YAML");
            let found = document.place(&Path::root().key("target").key("deep"));
            prop_assert_eq!((found.line, found.column), (line, indent + 8));
        }
    }
}
