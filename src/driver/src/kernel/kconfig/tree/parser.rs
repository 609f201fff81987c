//! The Kconfig language, from text to [`KconfigTree`].
//!
//! Structure is checked (blocks close, expressions parse, sources are found), but
//! an unknown keyword is skipped: newer kernels add attributes, and an explanation
//! with a gap is better than none.

use std::borrow::Cow;

use super::expr::{Comparison, Expr, Term, joined};
use super::lexer::{Token, Variables, tokens};
use super::{
    Choice, Default, Definition, KconfigTree, Kind, Limits, Need, Place, Prompt, Scope, Select, TreeError,
};

/// Nesting of `source` that no real tree comes near to (Linux 6.12: 6), and that
/// a file which sources itself soon reaches.
const SOURCE_DEPTH: usize = 50;

/// Files that no real tree comes near to (Linux 6.12 on x86: about 1200).
const FILES: usize = 20_000;

/// Parentheses and negations within each other that no real tree comes near to.
const EXPRESSION_DEPTH: usize = 100;

pub(super) fn parse(
    srcarch: &str,
    read: impl FnMut(&str) -> Result<String, TreeError>,
) -> Result<KconfigTree, TreeError> {
    let tree = KconfigTree { scopes: vec![Scope::default()], ..KconfigTree::default() };
    let mut parser = Parser {
        tree,
        variables: Variables { srcarch },
        read,
        blocks: Vec::new(),
        entry: Entry::None,
        depth: 0,
    };
    parser.file("Kconfig", None)?;
    Ok(parser.tree)
}

struct Parser<'a, R> {
    tree: KconfigTree,
    variables: Variables<'a>,
    read: R,
    blocks: Vec<Block>,
    entry: Entry,
    depth: usize,
}

/// An open `if`, `menu` or `choice`.
struct Block {
    keyword: &'static str,
    line: usize,
    scope: usize,
    choice: Option<usize>,
}

/// What the attributes on the next lines belong to.
enum Entry {
    None,
    Symbol { name: String, definition: usize },
    Menu { scope: usize },
    Choice { scope: usize },
}

/// Problems of a line are text; its place is added by the caller.
type Parsed<T> = Result<T, String>;

/// What a line asks of the reader of lines.
enum Next {
    Line,
    Help,
    Source(String),
}

impl<R: FnMut(&str) -> Result<String, TreeError>> Parser<'_, R> {
    fn file(&mut self, path: &str, from: Option<Place>) -> Result<(), TreeError> {
        if let Some(from) = from
            && (self.depth >= SOURCE_DEPTH || self.tree.files.len() >= FILES)
        {
            return Err(self.syntax(from, format!("`{path}` is sourced without end")));
        }
        let text = (self.read)(path)?;
        let file = self.tree.files.len();
        self.tree.files.push(path.to_owned());
        self.depth += 1;
        let open = self.blocks.len();
        self.entry = Entry::None;
        let mut lines = Lines { lines: text.split('\n'), number: 0, peeked: None };
        while let Some((line, statement)) = lines.statement() {
            let place = Place { file, line };
            match self.statement(place, &statement, open).map_err(|problem| self.syntax(place, problem))? {
                Next::Line => {}
                Next::Help => lines.skip_help(),
                Next::Source(path) => {
                    self.file(&path, Some(place))?;
                    self.entry = Entry::None;
                }
            }
        }
        if let Some(block) = self.blocks.get(open) {
            let problem = format!("`{}` is never closed in this file", block.keyword);
            return Err(self.syntax(Place { file, line: block.line }, problem));
        }
        self.depth -= 1;
        Ok(())
    }

    fn syntax(&self, place: Place, problem: String) -> TreeError {
        let file = self.tree.files.get(place.file).cloned().unwrap_or_default();
        TreeError::Syntax { file, line: place.line, problem }
    }

    fn statement(&mut self, place: Place, line: &str, open: usize) -> Parsed<Next> {
        if is_assignment(line) || line.starts_with('$') {
            return Ok(Next::Line);
        }
        let tokens = tokens(line, self.variables)?;
        let Some((Token::Word(keyword), rest)) = tokens.split_first() else { return Ok(Next::Line) };
        let mut rest = Cursor { tokens: rest, at: 0 };
        match keyword.as_str() {
            "config" | "menuconfig" => self.define(place, rest.word("a symbol")?),
            "menu" => {
                let scope = self.open("menu", place, None);
                self.entry = Entry::Menu { scope };
            }
            "choice" => {
                let choice = self.tree.choices.len();
                self.tree.choices.push(Choice::default());
                let scope = self.open("choice", place, Some(choice));
                self.entry = Entry::Choice { scope };
            }
            "if" => {
                let condition = rest.expression()?;
                rest.end()?;
                let scope = self.open("if", place, None);
                self.tree.scopes[scope].conditions.push((Need::Depends, condition));
                self.entry = Entry::None;
            }
            "endmenu" => self.close("menu", open)?,
            "endchoice" => self.close("choice", open)?,
            "endif" => self.close("if", open)?,
            "comment" | "mainmenu" => self.entry = Entry::None,
            "source" => return rest.path().map(Next::Source),
            "help" | "---help---" => return Ok(Next::Help),
            _ => self.attribute(keyword, rest)?,
        }
        Ok(Next::Line)
    }

    fn scope(&self) -> usize {
        self.blocks.last().map_or(0, |block| block.scope)
    }

    fn open(&mut self, keyword: &'static str, place: Place, choice: Option<usize>) -> usize {
        let choice = choice.or_else(|| self.blocks.last().and_then(|block| block.choice));
        let scope = self.tree.scopes.len();
        self.tree.scopes.push(Scope { parent: Some(self.scope()), conditions: Vec::new() });
        self.blocks.push(Block { keyword, line: place.line, scope, choice });
        scope
    }

    fn close(&mut self, keyword: &str, open: usize) -> Parsed<()> {
        self.entry = Entry::None;
        match self.blocks.pop_if(|block| block.keyword == keyword) {
            Some(_) if self.blocks.len() >= open => Ok(()),
            _ => Err(format!("`end{keyword}` closes no `{keyword}` of this file")),
        }
    }

    fn define(&mut self, place: Place, name: String) {
        let scope = self.scope();
        let choice = self.blocks.last().and_then(|block| block.choice);
        if let Some(choice) = choice {
            self.tree.choices[choice].members.push(name.clone());
        }
        let definitions = &mut self.tree.symbols.entry(name.clone()).or_default().definitions;
        definitions.push(Definition {
            place,
            scope,
            depends: Vec::new(),
            prompt: None,
            defaults: Vec::new(),
            limits: Vec::new(),
            choice,
        });
        self.entry = Entry::Symbol { name, definition: definitions.len() - 1 };
    }

    /// An attribute of what is open. Those that explain nothing are skipped.
    fn attribute(&mut self, keyword: &str, mut rest: Cursor<'_>) -> Parsed<()> {
        match &self.entry {
            Entry::None => Ok(()),
            Entry::Menu { scope } | Entry::Choice { scope } => {
                let scope = *scope;
                let condition = match keyword {
                    "depends" => Some((Need::Depends, rest.dependency()?)),
                    "visible" => rest.condition()?.map(|condition| (Need::Visible, condition)),
                    "prompt" | "bool" | "tristate" if matches!(self.entry, Entry::Choice { .. }) => {
                        rest.text();
                        rest.condition()?.map(|condition| (Need::Visible, condition))
                    }
                    _ => return Ok(()),
                };
                rest.end()?;
                self.tree.scopes[scope].conditions.extend(condition);
                Ok(())
            }
            Entry::Symbol { name, definition } => {
                let (name, definition) = (name.clone(), *definition);
                self.symbol_attribute(keyword, rest, &name, definition)
            }
        }
    }

    fn symbol_attribute(
        &mut self,
        keyword: &str,
        mut rest: Cursor<'_>,
        name: &str,
        definition: usize,
    ) -> Parsed<()> {
        let info = self.tree.symbols.entry(name.to_owned()).or_default();
        let Some(own) = info.definitions.get_mut(definition) else { return Ok(()) };
        match keyword {
            "bool" | "boolean" | "tristate" | "int" | "hex" | "string" => {
                info.kind = kind(keyword);
                if rest.text() {
                    own.prompt = Some(Prompt { condition: rest.condition()? });
                }
            }
            "prompt" => {
                rest.text();
                own.prompt = Some(Prompt { condition: rest.condition()? });
            }
            "default" | "def_bool" | "def_tristate" => {
                info.kind = keyword.strip_prefix("def_").and_then(kind).or(info.kind);
                own.defaults.push(Default { value: rest.expression()?, condition: rest.condition()? });
            }
            "depends" => own.depends.push(rest.dependency()?),
            "range" => {
                let (low, high) = (rest.term()?, rest.term()?);
                own.limits.push(Limits { low, high, condition: rest.condition()? });
            }
            "select" => {
                let target = rest.word("a symbol")?;
                let select = Select { by: name.to_owned(), condition: rest.condition()? };
                self.tree.symbols.entry(target).or_default().selected_by.push(select);
            }
            "modules" => self.tree.modules = Some(name.to_owned()),
            "option" => {
                if rest.take("modules") {
                    self.tree.modules = Some(name.to_owned());
                }
                return Ok(());
            }
            _ => return Ok(()),
        }
        rest.end()
    }
}

fn kind(keyword: &str) -> Option<Kind> {
    Some(match keyword {
        "bool" | "boolean" => Kind::Bool,
        "tristate" => Kind::Tristate,
        "int" => Kind::Int,
        "hex" => Kind::Hex,
        "string" => Kind::Text,
        _ => return None,
    })
}

/// `name = value`, `name := value` or `name += value`: macros, which stay opaque.
fn is_assignment(line: &str) -> bool {
    let rest =
        line.trim_start_matches(|char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-'));
    rest.len() < line.len() && {
        let rest = rest.trim_start();
        [":=", "+=", "="].iter().any(|sign| rest.starts_with(sign))
    }
}

/// Lines of a file, joined where they end in a backslash.
struct Lines<'a, I: Iterator<Item = &'a str>> {
    lines: I,
    /// Of the last line taken, from 1.
    number: usize,
    /// A line that ended a help text.
    peeked: Option<&'a str>,
}

impl<'a, I: Iterator<Item = &'a str>> Lines<'a, I> {
    fn next(&mut self) -> Option<&'a str> {
        let line = self.peeked.take().or_else(|| self.lines.next())?;
        self.number += 1;
        Some(line)
    }

    /// The next line that is neither blank nor comment, and the number of its first part.
    fn statement(&mut self) -> Option<(usize, Cow<'a, str>)> {
        loop {
            let first = self.next()?.trim();
            let number = self.number;
            if first.is_empty() || first.starts_with('#') {
                continue;
            }
            let Some(part) = first.strip_suffix('\\') else { return Some((number, Cow::Borrowed(first))) };
            let mut whole = part.to_owned();
            while let Some(line) = self.next() {
                whole.push(' ');
                let line = line.trim();
                match line.strip_suffix('\\') {
                    Some(part) => whole.push_str(part),
                    None => {
                        whole.push_str(line);
                        break;
                    }
                }
            }
            return Some((number, Cow::Owned(whole)));
        }
    }

    /// Skips a help text: everything that is indented as far as its first line.
    fn skip_help(&mut self) {
        let mut indent = None;
        while let Some(line) = self.next() {
            if line.trim().is_empty() {
                continue;
            }
            let column = column(line);
            if column == 0 || column < *indent.get_or_insert(column) {
                self.peeked = Some(line);
                self.number -= 1;
                return;
            }
        }
    }
}

/// Column of the first character that is not blank; tab stops are 8 apart.
fn column(line: &str) -> usize {
    let mut column = 0;
    for byte in line.bytes() {
        match byte {
            b'\t' => column = (column & !7) + 8,
            b' ' => column += 1,
            _ => break,
        }
    }
    column
}

/// Reads tokens from the left.
struct Cursor<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(text)) if text == word);
        self.at += usize::from(found);
        found
    }

    fn take_sign(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(sign)) if *sign == wanted);
        self.at += usize::from(found);
        found
    }

    /// Skips the text of a prompt, if there is one.
    fn text(&mut self) -> bool {
        let found = matches!(self.peek(), Some(Token::Text(_) | Token::Macro(_)));
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, what: &str) -> Parsed<String> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            other => Err(format!("{what} was expected, not {}", describe(other))),
        }
    }

    fn path(&mut self) -> Parsed<String> {
        match self.peek() {
            Some(Token::Text(path) | Token::Word(path)) => Ok(path.clone()),
            Some(Token::Macro(path)) => Err(format!("only the build knows which file `{path}` is")),
            other => Err(format!("a file was expected, not {}", describe(other))),
        }
    }

    fn end(&self) -> Parsed<()> {
        match self.peek() {
            None => Ok(()),
            token => Err(format!("the end of the line was expected, not {}", describe(token))),
        }
    }

    /// `on EXPRESSION`, and since commit 76df6815dab7 of 2026 `on EXPRESSION if
    /// CONDITION`, which is `EXPRESSION || CONDITION = n`.
    fn dependency(&mut self) -> Parsed<Expr> {
        if !self.take("on") {
            return Err(format!("`on` was expected, not {}", describe(self.peek())));
        }
        let expression = self.expression()?;
        Ok(match self.condition()? {
            Some(condition) => expression.or(condition.equals_no()),
            None => expression,
        })
    }

    /// `if EXPRESSION`, or nothing.
    fn condition(&mut self) -> Parsed<Option<Expr>> {
        if self.take("if") { self.expression().map(Some) } else { Ok(None) }
    }

    fn expression(&mut self) -> Parsed<Expr> {
        self.alternatives(0)
    }

    fn alternatives(&mut self, depth: usize) -> Parsed<Expr> {
        let mut terms = vec![self.conjunction(depth)?];
        while self.take_sign("||") {
            terms.push(self.conjunction(depth)?);
        }
        Ok(joined(terms, Expr::or))
    }

    fn conjunction(&mut self, depth: usize) -> Parsed<Expr> {
        let mut terms = vec![self.operand(depth)?];
        while self.take_sign("&&") {
            terms.push(self.operand(depth)?);
        }
        Ok(joined(terms, Expr::and))
    }

    fn operand(&mut self, depth: usize) -> Parsed<Expr> {
        if depth > EXPRESSION_DEPTH {
            return Err("the expression is nested too deeply".to_owned());
        }
        if self.take_sign("!") {
            return Ok(Expr::Not(Box::new(self.operand(depth + 1)?)));
        }
        if self.take_sign("(") {
            let inner = self.alternatives(depth + 1)?;
            return if self.take_sign(")") {
                Ok(inner)
            } else {
                Err(format!("`)` was expected, not {}", describe(self.peek())))
            };
        }
        let left = self.term()?;
        let comparison = match self.peek() {
            Some(Token::Sign("=")) => Comparison::Equal,
            Some(Token::Sign("!=")) => Comparison::Unequal,
            Some(Token::Sign("<")) => Comparison::Less,
            Some(Token::Sign("<=")) => Comparison::LessOrEqual,
            Some(Token::Sign(">")) => Comparison::Greater,
            Some(Token::Sign(">=")) => Comparison::GreaterOrEqual,
            _ => return Ok(Expr::Term(left)),
        };
        self.at += 1;
        Ok(Expr::Compare(comparison, left, self.term()?))
    }

    fn term(&mut self) -> Parsed<Term> {
        let term = match self.peek() {
            Some(Token::Word(word)) if word != "if" => Term::Symbol(word.clone()),
            Some(Token::Text(text)) => Term::Text(text.clone()),
            Some(Token::Macro(text)) => Term::Macro(text.clone()),
            other => return Err(format!("a symbol was expected, not {}", describe(other))),
        };
        self.at += 1;
        Ok(term)
    }
}

fn describe(token: Option<&Token>) -> String {
    match token {
        None => "the end of the line".to_owned(),
        Some(Token::Sign(sign)) => format!("`{sign}`"),
        Some(Token::Word(text) | Token::Text(text) | Token::Macro(text)) => format!("`{text}`"),
    }
}
