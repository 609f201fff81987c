use std::collections::BTreeMap;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::expr::Comparison;
use super::{Expr, KconfigTree, Kind, Need, Term, TreeError, Values};
use crate::kernel::kconfig::Tristate;

fn parse(kconfig: &str) -> Result<KconfigTree, TreeError> {
    files(&[("Kconfig", kconfig)])
}

fn files(files: &[(&str, &str)]) -> Result<KconfigTree, TreeError> {
    let files: BTreeMap<_, _> = files.iter().copied().collect();
    KconfigTree::parse("x86", |path| match files.get(path) {
        Some(text) => Ok((*text).to_owned()),
        None => Err(TreeError::Read { path: path.into(), source: std::io::ErrorKind::NotFound.into() }),
    })
}

fn refused(kconfig: &str) -> String {
    parse(kconfig).unwrap_err().to_string()
}

/// Conditions of the first definition of a symbol, one for each line.
fn conditions(tree: &KconfigTree, symbol: &str) -> String {
    let definition = &tree.symbol(symbol).unwrap().definitions[0];
    let lines: Vec<_> = tree
        .conditions(definition)
        .map(|(need, expr)| match need {
            Need::Depends => format!("depends on {expr}"),
            Need::Visible => format!("visible if {expr}"),
        })
        .collect();
    lines.join("\n")
}

/// The expression behind `depends on`.
fn expression(text: &str) -> Result<Expr, String> {
    let tree =
        parse(&format!("config X\n\tbool\n\tdepends on {text}\n")).map_err(|error| error.to_string())?;
    Ok(tree.symbol("X").unwrap().definitions[0].depends[0].clone())
}

#[derive(Default)]
struct Fixed(BTreeMap<&'static str, &'static str>);

impl Values for Fixed {
    fn tristate(&self, symbol: &str) -> Tristate {
        match self.0.get(symbol) {
            Some(&"y") => Tristate::Yes,
            Some(&"m") => Tristate::Module,
            _ => Tristate::No,
        }
    }

    fn text(&self, symbol: &str) -> String {
        self.0.get(symbol).map_or_else(|| symbol.to_owned(), |value| (*value).to_owned())
    }

    fn modules(&self) -> Tristate {
        self.tristate("MODULES")
    }
}

/// `y`, `m`, `n`, or `low..high`.
fn value(text: &str) -> String {
    let fixed = Fixed(BTreeMap::from([
        ("Y", "y"),
        ("M", "m"),
        ("N", "n"),
        ("SEVEN", "7"),
        ("TEN", "10"),
        ("PAGE", "0x1000"),
        ("NAME", "gcc"),
        ("MODULES", "y"),
    ]));
    let range = expression(text).unwrap().evaluate(&fixed);
    if range.low == range.high { range.low.to_string() } else { format!("{}..{}", range.low, range.high) }
}

#[test]
fn logic_has_three_values() {
    let table =
        ["Y && M", "M && N", "N || M", "M || Y", "!Y", "!M", "!N", "!!M", "!(Y && M) || N", "y", "n", "m"];
    let values: Vec<_> = table.iter().map(|text| format!("{text}: {}", value(text))).collect();
    assert_snapshot!(values.join("\n"), @"
    Y && M: m
    M && N: n
    N || M: m
    M || Y: y
    !Y: n
    !M: m
    !N: y
    !!M: m
    !(Y && M) || N: m
    y: y
    n: n
    m: m
    ");
}

#[test]
fn and_binds_closer_than_or() {
    assert_eq!(expression("A || B && C").unwrap(), expression("A || (B && C)").unwrap());
    assert_eq!(expression("A || B && C").unwrap().to_string(), "A || (B && C)");
    assert_eq!(expression("(A || B) && C").unwrap().to_string(), "(A || B) && C");
}

#[test]
fn comparisons_are_of_logic_numbers_or_text() {
    let table = [
        "M < Y",
        "N < M",
        "Y = y",
        "M != y",
        "SEVEN < TEN",
        "TEN >= 10",
        "SEVEN > 10",
        "PAGE = 4096",
        "NAME = \"gcc\"",
        "NAME != \"clang\"",
        "NAME = gcc",
        "UNDEFINED = UNDEFINED",
        "!NAME = \"gcc\"",
    ];
    let values: Vec<_> = table.iter().map(|text| format!("{text}: {}", value(text))).collect();
    assert_snapshot!(values.join("\n"), @r#"
    M < Y: y
    N < M: y
    Y = y: y
    M != y: y
    SEVEN < TEN: y
    TEN >= 10: y
    SEVEN > 10: n
    PAGE = 4096: y
    NAME = "gcc": y
    NAME != "clang": y
    NAME = gcc: y
    UNDEFINED = UNDEFINED: y
    !NAME = "gcc": n
    "#);
}

#[test]
fn what_only_the_build_knows_may_be_anything() {
    assert_eq!(value("$(cc-option,-fx)"), "n..y");
    assert_eq!(value("!$(success,true)"), "n..y");
    assert_eq!(value("N && $(success,true)"), "n");
    assert_eq!(value("M && $(success,true)"), "n..m");
    assert_eq!(value("Y || $(success,true)"), "y");
    assert_eq!(value("\"$(CC_VERSION_TEXT)\" = \"gcc\""), "n..y");
    assert_eq!(value("$(cc-version) >= 120000"), "n..y");
}

#[test]
fn the_architecture_is_known() {
    assert_eq!(value("\"$(ARCH)\" = \"x86\""), "y");
    assert_eq!(value("\"$(SRCARCH)\" = \"arm64\""), "n");
}

#[test]
fn the_constant_m_needs_modules() {
    let m = expression("m").unwrap();
    assert_eq!(m.evaluate(&Fixed::default()).high, Tristate::No);
}

#[test]
fn macros_end_at_their_own_parenthesis() {
    let tree = parse(
        "config A\n\tdef_bool $(success,echo 'int f() { return \"#\"; }' | $(CC) -c -) && B # why\n\tdepends on C\n",
    )
    .unwrap();
    let definition = &tree.symbol("A").unwrap().definitions[0];
    assert_eq!(
        definition.defaults[0].value.to_string(),
        "$(success,echo 'int f() { return \"#\"; }' | $(CC) -c -) && B"
    );
    assert_eq!(conditions(&tree, "A"), "depends on C");
}

#[test]
fn attributes_of_a_symbol_are_read() {
    let tree = parse(
        "menuconfig NET\n\ttristate \"Net\" if EXPERT\n\tdefault y if A\n\tdefault m\n\tdepends on B\n\tdepends on C && D\n\trange 1 9 if A\n\tselect E if F\n\timply G\n",
    )
    .unwrap();
    let info = tree.symbol("NET").unwrap();
    assert_eq!(info.kind, Some(Kind::Tristate));
    assert!(info.definitions[0].prompt.is_some());
    assert_eq!(info.definitions[0].defaults.len(), 2);
    assert_eq!(info.definitions[0].limits.len(), 1);
    assert_snapshot!(conditions(&tree, "NET"), @"
    depends on B
    depends on C
    depends on D
    visible if EXPERT
    ");
    assert!(!tree.knows("E"), "a symbol that is only selected is not defined");
}

#[test]
fn types_come_from_any_spelling() {
    let tree = parse(
        "config A\n\tdef_bool y\nconfig B\n\tdef_tristate m\nconfig C\n\tint\nconfig D\n\thex\nconfig E\n\tstring\nconfig F\n\tboolean\nconfig G\n\tdefault y\n",
    )
    .unwrap();
    let kinds: Vec<_> =
        ["A", "B", "C", "D", "E", "F", "G"].iter().map(|name| tree.symbol(name).unwrap().kind).collect();
    assert_eq!(
        kinds,
        [
            Some(Kind::Bool),
            Some(Kind::Tristate),
            Some(Kind::Int),
            Some(Kind::Hex),
            Some(Kind::Text),
            Some(Kind::Bool),
            None
        ]
    );
}

#[test]
fn a_symbol_may_be_defined_more_than_once() {
    let tree = parse("config A\n\tbool \"a\"\nconfig A\n\tdefault y\n").unwrap();
    assert_eq!(tree.symbol("A").unwrap().definitions.len(), 2);
    assert_eq!(tree.len(), 1);
}

#[test]
fn blocks_hand_their_conditions_down() {
    let tree = parse(
        "if A\nmenu \"m\"\n\tdepends on B\n\tvisible if C\nchoice\n\tprompt \"p\" if D\n\tdepends on E\nconfig X\n\tbool \"x\" if F\n\tdepends on G\nendchoice\nendmenu\nconfig Y\n\tbool\nendif\nconfig Z\n\tbool\n",
    )
    .unwrap();
    assert_snapshot!(conditions(&tree, "X"), @"
    depends on G
    visible if F
    visible if D
    depends on E
    depends on B
    visible if C
    depends on A
    ");
    assert_eq!(conditions(&tree, "Y"), "depends on A");
    assert_eq!(conditions(&tree, "Z"), "");
}

#[test]
fn members_of_a_choice_are_known_even_inside_an_if() {
    let tree = parse(
        "choice\n\tprompt \"p\"\n\tdefault B\nconfig A\n\tbool \"a\"\nif C\nconfig B\n\tbool \"b\"\nendif\nendchoice\nconfig D\n\tbool\n",
    )
    .unwrap();
    let choice = tree.symbol("B").unwrap().definitions[0].choice.unwrap();
    assert_eq!(tree.choice(choice), ["A", "B"]);
    assert_eq!(tree.symbol("D").unwrap().definitions[0].choice, None);
}

#[test]
fn help_ends_where_its_indentation_does() {
    let tree = parse(
        "config A\n\tbool \"a\"\n\thelp\n\t  config FALSE\n\n\t    depends on \"unclosed\n\t  endif\n\tdepends on B\nconfig C\n\tbool\n\t---help---\n        text\n\nconfig D\n\tbool\n\thelp\nconfig E\n\tbool\n",
    )
    .unwrap();
    assert_eq!(conditions(&tree, "A"), "depends on B");
    assert!(["C", "D", "E"].iter().all(|name| tree.knows(name)));
    assert!(!tree.knows("FALSE"));
}

#[test]
fn lines_continue_after_a_backslash() {
    let tree = parse("config A\n\tbool \"a\"\n\tdepends on B && \\\n\t\tC || \\\n\t\tD\nconfig E\n\tbool\n")
        .unwrap();
    assert_eq!(conditions(&tree, "A"), "depends on (B && C) || D");
    let definition = &tree.symbol("E").unwrap().definitions[0];
    assert_eq!(tree.place(definition.place), "Kconfig:6");
}

#[test]
fn comments_and_macro_definitions_are_skipped() {
    let tree = parse(
        "# config NO\nquote := \"\ncc-option = $(success,$(CC) $(1))\nx += y\n$(error-if,$(success,false),no)\nmainmenu \"Linux/$(ARCH)\"\ncomment \"a comment\"\n\tdepends on A\nconfig B # trailing\n\tbool \"b\" # trailing\n",
    )
    .unwrap();
    assert_eq!(tree.len(), 1);
    assert_eq!(conditions(&tree, "B"), "");
}

#[test]
fn unknown_attributes_are_skipped() {
    let tree = parse("config A\n\tbool \"a\"\n\ttransitional\n\toption env=\"X\"\n\tdepends on B\n").unwrap();
    assert_eq!(conditions(&tree, "A"), "depends on B");
}

#[test]
fn a_conditional_dependency_holds_where_its_condition_is_n() {
    let dependency = |text: &str| {
        let tree = parse(&format!("config A\n\tbool\n\tdepends on {text}\n")).unwrap();
        conditions(&tree, "A")
    };
    assert_eq!(dependency("B if C"), "depends on B || C = n");
    assert_eq!(dependency("B if C && !D"), "depends on B || C = n || D != n");
    assert_eq!(dependency("B && C if D || E < 2"), "depends on (B && C) || (D = n && !(E < 2))");
    assert_eq!(value("N if M"), "n");
    assert_eq!(value("M if M"), "m");
    assert_eq!(value("N if N"), "y");
}

#[test]
fn the_symbol_of_modules_may_have_any_name() {
    assert_eq!(parse("config MODS\n\tbool\n\tmodules\n").unwrap().modules(), "MODS");
    assert_eq!(parse("config MODS\n\tbool\n\toption modules\n").unwrap().modules(), "MODS");
    assert_eq!(parse("").unwrap().modules(), "MODULES");
}

#[test]
fn sourced_files_inherit_where_they_are_sourced() {
    let tree = files(&[
        ("Kconfig", "if A\nsource \"arch/$(SRCARCH)/Kconfig\"\nendif\nsource 'net/Kconfig'\n"),
        ("arch/x86/Kconfig", "config B\n\tbool \"b\"\n"),
        ("net/Kconfig", "\nconfig C\n\tbool \"c\"\n"),
    ])
    .unwrap();
    assert_eq!(conditions(&tree, "B"), "depends on A");
    assert_eq!(conditions(&tree, "C"), "");
    assert_eq!(tree.place(tree.symbol("C").unwrap().definitions[0].place), "net/Kconfig:2");
}

#[test]
fn a_tree_is_read_from_a_directory_whatever_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Kconfig"), "source \"net/Kconfig\"\n").unwrap();
    std::fs::create_dir(dir.path().join("net")).unwrap();
    std::fs::write(dir.path().join("net/Kconfig"), b"config NET # \xa9\n\tbool \"Net \xff\"\n").unwrap();
    let tree = KconfigTree::load(dir.path(), "x86").unwrap();
    assert!(tree.knows("NET") && !tree.is_empty());
}

#[test]
fn a_missing_file_is_an_error() {
    let error = files(&[("Kconfig", "source \"net/Kconfig\"\n")]).unwrap_err();
    assert_snapshot!(error, @"
    cannot read `net/Kconfig`: entity not found
    hint: is this a kernel tree, and complete?
    ");
}

#[test]
fn a_file_that_sources_itself_is_an_error() {
    assert_snapshot!(refused("config A\n\tbool\nsource \"Kconfig\"\n"), @"Kconfig:3: `Kconfig` is sourced without end");
}

#[test]
fn a_file_name_that_only_the_build_knows_is_an_error() {
    assert_snapshot!(refused("source \"arch/$(HEADER_ARCH)/Kconfig\"\n"), @"Kconfig:1: only the build knows which file `arch/$(HEADER_ARCH)/Kconfig` is");
}

#[test]
fn broken_lines_are_errors_with_their_place() {
    let broken = [
        "config",
        "config \"A\"",
        "if",
        "if A &&",
        "if (A",
        "if A B",
        "if A = ",
        "config A\n\tdepends A",
        "config A\n\tdepends on",
        "config A\n\tdepends on if",
        "config A\n\tbool \"a",
        "config A\n\tbool \"a\" B",
        "config A\n\tselect",
        "config A\n\trange 1",
        "config A\n\tdefault $(shell,x",
        "if A",
        "menu \"m\"\nif A\nendmenu",
        "endchoice",
        "source",
    ];
    let errors: Vec<_> = broken.iter().map(|text| refused(text)).collect();
    assert_snapshot!(errors.join("\n"), @r#"
    Kconfig:1: a symbol was expected, not the end of the line
    Kconfig:1: a symbol was expected, not `A`
    Kconfig:1: a symbol was expected, not the end of the line
    Kconfig:1: a symbol was expected, not the end of the line
    Kconfig:1: `)` was expected, not the end of the line
    Kconfig:1: the end of the line was expected, not `B`
    Kconfig:1: a symbol was expected, not the end of the line
    Kconfig:2: `on` was expected, not `A`
    Kconfig:2: a symbol was expected, not the end of the line
    Kconfig:2: a symbol was expected, not `if`
    Kconfig:2: `"a` has no closing quote
    Kconfig:2: the end of the line was expected, not `B`
    Kconfig:2: a symbol was expected, not the end of the line
    Kconfig:2: a symbol was expected, not the end of the line
    Kconfig:2: `$(shell,x` has no closing parenthesis
    Kconfig:1: `if` is never closed in this file
    Kconfig:3: `endmenu` closes no `menu` of this file
    Kconfig:1: `endchoice` closes no `choice` of this file
    Kconfig:1: a file was expected, not the end of the line
    "#);
}

#[test]
fn a_block_closes_in_the_file_that_opened_it() {
    let error = files(&[("Kconfig", "if A\nsource \"b\"\n"), ("b", "endif\n")]).unwrap_err();
    assert_snapshot!(error, @"b:1: `endif` closes no `if` of this file");
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let parentheses = refused(&format!("if {}A\n", "(".repeat(100_000)));
    assert_eq!(parentheses, "Kconfig:1: the expression is nested too deeply");
    let negations = refused(&format!("if {}A\n", "!".repeat(100_000)));
    assert_eq!(negations, "Kconfig:1: the expression is nested too deeply");
    let long = format!("if A{}\nendif\n", " && A".repeat(100_000));
    assert!(parse(&long).is_ok());
    let blocks = format!("{}config B\n\tbool\n{}", "if A\n".repeat(20_000), "endif\n".repeat(20_000));
    assert!(parse(&blocks).unwrap().knows("B"));
}

#[test]
fn the_nearest_name_is_near() {
    let tree = parse("config NET_ACT_MIRRED\n\tbool\nconfig NET_ACT_GACT\n\tbool\n").unwrap();
    let nearest = |name| tree.nearest(name).map(|symbol| symbol.name().to_owned());
    assert_eq!(nearest("NET_ACT_MIRED").as_deref(), Some("NET_ACT_MIRRED"));
    assert_eq!(nearest("NET_ACT_GCAT").as_deref(), Some("NET_ACT_GACT"));
    assert_eq!(nearest("VETH"), None);
}

fn term() -> impl Strategy<Value = Term> {
    prop_oneof![
        4 => "[A-Z][A-Z0-9_]{0,6}".prop_map(Term::Symbol),
        1 => "[0-9]{1,5}".prop_map(Term::Symbol),
        1 => "[a-z ]{0,6}".prop_map(Term::Text),
        1 => "[a-z-]{1,6}".prop_map(|name| Term::Macro(format!("$({name},x)"))),
    ]
}

fn random_expression() -> impl Strategy<Value = Expr> {
    let comparison = prop_oneof![
        Just(Comparison::Equal),
        Just(Comparison::Unequal),
        Just(Comparison::Less),
        Just(Comparison::LessOrEqual),
        Just(Comparison::Greater),
        Just(Comparison::GreaterOrEqual),
    ];
    let leaf = prop_oneof![
        3 => term().prop_map(Expr::Term),
        1 => (comparison, term(), term()).prop_map(|(how, left, right)| Expr::Compare(how, left, right)),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|expr| Expr::Not(Box::new(expr))),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| left.and(right)),
            (inner.clone(), inner).prop_map(|(left, right)| left.or(right)),
        ]
    })
}

const WORDS: &[&str] = &[
    "config",
    "menuconfig",
    "choice",
    "endchoice",
    "menu",
    "endmenu",
    "if",
    "endif",
    "source",
    "comment",
    "depends",
    "on",
    "visible",
    "select",
    "imply",
    "default",
    "def_bool",
    "bool",
    "tristate",
    "int",
    "range",
    "prompt",
    "help",
    "option",
    "modules",
    "A",
    "B",
    "y",
    "m",
    "n",
    "7",
    "\"text\"",
    "\"",
    "'",
    "&&",
    "||",
    "!",
    "=",
    "!=",
    "<",
    ">=",
    "(",
    ")",
    "$(",
    "$(cc-option,-x)",
    "$",
    "\\",
    "\n",
    "\n",
    "\n",
    "\n\t",
    "\n        ",
    "#",
    ":=",
    "+=",
    "é",
    "\0",
    "\r",
];

/// Words of the language in any order.
fn soup() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(WORDS), 0..80).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn an_expression_reads_back_as_it_is_shown(expr in random_expression()) {
        prop_assert_eq!(expression(&expr.to_string()), Ok(expr));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_order_of_words_makes_the_parser_panic(text in soup()) {
        let _ = parse(&text);
    }

    #[test]
    fn errors_point_into_the_text(text in soup()) {
        if let Err(TreeError::Syntax { line, .. }) = parse(&text) {
            prop_assert!(line >= 1 && line <= text.split('\n').count());
        }
    }
}
