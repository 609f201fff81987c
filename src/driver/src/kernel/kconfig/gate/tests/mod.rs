//! The gate against small trees written for it.

mod values;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::super::{DotConfig, Fragment, KconfigTree, TreeError, merge};
use super::{GateError, GateReport, Lacking, gate};
use crate::model::FragmentName;

fn fragment(name: &str, lines: &[&str]) -> Fragment {
    let text: String = lines
        .iter()
        .map(|line| match line.split_once(" | ") {
            Some((reason, line)) => format!("# {reason}\n{line}\n"),
            None => format!("# For the test.\n{line}\n"),
        })
        .collect();
    Fragment::parse(FragmentName(name.to_owned()), &text).unwrap()
}

fn parse(kconfig: &str) -> Result<KconfigTree, TreeError> {
    KconfigTree::parse("x86", |_| Ok(kconfig.to_owned()))
}

fn resolved(text: &str) -> DotConfig {
    DotConfig::parse(&format!("# Linux/x86 6.12.117 Kernel Configuration\n{text}")).unwrap()
}

fn run(kconfig: &str, fragments: &[Fragment], config: &str) -> Result<GateReport, GateError> {
    gate(&merge(fragments).unwrap(), &resolved(config), Lacking::Refused, || parse(kconfig))
}

/// The message of a gate that must not let the configuration pass.
fn refused(kconfig: &str, asked: &[&str], config: &str) -> String {
    run(kconfig, &[fragment("links", asked)], config).unwrap_err().to_string()
}

fn unread() -> Result<KconfigTree, TreeError> {
    panic!("the tree is not needed")
}

const MIRROR: &str = "
config SCHED
	bool \"Scheduling\"
config ACTIONS
	bool \"Actions\"
	depends on SCHED
config MIRRED
	tristate \"Mirror\"
	depends on ACTIONS
config FORWARD
	tristate \"Forward\"
	depends on TABLES
config TABLES
	bool \"Tables\"
config IFB
	tristate \"Intermediate block\"
	depends on MIRRED || FORWARD
";

#[test]
fn a_missing_symbol_names_its_unmet_dependency() {
    assert_snapshot!(refused(MIRROR, &["CONFIG_IFB=y"], ""), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_IFB: asked y, got n; depends on MIRRED || FORWARD, of which MIRRED=n and FORWARD=n (kconfigs/links.config:2)
        hint: add `CONFIG_TABLES=y`, `CONFIG_FORWARD=y`
    ");
}

#[test]
fn an_unmet_dependency_that_is_one_symbol_is_said_shortly() {
    assert_snapshot!(refused(MIRROR, &["CONFIG_ACTIONS=y"], ""), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_ACTIONS: asked y, got n; depends on SCHED, which is n (kconfigs/links.config:2)
        hint: add `CONFIG_SCHED=y`
    ");
}

#[test]
fn only_the_terms_that_fail_are_named() {
    let kconfig = "
config A
	bool \"a\"
config B
	bool \"b\"
config C
	bool \"c\"
config D
	bool \"d\"
config X
	bool \"x\"
	depends on A
	depends on (B && C) || D
	depends on !(A && !C)
";
    assert_snapshot!(refused(kconfig, &["CONFIG_X=y"], "CONFIG_A=y\nCONFIG_B=y\n"), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_X: asked y, got n; depends on (B && C) || D, of which C=n and D=n; depends on !(A && !C), of which A=y and C=n (kconfigs/links.config:2)
        hint: add `CONFIG_C=y`
    ");
}

#[test]
fn conditions_of_the_enclosing_menu_and_if_count() {
    let kconfig = "
config A
	bool \"a\"
config B
	bool \"b\"
config C
	bool \"c\"
if A
menu \"m\"
	depends on B
	visible if C
config X
	bool \"x\"
endmenu
endif
";
    assert_snapshot!(refused(kconfig, &["CONFIG_X=y"], ""), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_X: asked y, got n; depends on B, which is n; can be set only if C, which is n; depends on A, which is n (kconfigs/links.config:2)
        hint: add `CONFIG_B=y`, `CONFIG_C=y`, `CONFIG_A=y`
    ");
}

#[test]
fn all_problems_come_at_once_and_sorted() {
    let error = run(
        MIRROR,
        &[fragment("links", &["CONFIG_TABLES=y", "CONFIG_SCHED=y", "CONFIG_FORWARD=y"])],
        "CONFIG_TABLES=y\n",
    )
    .unwrap_err();
    let names: Vec<_> = error.problems().iter().map(|problem| problem.symbol.name()).collect();
    assert_eq!(names, ["FORWARD", "SCHED"]);
}

#[test]
fn an_unknown_symbol_suggests_the_nearest() {
    assert_snapshot!(refused(MIRROR, &["CONFIG_MIRED=y"], ""), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_MIRED: asked y, got n; unknown to this kernel (kconfigs/links.config:2)
        hint: is it `CONFIG_MIRRED`? if only some kernels have it, begin its reason with `optional: since VERSION;`
    ");
}

#[test]
fn an_unknown_symbol_like_no_other_gets_no_suggestion() {
    assert_snapshot!(refused(MIRROR, &["CONFIG_NETKIT=y"], ""), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_NETKIT: asked y, got n; unknown to this kernel (kconfigs/links.config:2)
        hint: check the spelling; if only some kernels have it, begin its reason with `optional: since VERSION;`
    ");
}

#[test]
fn a_misspelt_symbol_that_should_be_off_is_found() {
    assert_snapshot!(refused(MIRROR, &["# CONFIG_TABELS is not set"], ""), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_TABELS: asked n, got n; unknown to this kernel (kconfigs/links.config:2)
        hint: is it `CONFIG_TABLES`? if only some kernels have it, begin its reason with `optional: since VERSION;`
    ");
}

#[test]
fn an_optional_symbol_may_be_unknown_and_is_recorded() {
    let asked = fragment("links", &["CONFIG_SCHED=y", "optional: since 6.7; pairs | CONFIG_NETKIT=y"]);
    let report = run(MIRROR, &[asked], "CONFIG_SCHED=y\n").unwrap();
    assert_eq!(report.kept, 1);
    let absent: Vec<_> =
        report.absent.iter().map(|absent| (absent.symbol.name(), absent.why.to_string())).collect();
    assert_eq!(absent, [("NETKIT", "since 6.7".to_owned())]);
    assert_eq!(report.needs(), Lacking::Refused);
}

#[test]
fn a_symbol_may_be_unknown_where_what_is_lacking_is_recorded() {
    let asked = [
        "CONFIG_SCHED=y",
        "CONFIG_NETKIT=y",
        "# CONFIG_OLD is not set",
        "optional: since 9; x | CONFIG_NEW=y",
    ];
    let asked = merge(&[fragment("links", &asked)]).unwrap();
    let config = resolved("CONFIG_SCHED=y\n");
    let ask = |lacking| gate(&asked, &config, lacking, || parse(MIRROR));
    assert_eq!(ask(Lacking::Refused).unwrap_err().problems().len(), 2);
    let report = ask(Lacking::Recorded).unwrap();
    assert_eq!((report.kept, report.needs()), (1, Lacking::Recorded));
    let absent: Vec<_> =
        report.absent.iter().map(|absent| format!("{}: {}", absent.symbol.name(), absent.why)).collect();
    assert_eq!(absent, ["NETKIT: lacking in this revision", "NEW: since 9", "OLD: lacking in this revision"]);
}

#[test]
fn a_symbol_that_is_known_is_lost_also_where_what_is_lacking_is_recorded() {
    let asked = merge(&[fragment("links", &["CONFIG_ACTIONS=y"])]).unwrap();
    let error = gate(&asked, &resolved(""), Lacking::Recorded, || parse(MIRROR)).unwrap_err();
    assert!(error.to_string().contains("depends on SCHED"), "{error}");
}

#[test]
fn an_optional_symbol_that_should_be_off_may_be_unknown_too() {
    let asked = fragment("links", &["optional: until 6.9; old | # CONFIG_OLD is not set"]);
    let report = run(MIRROR, &[asked], "").unwrap();
    assert_eq!((report.kept, report.absent.len()), (0, 1));
}

#[test]
fn an_optional_symbol_that_is_known_must_survive() {
    let message = refused(MIRROR, &["optional: since 2.6; x | CONFIG_ACTIONS=y"], "");
    assert!(message.contains("depends on SCHED"), "{message}");
}

#[test]
fn a_symbol_that_is_selected_says_by_whom() {
    let kconfig = "
config HELPER
	bool
config USER
	bool \"user\"
	select HELPER
config IDLE
	bool \"idle\"
	select HELPER if USER
config OTHER
	bool \"other\"
	select HELPER if !USER
";
    let config = "CONFIG_HELPER=y\nCONFIG_USER=y\nCONFIG_OTHER=y\n# CONFIG_IDLE is not set\n";
    assert_snapshot!(refused(kconfig, &["# CONFIG_HELPER is not set"], config), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_HELPER: asked n, got y; selected by USER (kconfigs/links.config:2)
        hint: turn off what selects it, or drop `CONFIG_HELPER` from the fragment
    ");
    assert_snapshot!(refused(kconfig, &["# CONFIG_HELPER is not set", "CONFIG_USER=y"], config), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_HELPER: asked n, got y; selected by USER (kconfigs/links.config:2)
        hint: `CONFIG_USER` is asked for at kconfigs/links.config:4: drop one of the two requests
    ");
    assert_snapshot!(refused(kconfig, &["# CONFIG_HELPER is not set", "# CONFIG_USER is not set"], config), @"
    2 symbols did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_HELPER: asked n, got y; selected by USER (kconfigs/links.config:2)
        hint: it needs `# CONFIG_USER is not set` of kconfigs/links.config:4, which is lost as well
      CONFIG_USER: asked n, got y; no reason found in its definition at Kconfig:4 (kconfigs/links.config:4)
        hint: was the configuration resolved from these very fragments?
    ");
}

#[test]
fn a_symbol_without_prompt_says_who_could_select_it() {
    let kconfig = "
config DEBUG
	bool \"debug\"
config LOCKDEP
	bool
	depends on DEBUG
config PROVE
	bool \"prove\"
	depends on DEBUG
	select LOCKDEP
config STATS
	bool \"stats\"
	depends on DEBUG
	select LOCKDEP
";
    assert_snapshot!(refused(kconfig, &["CONFIG_LOCKDEP=y"], "CONFIG_DEBUG=y\n"), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_LOCKDEP: asked y, got n; has no prompt; selected only by PROVE or STATS (kconfigs/links.config:2)
        hint: add `CONFIG_PROVE=y`
    ");
    assert_snapshot!(refused(kconfig, &["CONFIG_LOCKDEP=y"], ""), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_LOCKDEP: asked y, got n; has no prompt; selected only by PROVE or STATS (kconfigs/links.config:2)
        hint: add `CONFIG_DEBUG=y`, `CONFIG_PROVE=y`
    ");
}

#[test]
fn long_lists_of_selectors_are_cut() {
    let users: String =
        (0..9).map(|user| format!("config USER{user}\n\tbool \"u\"\n\tselect HELPER\n")).collect();
    let message = refused(&format!("config HELPER\n\tbool\n{users}"), &["CONFIG_HELPER=y"], "");
    assert!(message.contains("USER0, USER1, USER2, USER3, USER4 and 4 more"), "{message}");
}

#[test]
fn a_symbol_that_is_computed_says_where() {
    let kconfig = "
config HZ_100
	bool \"100\"
config HZ
	int
	default 100 if HZ_100
	default 250
";
    assert_snapshot!(refused(kconfig, &["CONFIG_HZ=1000"], "CONFIG_HZ=250\n"), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_HZ: asked 1000, got 250; has no prompt and nothing selects it: computed at Kconfig:4 (kconfigs/links.config:2)
        hint: drop the line: its value follows from other symbols
    ");
}

#[test]
fn a_hidden_prompt_says_what_would_show_it() {
    let kconfig = "
config EXPERT
	bool \"expert\"
config BLOCK
	bool \"block\" if EXPERT
	default y
";
    let config = "# CONFIG_EXPERT is not set\nCONFIG_BLOCK=y\n";
    assert_snapshot!(refused(kconfig, &["# CONFIG_BLOCK is not set"], config), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_BLOCK: asked n, got y; can be set only if EXPERT, which is n (kconfigs/links.config:2)
        hint: add `CONFIG_EXPERT=y`
    ");
    assert_snapshot!(refused(kconfig, &["# CONFIG_BLOCK is not set", "CONFIG_EXPERT=y"], config), @"
    2 symbols did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_BLOCK: asked n, got y; can be set only if EXPERT, which is n (kconfigs/links.config:2)
        hint: it needs `CONFIG_EXPERT`, which is asked for at kconfigs/links.config:4 and lost as well
      CONFIG_EXPERT: asked y, got n; no reason found in its definition at Kconfig:2 (kconfigs/links.config:4)
        hint: was the configuration resolved from these very fragments?
    ");
}

#[test]
fn symbols_that_exclude_each_other_point_at_both_requests() {
    let kconfig = "
config KASAN
	bool \"kasan\"
config KCSAN
	bool \"kcsan\"
	depends on !KASAN
";
    let fragments = [fragment("kasan", &["CONFIG_KASAN=y"]), fragment("kcsan", &["CONFIG_KCSAN=y"])];
    let error = run(kconfig, &fragments, "CONFIG_KASAN=y\n").unwrap_err();
    assert_snapshot!(error, @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_KCSAN: asked y, got n; depends on !KASAN, of which KASAN=y (kconfigs/kcsan.config:2)
        hint: `CONFIG_KASAN=y` at kconfigs/kasan.config:2 is in the way
    ");
}

#[test]
fn a_symbol_in_the_way_that_nobody_asked_for_is_turned_off() {
    let kconfig = "
config KASAN
	bool \"kasan\"
config KCSAN
	bool \"kcsan\"
	depends on !KASAN
";
    let message = refused(kconfig, &["CONFIG_KCSAN=y"], "CONFIG_KASAN=y\n");
    assert!(message.ends_with("hint: add `# CONFIG_KASAN is not set`"), "{message}");
}

#[test]
fn what_the_compiler_decides_is_not_guessed() {
    let kconfig = "
config CC_HAS_IT
	def_bool $(cc-option,-fit)
config A
	bool \"a\"
	depends on CC_HAS_IT
config B
	bool \"b\"
	depends on $(cc-option,-fb)
";
    assert_snapshot!(refused(kconfig, &["CONFIG_A=y", "CONFIG_B=y"], ""), @"
    2 symbols did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_A: asked y, got n; depends on CC_HAS_IT, which is n (kconfigs/links.config:2)
        hint: `$(cc-option,-fit)` is for the compiler or another tool to tell
      CONFIG_B: asked y, got n; depends on $(cc-option,-fb), which only the build can tell (kconfigs/links.config:4)
        hint: `$(cc-option,-fb)` is for the compiler or another tool to tell
    ");
}

#[test]
fn any_of_several_definitions_will_do() {
    let kconfig = "
config A
	bool \"a\"
config B
	bool \"b\"
config C
	bool \"c\"
config X
	bool \"x\"
	depends on A && B
config X
	bool \"x\"
	depends on C
";
    let message = refused(kconfig, &["CONFIG_X=y"], "");
    assert!(message.contains("depends on C, which is n"), "{message}");
    assert!(message.ends_with("add `CONFIG_C=y`"), "{message}");
}

#[test]
fn a_request_that_is_in_the_way_is_pointed_at() {
    let message =
        refused(MIRROR, &["CONFIG_ACTIONS=y", "# CONFIG_SCHED is not set"], "# CONFIG_SCHED is not set\n");
    assert!(
        message.ends_with("hint: `# CONFIG_SCHED is not set` at kconfigs/links.config:4 is in the way"),
        "{message}"
    );
}

#[test]
fn what_was_overridden_is_told() {
    let fragments = [fragment("base", &["CONFIG_ACTIONS=m"]), fragment("links", &["CONFIG_ACTIONS=y"])];
    let message = run(MIRROR, &fragments, "CONFIG_SCHED=y\n").unwrap_err().to_string();
    assert!(
        message.contains("(kconfigs/links.config:2, overriding m of kconfigs/base.config:2)"),
        "{message}"
    );
}

#[test]
fn symbols_that_depend_on_each_other_end_the_search() {
    let kconfig = "
config A
	bool \"a\"
	depends on B
config B
	bool \"b\"
	depends on A
";
    let message = refused(kconfig, &["CONFIG_A=y"], "");
    assert!(message.ends_with("depends on B, which is n (kconfigs/links.config:2)"), "{message}");
}

#[test]
fn a_tree_that_cannot_be_read_leaves_the_symbols_named() {
    let asked = merge(&[fragment("links", &["CONFIG_A=y"])]).unwrap();
    let error = gate(&asked, &resolved(""), Lacking::Refused, || parse("endif\n")).unwrap_err();
    assert_snapshot!(error, @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_A: asked y, got n (kconfigs/links.config:2)
    why is not known: Kconfig:1: `endif` closes no `if` of this file
    ");
}

#[test]
fn a_tree_that_cannot_be_read_fails_nothing_that_is_as_asked() {
    let asked = merge(&[fragment("links", &["# CONFIG_A is not set", "CONFIG_B=y"])]).unwrap();
    let report = gate(&asked, &resolved("CONFIG_B=y\n"), Lacking::Refused, || parse("endif\n")).unwrap();
    assert_eq!(report.kept, 2);
    assert_snapshot!(report.unverified.unwrap(), @"cannot tell whether `CONFIG_A` exist in this kernel or are misspelt: Kconfig:1: `endif` closes no `if` of this file");
}

#[test]
fn the_tree_is_left_alone_when_everything_is_there() {
    let asked = merge(&[fragment("links", &["CONFIG_A=y", "# CONFIG_B is not set"])]).unwrap();
    let report =
        gate(&asked, &resolved("CONFIG_A=y\n# CONFIG_B is not set\n"), Lacking::Refused, unread).unwrap();
    assert_eq!(report, GateReport { kept: 2, ..GateReport::default() });
}

/// A tree of symbols `S0..S9` with random conditions on each other.
fn random_tree() -> impl Strategy<Value = String> {
    let name = (0_u8..10).prop_map(|index| format!("S{index}"));
    let term = prop_oneof![
        6 => name.clone(),
        1 => Just("y".to_owned()),
        1 => Just("m".to_owned()),
        1 => Just("$(cc-option,-x)".to_owned()),
    ];
    let expr =
        proptest::collection::vec((term, prop_oneof![Just(" && "), Just(" || !"), Just(" && !")]), 1..4)
            .prop_map(|parts| {
                let text: String = parts.iter().map(|(term, sign)| format!("{term}{sign}")).collect();
                format!("{text}S0")
            });
    let kind = prop_oneof![Just("bool"), Just("tristate \"t\""), Just("bool \"b\" if S1"), Just("int \"i\"")];
    let attribute = prop_oneof![
        expr.clone().prop_map(|expr| format!("\tdepends on {expr}\n")),
        (name.clone(), expr.clone()).prop_map(|(name, expr)| format!("\tselect {name} if {expr}\n")),
        expr.prop_map(|expr| format!("\tdefault {expr}\n")),
    ];
    let symbol = (name, kind, proptest::collection::vec(attribute, 0..4))
        .prop_map(|(name, kind, attributes)| format!("config {name}\n\t{kind}\n{}", attributes.concat()));
    proptest::collection::vec(symbol, 1..20).prop_map(|symbols| symbols.concat())
}

proptest! {
    #[test]
    fn whatever_the_tree_every_lost_symbol_is_reported(
        kconfig in random_tree(),
        asked in proptest::collection::btree_map(0_u8..12, prop_oneof![Just("y"), Just("m"), Just("7")], 1..12),
        config in proptest::collection::btree_map(0_u8..12, prop_oneof![Just("y"), Just("m"), Just("7")], 0..12),
    ) {
        let lines: Vec<_> = asked.iter().map(|(index, value)| format!("CONFIG_S{index}={value}")).collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let text: String = config.iter().map(|(index, value)| format!("CONFIG_S{index}={value}\n")).collect();
        let lost = asked.iter().filter(|(index, value)| config.get(*index) != Some(*value)).count();
        match run(&kconfig, &[fragment("links", &lines)], &text) {
            Ok(report) => prop_assert_eq!((lost, report.kept), (0, asked.len())),
            Err(error) => {
                prop_assert_eq!(error.problems().len(), lost);
                prop_assert!(error.problems().iter().all(|problem| problem.cause.is_some()));
            }
        }
    }
}
