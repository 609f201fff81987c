//! Choices, numbers, modules and types.

use insta::assert_snapshot;

use super::super::super::merge;
use super::{Lacking, MIRROR, fragment, gate, refused, resolved, run, unread};

#[test]
fn the_winner_of_a_choice_is_named() {
    let kconfig = "
choice
	prompt \"Preemption\"
	default NONE
config NONE
	bool \"none\"
config VOLUNTARY
	bool \"voluntary\"
config FULL
	bool \"full\"
endchoice
";
    let fragments = [fragment("base", &["CONFIG_VOLUNTARY=y"]), fragment("full", &["CONFIG_FULL=y"])];
    let config = "# CONFIG_NONE is not set\nCONFIG_VOLUNTARY=y\n# CONFIG_FULL is not set\n";
    assert_snapshot!(run(kconfig, &fragments, config).unwrap_err(), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_FULL: asked y, got n; VOLUNTARY of the same choice is y (kconfigs/full.config:2)
        hint: `CONFIG_VOLUNTARY` is asked for at kconfigs/base.config:2: override it with `# CONFIG_VOLUNTARY is not set`
    ");
    let config = "CONFIG_NONE=y\n# CONFIG_VOLUNTARY is not set\n# CONFIG_FULL is not set\n";
    assert_snapshot!(refused(kconfig, &["# CONFIG_NONE is not set"], config), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_NONE: asked n, got y; one member of its choice has to be y (kconfigs/links.config:2)
        hint: ask for another member of the choice
    ");
}

#[test]
fn a_hint_does_not_ask_for_two_members_of_a_choice() {
    let kconfig = "
choice
	prompt \"Preemption\"
config VOLUNTARY
	bool \"voluntary\"
config FULL
	bool \"full\"
endchoice
config LATENCY
	bool \"latency\"
	depends on FULL
";
    let config = "CONFIG_VOLUNTARY=y\n# CONFIG_FULL is not set\n";
    let message = refused(kconfig, &["CONFIG_LATENCY=y"], config);
    assert!(message.ends_with("hint: add `CONFIG_FULL=y`"), "{message}");
    let message = refused(kconfig, &["CONFIG_LATENCY=y", "CONFIG_VOLUNTARY=y"], config);
    assert!(
        message.ends_with("hint: `CONFIG_VOLUNTARY=y` at kconfigs/links.config:4 is in the way"),
        "{message}"
    );
}

#[test]
fn a_number_out_of_range_says_the_range() {
    let kconfig = "
config BIG
	bool \"big\"
config LIMIT
	int
	default 512
config CPUS
	int \"cpus\"
	range 2 8192 if BIG
	range 2 LIMIT
";
    let message = refused(kconfig, &["CONFIG_CPUS=9000"], "CONFIG_CPUS=512\nCONFIG_LIMIT=512\n");
    assert_snapshot!(message, @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_CPUS: asked 9000, got 512; its range is 2 to 512 (kconfigs/links.config:2)
        hint: ask for a value within its range
    ");
}

#[test]
fn numbers_compare_by_value() {
    let asked = fragment("links", &["CONFIG_A=0x00fF", "CONFIG_B=007", "CONFIG_C=\"a \\\"b\\\"\""]);
    let config = resolved("CONFIG_A=0xff\nCONFIG_B=7\nCONFIG_C=\"a \\\"b\\\"\"\n");
    assert_eq!(gate(&merge(&[asked]).unwrap(), &config, Lacking::Refused, unread).unwrap().kept, 3);
}

#[test]
fn another_number_than_asked_is_a_miss() {
    let kconfig = "config A\n\tint \"a\"\n";
    let message = refused(kconfig, &["CONFIG_A=21"], "CONFIG_A=60\n");
    assert!(message.contains("CONFIG_A: asked 21, got 60; no reason found"), "{message}");
}

#[test]
fn not_set_and_absent_are_equal() {
    let asked = [fragment("links", &["# CONFIG_SCHED is not set"])];
    assert_eq!(run(MIRROR, &asked, "").unwrap().kept, 1);
    let config = resolved("# CONFIG_SCHED is not set\n");
    assert_eq!(gate(&merge(&asked).unwrap(), &config, Lacking::Refused, unread).unwrap().kept, 1);
}

#[test]
fn a_module_is_not_built_in() {
    let kconfig = "
config MODULES
	bool \"modules\"
	modules
config LOWER
	tristate \"lower\"
config UPPER
	tristate \"upper\"
	depends on LOWER
";
    let config = "CONFIG_MODULES=y\nCONFIG_LOWER=m\nCONFIG_UPPER=m\n";
    assert_snapshot!(refused(kconfig, &["CONFIG_UPPER=y"], config), @"
    1 symbol did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_UPPER: asked y, got m; depends on LOWER, which is m (kconfigs/links.config:2)
        hint: add `CONFIG_LOWER=y`
    ");
}

#[test]
fn a_bool_needs_no_more_than_a_module() {
    let kconfig = "
config MODULES
	bool \"modules\"
	modules
config LOWER
	tristate \"lower\"
config OTHER
	bool \"other\"
config UPPER
	bool \"upper\"
	depends on LOWER
	depends on OTHER
";
    let message = refused(kconfig, &["CONFIG_UPPER=y"], "CONFIG_MODULES=y\nCONFIG_LOWER=m\n");
    assert!(message.contains("depends on OTHER, which is n (kconfigs"), "{message}");
    assert!(!message.contains("LOWER"), "{message}");
}

#[test]
fn a_module_needs_a_kernel_with_modules() {
    let kconfig = "
config MODULES
	bool \"modules\"
	modules
config DRIVER
	tristate \"driver\"
config PROBE
	tristate \"probe\"
	depends on m
";
    let config = "# CONFIG_MODULES is not set\nCONFIG_DRIVER=y\n";
    assert_snapshot!(refused(kconfig, &["CONFIG_DRIVER=m", "CONFIG_PROBE=m"], config), @"
    2 symbols did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_DRIVER: asked m, got y; this kernel has no modules (kconfigs/links.config:2)
        hint: ask for y, or add `CONFIG_MODULES=y`
      CONFIG_PROBE: asked m, got n; depends on m, of which MODULES=n (kconfigs/links.config:4)
        hint: add `CONFIG_MODULES=y`
    ");
}

#[test]
fn a_value_of_another_type_is_told_apart() {
    let kconfig = "
config A
	bool \"a\"
config B
	int \"b\"
config C
	string \"c\"
config D
	hex \"d\"
";
    let asked = ["CONFIG_A=m", "CONFIG_B=y", "CONFIG_C=1", "CONFIG_D=4096"];
    let config = "# CONFIG_A is not set\nCONFIG_B=0\nCONFIG_C=\"\"\nCONFIG_D=0x0\n";
    assert_snapshot!(refused(kconfig, &asked, config), @r#"
    4 symbols did not come out as asked from Linux 6.12.117 (x86):
      CONFIG_A: asked m, got n; its type is bool (kconfigs/links.config:2)
        hint: ask for y or `is not set`: it cannot be a module
      CONFIG_B: asked y, got 0; its type is int (kconfigs/links.config:4)
        hint: ask for a decimal number
      CONFIG_C: asked 1, got ""; its type is string (kconfigs/links.config:6)
        hint: ask for a string in double quotes
      CONFIG_D: asked 4096, got 0x0; its type is hex (kconfigs/links.config:8)
        hint: ask for a number that begins with 0x
    "#);
}
