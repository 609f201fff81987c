//! What stands where: the first reading of a text.

use std::convert::Infallible;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

/// Line and column, both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) line: usize,
    pub(super) column: usize,
}

pub(super) const START: Spot = Spot { line: 1, column: 1 };

/// What stands where. Only what places need is kept.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// A scalar's own place; `None` for collections, which are found by their key.
    pub(super) spot: Option<Spot>,
    pub(super) shape: Shape,
}

#[derive(Debug, Clone)]
pub(super) enum Shape {
    Nothing,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) spot: Spot,
    pub(super) value: Node,
}

impl Node {
    /// The entry of a mapping.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        let Shape::Map(entries) = &self.shape else { return None };
        entries.iter().find(|entry| entry.key == key)
    }

    /// The item of a list.
    pub(super) fn item(&self, index: usize) -> Option<&Node> {
        let Shape::List(items) = &self.shape else { return None };
        items.get(index)
    }

    /// Where the first word of it stands.
    pub(super) fn first_spot(&self) -> Option<Spot> {
        self.spot.or_else(|| match &self.shape {
            Shape::List(items) => items.iter().find_map(Self::first_spot),
            Shape::Map(entries) => entries.first().map(|entry| entry.spot),
            Shape::Nothing | Shape::Scalar(_) => None,
        })
    }
}

/// Reads the whole text.
pub(super) fn read(text: &str) -> Result<Node, serde_yaml::Error> {
    let mut said = None;
    let tree = Probe { said: &mut said }.deserialize(serde_yaml::Deserializer::from_str(text));
    tree.or_else(|error| caught(&mut said, error))
}

/// What a probe fails with.
const PROBE: &str = "\u{1}here\u{1}";

/// Reads one node. serde_yaml tells places only with errors, so a probe fails on
/// every scalar, on purpose, and leaves what it saw in `said`; the one who sent
/// it takes the place from the error and goes on with the next node.
struct Probe<'s> {
    said: &'s mut Option<Said>,
}

/// Reads a key in the same way.
struct KeyProbe<'s> {
    said: &'s mut Option<Said>,
}

/// What a probe saw; `None` for null.
struct Said(Option<String>);

/// The scalar that a probe failed on, unless the error is a real one.
fn caught<E: de::Error>(said: &mut Option<Said>, error: E) -> Result<Node, E> {
    let Some(Said(scalar)) = said.take() else { return Err(error) };
    Ok(Node { spot: Some(probed_spot(&error)), shape: scalar.map_or(Shape::Nothing, Shape::Scalar) })
}

/// Place in the text of a probe's error. serde_yaml leaves it out at the very
/// beginning of the text.
fn probed_spot(error: &impl fmt::Display) -> Spot {
    let text = error.to_string();
    let numbers = text.rsplit_once(PROBE).and_then(|(_, rest)| {
        let (line, column) = rest.strip_prefix(" at line ")?.split_once(" column ")?;
        Some(Spot { line: line.parse().ok()?, column: column.parse().ok()? })
    });
    numbers.unwrap_or(START)
}

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = Node;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Probe<'_> {
    fn say<E: de::Error>(self, scalar: Option<String>) -> Result<Node, E> {
        *self.said = Some(Said(scalar));
        Err(E::custom(PROBE))
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        self.say(None)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        self.say(None)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        self.say(Some(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        self.say(Some(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        self.say(Some(value.to_string()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Node, E> {
        self.say(Some(value.to_string()))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Node, E> {
        self.say(Some(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        self.say(Some(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        self.say(Some(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        loop {
            match list.next_element_seed(Probe { said: &mut *self.said }) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => return Ok(Node { spot: None, shape: Shape::List(items) }),
                Err(error) => items.push(caught(self.said, error)?),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        loop {
            let (key, spot) = match map.next_key_seed(KeyProbe { said: &mut *self.said }) {
                Ok(None) => return Ok(Node { spot: None, shape: Shape::Map(entries) }),
                Ok(Some(never)) => match never {},
                Err(error) => match self.said.take() {
                    Some(Said(key)) => (key.unwrap_or_default(), probed_spot(&error)),
                    None => return Err(error),
                },
            };
            let value = map.next_value_seed(Probe { said: &mut *self.said });
            let value = value.or_else(|error| caught(self.said, error))?;
            entries.push(Entry { key, spot, value });
        }
    }
}

impl<'de> DeserializeSeed<'de> for KeyProbe<'_> {
    type Value = Infallible;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyProbe<'_> {
    type Value = Infallible;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        *self.said = Some(Said(Some(key.to_owned())));
        Err(E::custom(PROBE))
    }
}
