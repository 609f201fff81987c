//! Errors of serde and serde_yaml in our words.

use super::super::error::{ConfigError, Place, Problem};
use super::tree::{START, Spot};

/// Puts an error of serde into our words. Its texts are fixed by serde's
/// `de::Error` trait; serde_yaml puts the path before and the place behind.
pub(super) fn translate(file: &str, text: &str, error: &serde_yaml::Error) -> ConfigError {
    let (spot, message) = split_place(error).unwrap_or_else(|| (START, error.to_string()));
    let Some((path, message)) = split_path(&message) else { return syntax(file, text, spot, &message) };
    let within = path.to_owned();
    let problem = if let Some((key, known)) = unknown(message, "unknown field `") {
        Problem::UnknownKey { key, within, known }
    } else if let Some((word, known)) = unknown(message, "unknown variant `") {
        Problem::UnknownWord { word, path: within, known }
    } else if let Some(key) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'))
    {
        Problem::MissingKey { key: key.to_owned(), within }
    } else {
        // YAML's words for serde's.
        let words =
            [("type: sequence", "type: list"), ("type: map", "type: mapping"), ("type: enum", "type: tag")];
        let message = words.iter().fold(message.to_owned(), |text, (from, to)| text.replacen(from, to, 1));
        Problem::WrongType {
            path: within,
            message: message.replace("expected a sequence", "expected a list"),
        }
    };
    ConfigError::content(Place { file: file.to_owned(), line: spot.line, column: spot.column }, problem)
}

/// Every key of a struct, by asking serde for one that cannot exist.
#[cfg(test)]
pub(in crate::config) fn keys_of<T: serde::de::DeserializeOwned>() -> Vec<String> {
    let Err(error) = serde_yaml::from_str::<T>("\"\": 1") else { panic!("a struct took the empty key") };
    let (_, text) = split_place(&error).expect("a place");
    unknown(&text, "unknown field `").expect("an unknown field").1
}

/// Place of an error, and its text without the place.
fn split_place(error: &serde_yaml::Error) -> Option<(Spot, String)> {
    let location = error.location()?;
    let spot = Spot { line: location.line(), column: location.column() };
    let text = error.to_string();
    let suffix = format!(" at line {} column {}", spot.line, spot.column);
    let text = text.strip_suffix(&suffix).unwrap_or(&text).to_owned();
    Some((spot, text))
}

/// Path and message of an error about a value; `None` if it is about the YAML.
/// The path is made of the user's keys, so the message is looked for, by the
/// beginnings that serde's own messages have.
fn split_path(text: &str) -> Option<(&str, &str)> {
    const BEGINNINGS: [&str; 6] = [
        "unknown field `",
        "unknown variant `",
        "missing field `",
        "invalid type: ",
        "invalid value: ",
        "invalid length ",
    ];
    if BEGINNINGS.iter().any(|beginning| text.starts_with(beginning)) {
        return Some(("", text));
    }
    let at = BEGINNINGS.iter().filter_map(|beginning| text.find(&format!(": {beginning}"))).min()?;
    Some((&text[..at], &text[at + 2..]))
}

/// The word and the known ones of `unknown ... `word`, expected one of `a`, `b``.
fn unknown(message: &str, beginning: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix(beginning)?;
    // The word is the user's and may hold anything; the list is ours.
    let at = rest.rfind("`, expected ").or_else(|| rest.rfind("`, there are no "))?;
    let (word, list) = rest.split_at(at);
    let known = list[1..].split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((word.to_owned(), known))
}

fn syntax(file: &str, text: &str, spot: Spot, message: &str) -> ConfigError {
    let mut spot = spot;
    let found = text.lines().nth(spot.line - 1).and_then(|line| line.chars().nth(spot.column - 1));
    let hint = if message.contains("cannot start any token") {
        match found {
            Some('\t') => "indent with spaces; YAML takes no tabs",
            _ => "quote a value that begins with one of `@`, `%` and the backtick, like this: `\"%\"`",
        }
    } else if message.contains("mapping values are not allowed") {
        "quote a value that holds a colon and a space, and check the indentation"
    } else if message.contains("unknown anchor") {
        "quote a value that begins with `*`"
    } else if message.contains("more than one document") {
        // serde_yaml does not tell where.
        let separator = text.lines().collect::<Vec<_>>().iter().rposition(|line| line.starts_with("---"));
        spot = Spot { line: separator.map_or(1, |index| index + 1), column: 1 };
        "remove the line `---`: one file is one document"
    } else {
        ""
    };
    // libyaml repeats places in its own manner; ours stands before the message.
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    let place = Place { file: file.to_owned(), line: spot.line, column: spot.column };
    ConfigError::content(place, Problem::Syntax { message, hint })
}

/// Refuses characters that YAML does not allow, and those that end a line for
/// YAML but not for editors: after one of these every line number would be wrong.
pub(super) fn check_characters(file: &str, text: &str) -> Result<(), ConfigError> {
    for (index, line) in text.split('\n').enumerate() {
        let content = line.strip_suffix('\r').unwrap_or(line);
        let found = content.chars().enumerate().find_map(|(column, c)| Some((column, c, refusal(c)?)));
        if let Some((column, c, (message, hint))) = found {
            let place = Place { file: file.to_owned(), line: index + 1, column: column + 1 };
            let message = format!("the character U+{:04X} {message}", u32::from(c));
            return Err(ConfigError::content(place, Problem::Syntax { message, hint }));
        }
    }
    Ok(())
}

fn refusal(c: char) -> Option<(&'static str, &'static str)> {
    match c {
        '\t' => None,
        '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some((
            "would end a line for YAML, but not for your editor",
            "remove it; lines end with a line feed",
        )),
        '\u{feff}' | '\u{fffe}' | '\u{ffff}' => Some(("is not allowed", "remove it")),
        c if c.is_control() => {
            Some(("is not allowed", "remove it, or write it as an escape in double quotes, like `\"\\e\"`"))
        }
        _ => None,
    }
}
