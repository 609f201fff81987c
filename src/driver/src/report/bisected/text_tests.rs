use insta::assert_snapshot;

use super::*;
use crate::report::bisected::testdata;
use crate::report::columns;

/// What is told of it, and not of one culprit that was confirmed.
fn own(bisected: &Bisected) -> String {
    testdata::own_lines(&of_bisection(bisected), &of_bisection(&testdata::confirmed()))
}

#[test]
fn a_culprit_is_reported_like_this() {
    assert_snapshot!(of_bisection(&testdata::confirmed()), @r#"
    Subject: [REGRESSION] drain_time +640 %: xfrm: Wait for RCU readers d...

    42389d4fa578 ("xfrm: Wait for RCU readers during policy netns exit")
      Zoë Example <zoe@example.org>, 2026-03-01
    is the culprit with 99.7 %: drain_time +640 % (+610 .. +675 %, 95 %), 6
    fresh boots a side.
    Reverted on bad: it changes back (-86 %).
    It explains 98 % of the difference between good and bad.
    100 % of what grew is xfrm_net_exit, most of it waiting for RCU grace
    periods.

    what   netns-teardown/drain[namespaces=200]:drain_time
    level  250.0 ms -> 1.85 s
    good   0c5a7f6e1d22 ("Linux 6.1.190"), 2026-03-01
    bad    b1d0e7aa4c01 ("Linux 6.1.192"), 2026-03-01
    ends   drain_time +645 % (+615 .. +680 %, 95 %), 6 boots a side: 251.0
           ms -> 1.87 s
    how    40 commits searched by probability over their noise, with 0.5 %
           of noise that a build as such adds, 8 measured. The effect is of
           boots that the search did not use.
    on     machine qemu, 2 CPUs, 1 GiB; accelerator tcg; host AMD EPYC 7763;
           compiler gcc 12.2.0
    cost   7 kernels built, 2 from the store, 1 that cannot be built, 58
           boots, 8 steps, 2 h 13 min
    note   `CONFIG_XFRM_STATISTICS` is not there in 3 revisions

    Reproduce with:
    $ kregress bisect --tree '~/linux' --good v6.1.190 --bad v6.1.192 \
        --metric 'netns-teardown/drain[namespaces=200]:drain_time'

    #regzbot introduced: 42389d4fa5780000000000000000000000000000
    "#);
}

#[test]
fn a_class_is_reported_like_this_and_not_handed_to_regzbot() {
    assert_snapshot!(own(&testdata::class()), @r#"
    Subject: [REGRESSION] drain_time +640 %: one of 3 commits
    one of these 3, which cannot be told apart:
      0009e3779b90 ("net: change number 15")
      000a81af1549 ("net: change number 16")
      42389d4fa578 ("xfrm: Wait for RCU readers during policy netns exit")
    one of them is the culprit with 98.0 %: drain_time +640 % (+610 .. +675
    %, 95 %), 6 fresh boots a side.
    Does not revert cleanly on bad: conflicts in net/xfrm/xfrm_policy.c,
    net/core/dev.c.
    "#);
}

#[test]
fn what_is_not_reproduced_accuses_nobody() {
    assert_snapshot!(own(&testdata::not_reproduced()), @r#"
    Subject: kregress bisect: not reproduced: the endpoints do not surely...
    not reproduced: the endpoints do not surely differ.
    The difference of 1.6 % is within the noise of 24 boots a side.
    About 90 boots a side would tell.
    ends   drain_time +1.6 % (-2.0 .. +5.3 %, 95 %), 24 boots a side: 250.0
           ms -> 254.0 ms
           of noise that a build as such adds, 0 measured.
    cost   2 kernels built, 48 boots, 0 steps, 15 min 00 s
    "#);
}

#[test]
fn a_spent_budget_is_reported_like_this() {
    assert_snapshot!(own(&testdata::budget_spent()), @r#"
    Subject: kregress bisect: budget spent: one of 2 commits with 96.0 %
    budget spent: one of 2 commits with 96.0 %.
    The budget is spent before the search came to its end.
    What remains are 2 suspects that together have 96.0 %.
      61.0 %: 42389d4fa578 ("xfrm: Wait for RCU readers during policy netns
      exit")
      35.0 %: 000a81af1549 ("net: change number 16")
           of noise that a build as such adds, 8 measured.
    Go on with:
    $ kregress bisect --resume 20261122-011500-x7d2 --budget MORE
    "#);
}

#[test]
fn two_culprits_are_reported_like_this() {
    assert_snapshot!(own(&testdata::two()), @r#"
    It explains only 42 % of the difference between good and bad.
    and besides it
    7e1fa07c55d0 ("net: sched: flush the qdiscs twice")
    is the culprit with 96.2 %: drain_time +264 % (+249 .. +281 %, 95 %), 12
    Not reverted on bad: the time of the budget is over.
    It explains only 55 % of the difference between good and bad.
    "#);
}

#[test]
fn a_finding_is_reported_like_this() {
    assert_snapshot!(own(&testdata::pass_fail()), @r#"
    Subject: [REGRESSION] KASAN: use-after-free: xfrm: Wait for RCU reade...
    is the culprit with 99.7 %: KASAN: use-after-free seen in 8 of 12 boots,
    without in 0 of 12.
    Reverted on bad: it is gone (seen in 0 of 12 boots).
    what   KASAN: use-after-free in netns-churn/kill-storm
    ends   KASAN: use-after-free seen in 9 of 12 boots, without in 0 of 12
    how    40 commits searched by probability over how often it fails, 8
           measured. The effect is of boots that the search did not use.
    "#);
}

#[test]
fn a_count_is_reported_like_this() {
    assert_snapshot!(own(&testdata::exact()), @r#"
    Subject: [REGRESSION] synchronize_rcu 0 -> 52: xfrm: Wait for RCU rea...
    is the culprit with >99.9 %: synchronize_rcu 0 -> 52, 1 fresh boot a
    side.
    Reverted on bad: it changes back (-100 %).
    what   netns-teardown/slope:synchronize_rcu
    level  0 -> 52
    ends   synchronize_rcu 0 -> 52, 1 boot a side
    how    40 commits bisected; the number does not vary between boots, so
           each was booted once, 6 measured. The effect is of boots that the
           search did not use.
    cost   8 kernels built, 8 boots, 6 steps, 8 min 32 s
    "#);
}

#[test]
fn what_goes_on_is_reported_like_this() {
    assert_snapshot!(own(&testdata::unfinished()), @r#"
    Subject: kregress bisect: unfinished: one of 2 commits with 96.0 %
    unfinished: one of 2 commits with 96.0 %.
    The search has not come to its end.
    What remains are 2 suspects that together have 96.0 %.
      61.0 %: 42389d4fa578 ("xfrm: Wait for RCU readers during policy netns
      exit")
      35.0 %: 000a81af1549 ("net: change number 16")
           of noise that a build as such adds, 8 measured.
    Go on with:
    $ kregress bisect --resume 20261122-011500-x7d2
    "#);
}

#[test]
fn only_what_fresh_boots_confirmed_is_handed_to_regzbot() {
    for (name, it) in testdata::all() {
        let confirmed = matches!(name, "confirmed" | "two");
        assert_eq!(of_bisection(&it).contains("#regzbot introduced: "), confirmed, "{name}");
    }
}

#[test]
fn no_line_is_longer_than_72_columns_but_for_words_of_the_command() {
    for (name, it) in testdata::all() {
        for line in of_bisection(&it).lines().filter(|line| line.contains(' ')) {
            assert!(columns::width(line.trim()) <= 72 || line.starts_with("    "), "{name}: {line}");
        }
    }
}

#[test]
fn people_keep_the_letters_of_their_names() {
    assert!(of_bisection(&testdata::confirmed()).contains("Zoë Example <zoe@example.org>"));
}

#[test]
fn nothing_that_a_commit_says_reaches_a_mail_raw() {
    let text = of_bisection(&testdata::hostile());
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
}
