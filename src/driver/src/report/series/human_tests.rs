use super::*;
use crate::report::series::testdata;

fn text(checked: &Checked) -> String {
    let mut out = Vec::new();
    write(checked, Look::PLAIN, &mut out).expect("written");
    String::from_utf8(out).expect("utf-8")
}

#[test]
fn a_series_with_one_of_each_kind() {
    insta::assert_snapshot!(text(&testdata::six()), @"
    broken at 2/6, 5/6 and 6/6; broken at 3/6, repaired by 4/6
    net: faster teardown

      base  aaaaaaaaaaaa Linux 6.12
            built in 4 min 01 s; 2 passed
      1/6   111111111111 net: say what the list holds
            built in 12 s; same image as base, whose boots stand for it
    ✗ 2/6   222222222222 vlan: look at the id once
            built in 12 s; 2 passed
            new warning: net/8021q/vlan.c:214: unused variable 'id'
            [-Wunused-variable]
    ! 3/6   333333333333 dummy: count what is dropped
            failed after 4.1 s
            does not build: drivers/net/dummy.c:61: 'struct dummy_stats' has no
            member named 'drops'; repaired by 4/6
                61 |  stats->drops++;
            full log: /cache/logs/patch-3.log
      4/6   444444444444 dummy: add the counter
            built in 12 s; 2 passed
            repairs: the build of 3/6
    ✗ 5/6   555555555555 ipv6: fib: wait for readers
            built in 12 s; 2 passed
            smoke/netns-drain[namespaces=10]:drain_time: 15.1 ms to 56.0 ms, x3.71,
            with >99.9 %
            and 1 more metric is worse, see base against tip
    ✗ 6/6   666666666666 net: nsid without notifications
            built in 12 s; 1 failed, 1 passed
            smoke/nsid-notify fails: no RTM_DELNSID for 4 of 4 ids

    base against tip: regressed: 2 worse, 1 not known yet, 5 unchanged
    ✗ smoke/netns-drain[namespaces=10]:drain_time
        15.1 ms to 56.0 ms, x3.71 (x3.50 to x3.90, by chance below 1 in 1000, 6+6
        boots)
        5/6 is the culprit with >99.9 %: drain_time +271 % (+250 .. +290 %, 95 %), 6
        fresh boots a side
    ✗ smoke/netns-drain[namespaces=1]:drain_time
        15.1 ms to 56.0 ms, x3.71 (x3.50 to x3.90, by chance below 1 in 1000, 6+6
        boots)
        see smoke/netns-drain[namespaces=10]:drain_time

    checked in 12 min 34 s
    results: /w/results/series/20261122-101500-k3f9
    ");
}

#[test]
fn a_series_of_which_nothing_is_wrong() {
    insta::assert_snapshot!(text(&testdata::good()), @"
    good: all patches apply, build without a new warning, boot, and fail no test
    that passed before, and the last is not slower than the base
    net: faster teardown

      base  aaaaaaaaaaaa Linux 6.12
            built in 4 min 01 s; 2 passed
      1/2   111111111111 net: a
            built in 12 s; 2 passed
      2/2   222222222222 net: b
            built in 12 s; 2 passed

    base against tip: unchanged in 7 metrics

    checked in 12 min 34 s
    results: /w/results/series/20261122-101500-k3f9
    ");
}

#[test]
fn what_one_patch_breaks_and_the_next_repairs() {
    insta::assert_snapshot!(text(&testdata::repaired()), @"
    broken at 1/2, repaired by 2/2
    net: faster teardown

      base  aaaaaaaaaaaa Linux 6.12
            built in 4 min 01 s; 2 passed
    ! 1/2   111111111111 net: a
            built in 12 s; 1 failed
            smoke/nsid-notify fails: no RTM_DELNSID for 4 of 4 ids; repaired by 2/2
              left 4
              right 0
      2/2   222222222222 net: b
            built in 12 s; 2 passed
            repairs: smoke/nsid-notify of 1/2

    base against tip: unchanged in 7 metrics

    checked in 12 min 34 s
    results: /w/results/series/20261122-101500-k3f9
    ");
}

#[test]
fn a_patch_that_does_not_apply() {
    insta::assert_snapshot!(text(&testdata::refused()), @"
    broken at 2/3
    net: faster teardown

      base  aaaaaaaaaaaa Linux 6.12
            built in 4 min 01 s; 2 passed
      1/3   111111111111 net: a
            built in 12 s; 2 passed
    ✗ 2/3   net: b
            does not apply: `net/core/dev.c`: patch does not apply: `@@ -1,3 +1,4 @@
            int x`
            hint: everything in it is in the tree already: is the base too new?
    ? 3/3   net: c
            not reached: one before it does not apply

    base against tip: not measured: the last patch has no kernel

    checked in 12 min 34 s
    results: /w/results/series/20261122-101500-k3f9
    ");
}

#[test]
fn what_the_harness_did_not_see_and_what_is_no_patchs_fault() {
    insta::assert_snapshot!(text(&testdata::murky()), @"
    error: the harness or its host failed, and no patch is known to be wrong
    net: faster teardown

      base  aaaaaaaaaaaa Linux 6.12
            built in 4 min 01 s; 1 failed, 2 passed
            before the first patch: smoke/tcp fails: EFAULT, want EINVAL
      1/2   111111111111 net: a
            built in 12 s; 1 failed, 1 flaky, 1 passed
            whether it warns of anything new is not known: its kernel was built by
            an older kregress
            flaky: smoke/nsid-notify failed in 1 of 2 boots: no RTM_NEWNSID
    ? 2/2   222222222222 net: b
            built in 12 s; 1 failed, 1 with errors, 1 passed
            not known: lost: QEMU was killed by signal 9
            not known: smoke/nsid-notify: the guest went away

    base against tip: not measured: none of the tests has a number that decides

    note: cover.mbox, mail 3, `Re: x`, is an answer, and left out
    checked in 12 min 34 s
    results: /w/results/series/20261122-101500-k3f9
    ");
}

#[test]
fn no_line_is_wider_than_the_screen_and_none_acts_on_it() {
    for (name, checked) in testdata::all() {
        for width in [60, 80, 120] {
            let mut out = Vec::new();
            write(&checked, Look { width, ..Look::PLAIN }, &mut out).expect("written");
            let text = String::from_utf8(out).expect("utf-8");
            let lines =
                text.lines().filter(|line| !line.starts_with("results: ") && !line.contains("full log: "));
            for line in lines {
                assert!(columns::width(line) <= width, "{name}, {width}: {line}");
            }
            assert!(!text.contains(['\u{1b}', '\u{202e}', '\r']), "{name}");
        }
    }
}
