//! One logical line of a `Kconfig` file becomes tokens.

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword, a symbol or a number.
    Word(String),
    /// A string without its quotes.
    Text(String),
    /// Something with a macro in it that is not expanded.
    Macro(String),
    /// `&&`, `||`, `!`, `=`, `!=`, `<`, `<=`, `>`, `>=`, `(` or `)`.
    Sign(&'static str),
}

/// Longer signs first.
const SIGNS: [&str; 11] = ["&&", "||", "!=", "<=", ">=", "!", "=", "<", ">", "(", ")"];

/// Macros whose value is known before the build begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variables<'a> {
    /// `$(SRCARCH)`, and `$(ARCH)` as it is when nobody sets it.
    pub srcarch: &'a str,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/')
}

/// Splits a line. Characters that mean nothing to kconfig are skipped, as it does.
pub(super) fn tokens(line: &str, variables: Variables<'_>) -> Result<Vec<Token>, String> {
    let bytes = line.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        match byte {
            b'#' => break,
            b'"' | b'\'' => {
                let (token, end) = quoted(line, at, variables)?;
                tokens.push(token);
                at = end;
            }
            b'$' => {
                at = bare(line, at)?;
                let text = &line[start..at];
                tokens.push(match known(text, variables) {
                    Some(value) => Token::Word(value.to_owned()),
                    None => Token::Macro(text.to_owned()),
                });
            }
            _ if is_word(byte) => {
                let run = bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
                at += run;
                if bytes.get(at) == Some(&b'$') {
                    at = bare(line, at)?;
                    tokens.push(Token::Macro(line[start..at].to_owned()));
                } else {
                    tokens.push(Token::Word(line[start..at].to_owned()));
                }
            }
            _ => match SIGNS.iter().find(|sign| bytes[at..].starts_with(sign.as_bytes())) {
                Some(sign) => {
                    tokens.push(Token::Sign(sign));
                    at += sign.len();
                }
                None => at += 1,
            },
        }
    }
    Ok(tokens)
}

/// End of an unquoted run of words and macros that starts at `at`.
fn bare(line: &str, mut at: usize) -> Result<usize, String> {
    let bytes = line.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        if byte == b'$' {
            at = macro_end(line, at)?;
        } else if is_word(byte) {
            at += 1;
        } else {
            break;
        }
    }
    Ok(at)
}

/// End of the macro that starts with the `$` at `at`. A `$` without parenthesis
/// stands for itself.
fn macro_end(line: &str, at: usize) -> Result<usize, String> {
    let bytes = line.as_bytes();
    if bytes.get(at + 1) != Some(&b'(') {
        return Ok(at + 1);
    }
    let mut depth = 0_usize;
    for (offset, byte) in bytes[at..].iter().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + offset + 1);
                }
            }
            _ => {}
        }
    }
    Err(format!("`{}` has no closing parenthesis", &line[at..]))
}

/// Value of a text that is a single macro of known value.
fn known<'a>(text: &str, variables: Variables<'a>) -> Option<&'a str> {
    let name = text.strip_prefix("$(")?.strip_suffix(')')?;
    matches!(name, "ARCH" | "SRCARCH").then_some(variables.srcarch)
}

/// Reads the string that begins with the quote at `at`; gives the token and the
/// place behind its closing quote.
fn quoted(line: &str, at: usize, variables: Variables<'_>) -> Result<(Token, usize), String> {
    let quote = line.as_bytes()[at];
    let mut text = String::new();
    let mut unexpanded = false;
    let mut from = at + 1;
    loop {
        let rest = line.as_bytes().get(from..).unwrap_or_default();
        let Some(run) = rest.iter().position(|&byte| byte == quote || byte == b'\\' || byte == b'$') else {
            return Err(format!("`{}` has no closing quote", &line[at..]));
        };
        text.push_str(&line[from..from + run]);
        from += run;
        match line.as_bytes()[from] {
            b'\\' => {
                let escaped = line[from + 1..].chars().next();
                text.extend(escaped);
                from += 1 + escaped.map_or(0, char::len_utf8);
            }
            b'$' => {
                let end = macro_end(line, from)?;
                match known(&line[from..end], variables) {
                    Some(value) => text.push_str(value),
                    None => {
                        unexpanded |= end > from + 1;
                        text.push_str(&line[from..end]);
                    }
                }
                from = end;
            }
            _ => {
                let token = if unexpanded { Token::Macro(text) } else { Token::Text(text) };
                return Ok((token, from + 1));
            }
        }
    }
}
