//! Expressions of GitHub workflows: the forms that our files use, by the rules of GitHub.
//! Everything else is a panic, for a step whose meaning is guessed proves nothing.

use serde_json::Value;

/// What names stand for.
pub(crate) trait Names {
    /// Value of a context, `github` or `steps`.
    fn context(&self, name: &str) -> Option<Value>;
    /// Whether the job goes on, was cancelled, or has failed.
    fn status(&self, function: &str) -> Option<bool>;
}

/// A text with its expressions replaced. One that is nothing but an expression keeps the
/// type of its value.
pub(crate) fn evaluate(text: &str, names: &dyn Names) -> Value {
    if let Some(inner) = text.trim().strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"))
        && !inner.contains("${{")
    {
        return value(inner, names);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (inner, after) = after.split_once("}}").unwrap_or_else(|| panic!("no end of `${{{{` in {text}"));
        out.push_str(before);
        out.push_str(&shown(&value(inner, names)));
        rest = after;
    }
    Value::String(out + rest)
}

/// A condition, with or without `${{ }}` around it. One that asks for no status holds only
/// while nothing has failed.
pub(crate) fn condition(text: &str, names: &dyn Names) -> bool {
    let inner = text.trim();
    let inner = inner.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).unwrap_or(inner);
    let asks = ["always()", "cancelled()", "failure()", "success()"].iter().any(|it| inner.contains(it));
    let going = asks || names.status("success").expect("a status");
    going && truth(&value(inner, names))
}

fn value(text: &str, names: &dyn Names) -> Value {
    let mut parser = Parser { words: words(text), at: 0, names, text };
    let value = parser.or();
    assert_eq!(parser.at, parser.words.len(), "what follows in `{text}`");
    value
}

/// A value as a program sees it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => panic!("not a text: {value}"),
    }
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(it) => *it,
        Value::Number(it) => it.as_f64() != Some(0.0),
        Value::String(it) => !it.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Word {
    Name(String),
    Text(String),
    Number(u64),
    Sign(&'static str),
}

const SIGNS: [&str; 10] = ["&&", "||", "==", "!=", "!", "(", ")", ",", ".", "["];

fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let length = if first == '\'' {
            let end = rest[1..].find('\'').unwrap_or_else(|| panic!("no end of a text in `{text}`"));
            words.push(Word::Text(rest[1..=end].to_owned()));
            end + 2
        } else if is_name(first) {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            let name = &rest[..end];
            words.push(name.parse().map_or_else(|_| Word::Name(name.to_owned()), Word::Number));
            end
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.unwrap_or_else(|| panic!("unknown sign in `{text}`"));
            words.push(Word::Sign(sign));
            sign.len()
        };
        rest = rest[length..].trim_start();
    }
    words
}

struct Parser<'a> {
    words: Vec<Word>,
    at: usize,
    names: &'a dyn Names,
    text: &'a str,
}

impl Parser<'_> {
    fn takes(&mut self, sign: &str) -> bool {
        let is = matches!(self.words.get(self.at), Some(Word::Sign(it)) if *it == sign);
        self.at += usize::from(is);
        is
    }

    fn next(&mut self) -> Word {
        let word = self.words.get(self.at).cloned();
        self.at += 1;
        word.unwrap_or_else(|| panic!("`{}` ends early", self.text))
    }

    /// `a || b` is `a` where it is true.
    fn or(&mut self) -> Value {
        let mut left = self.and();
        while self.takes("||") {
            let right = self.and();
            left = if truth(&left) { left } else { right };
        }
        left
    }

    fn and(&mut self) -> Value {
        let mut left = self.equal();
        while self.takes("&&") {
            let right = self.equal();
            left = if truth(&left) { right } else { left };
        }
        left
    }

    fn equal(&mut self) -> Value {
        let left = self.not();
        for (sign, wanted) in [("==", true), ("!=", false)] {
            if self.takes(sign) {
                let right = self.not();
                // Nothing is the empty text, as GitHub casts both to the same number.
                let same = left == right || shown(&left) == shown(&right);
                return Value::Bool(same == wanted);
            }
        }
        left
    }

    fn not(&mut self) -> Value {
        if self.takes("!") { Value::Bool(!truth(&self.not())) } else { self.one() }
    }

    fn one(&mut self) -> Value {
        if self.takes("(") {
            let value = self.or();
            assert!(self.takes(")"), "no `)` in `{}`", self.text);
            return value;
        }
        match self.next() {
            Word::Text(text) => Value::String(text),
            Word::Number(number) => Value::from(number),
            Word::Name(name) if name == "true" || name == "false" => Value::Bool(name == "true"),
            Word::Name(name) => {
                if self.takes("(") {
                    return self.call(&name);
                }
                let mut value = self
                    .names
                    .context(&name)
                    .unwrap_or_else(|| panic!("unknown context `{name}` in `{}`", self.text));
                while self.takes(".") {
                    let Word::Name(key) = self.next() else { panic!("no name in `{}`", self.text) };
                    // Where an event has no inputs, all of them are nothing.
                    let closed =
                        ["github", "runner", "job", "inputs"].contains(&name.as_str()) && value.is_object();
                    let inner = value.get(&key).cloned();
                    assert!(inner.is_some() || !closed, "`{name}` has no `{key}`: `{}`", self.text);
                    value = inner.unwrap_or(Value::Null);
                }
                value
            }
            Word::Sign(sign) => panic!("unexpected `{sign}` in `{}`", self.text),
        }
    }

    fn call(&mut self, function: &str) -> Value {
        let mut arguments = Vec::new();
        while !self.takes(")") {
            arguments.push(self.or());
            let _ = self.takes(",");
        }
        match (function, arguments.as_slice()) {
            ("fromJSON", [Value::String(text)]) => {
                serde_json::from_str(text).unwrap_or_else(|error| panic!("fromJSON: {error}: {text}"))
            }
            ("hashFiles", patterns) => Value::String(format!("{:08x}", patterns.len())),
            (status, []) => {
                let holds = self.names.status(status);
                Value::Bool(holds.unwrap_or_else(|| panic!("unknown function `{status}` in `{}`", self.text)))
            }
            _ => panic!("unknown function `{function}` in `{}`", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Fixed(bool);

    impl Names for Fixed {
        fn context(&self, name: &str) -> Option<Value> {
            let all = json!({
                "inputs": { "shards": 3, "run": "", "source": true },
                "steps": { "plan": { "outputs": { "matrix": "{\"include\":[1]}" } } },
            });
            all.get(name).cloned()
        }

        fn status(&self, function: &str) -> Option<bool> {
            match function {
                "success" => Some(self.0),
                "always" => Some(true),
                "cancelled" => Some(false),
                _ => None,
            }
        }
    }

    #[test]
    fn expressions_mean_what_they_mean_on_github() {
        let value = |text: &str| evaluate(text, &Fixed(true));
        assert_eq!(value("a-${{ inputs.shards }}-${{ inputs.source }}"), json!("a-3-true"));
        assert_eq!(value("${{ fromJSON(steps.plan.outputs.matrix) }}"), json!({ "include": [1] }));
        assert_eq!(value("${{ inputs.run || 'x' }}"), json!("x"));
        assert_eq!(value("${{ steps.plan.outputs.absent }}"), Value::Null);
        assert_eq!(value("${{ inputs.run != '' && 'a' || 'b' }}"), json!("b"));
    }

    #[test]
    fn a_condition_holds_only_while_nothing_failed_unless_it_asks() {
        for (text, going, failed) in [
            ("inputs.run == ''", true, false),
            ("inputs.run != ''", false, false),
            ("${{ !cancelled() && steps.plan.outputs.matrix != '' }}", true, true),
            ("${{ !cancelled() && steps.other.outputs.matrix != '' }}", false, false),
            ("${{ always() }}", true, true),
        ] {
            assert_eq!(condition(text, &Fixed(true)), going, "{text}");
            assert_eq!(condition(text, &Fixed(false)), failed, "{text}");
        }
    }

    #[test]
    #[should_panic(expected = "unknown function `toJSON`")]
    fn what_is_not_known_is_no_guess() {
        evaluate("${{ toJSON(inputs) }}", &Fixed(true));
    }

    #[test]
    #[should_panic(expected = "`inputs` has no `shard`")]
    fn an_input_that_nobody_declared_is_an_error() {
        evaluate("${{ inputs.shard }}", &Fixed(true));
    }
}
