use insta::assert_snapshot;

use super::*;
use crate::report::bisected::testdata;
use crate::report::look::Colour;

fn show(bisected: &Bisected, look: Look) -> String {
    let mut bytes = Vec::new();
    write(bisected, look, &mut bytes).expect("written");
    String::from_utf8(bytes).expect("utf-8")
}

fn plain(bisected: &Bisected) -> String {
    show(bisected, Look::PLAIN)
}

/// What is told of it, and not of one culprit that was confirmed.
fn own(bisected: &Bisected) -> String {
    testdata::own_lines(&plain(bisected), &plain(&testdata::confirmed()))
}

#[test]
fn a_culprit_that_was_confirmed_and_reverted_stands_first() {
    assert_snapshot!(plain(&testdata::confirmed()), @"
    42389d4fa578 xfrm: Wait for RCU readers during policy netns exit
      Zoë Example <zoe@example.org>, 2026-03-01
    is the culprit with 99.7 %: drain_time +640 % (+610 .. +675 %, 95 %), 6 fresh
    boots a side
    reverted on bad: it changes back (-86 %)
    it explains 98 % of the difference between good and bad
    100 % of what grew is xfrm_net_exit, most of it waiting for RCU grace periods

    netns-teardown/drain[namespaces=200]:drain_time
      good  0c5a7f6e1d22 Linux 6.1.190, 2026-03-01
      bad   b1d0e7aa4c01 Linux 6.1.192, 2026-03-01
            drain_time +645 % (+615 .. +680 %, 95 %), 6 boots a side: 251.0 ms →
            1.87 s

      commit        boots     came to  probable  subject
      00031715609d      3    250.0 ms    <0.1 %  net: change number 4
      0006cc623af3      3    250.0 ms    <0.1 %  net: change number 10
      0009e3779b90      3    250.0 ms    <0.1 %  net: change number 15
      000a81af1549      3    250.0 ms     0.3 %  net: change number 16
    > 42389d4fa578      3      1.85 s    99.7 %  xfrm: Wait for RCU readers during …
      000bbe1e08bb          set aside    <0.1 %  net: change number 18
      000c5c558274      3      1.85 s    <0.1 %  net: change number 19
      000cfa8cfc2d         same image    <0.1 %  net: change number 20
      00128a8043ae      3      1.85 s    <0.1 %  net: change number 29
      0018b8ab04e8      3      1.85 s    <0.1 %  net: change number 39

    cost:  7 kernels built, 2 from the store, 1 that cannot be built, 58 boots, 8
           steps, 2 h 13 min
    note:  `CONFIG_XFRM_STATISTICS` is not there in 3 revisions
    session: /data/results/20261122-011500-x7d2
    Reproduce with:
      kregress bisect --tree '~/linux' --good v6.1.190 --bad v6.1.192 --metric 'netns-teardown/drain[namespaces=200]:drain_time'
    ");
}

#[test]
fn a_class_of_commits_is_named_whole() {
    assert_snapshot!(own(&testdata::class()), @"
    one of these 3, which cannot be told apart:
      0009e3779b90 net: change number 15
      000a81af1549 net: change number 16
      42389d4fa578 xfrm: Wait for RCU readers during policy netns exit
    one of them is the culprit with 98.0 %: drain_time +640 % (+610 .. +675 %, 95
    %), 6 fresh boots a side
    does not revert cleanly on bad: conflicts in net/xfrm/xfrm_policy.c,
    net/core/dev.c
    > 0009e3779b90          set aside    30.0 %  net: change number 15
    > 000a81af1549          set aside    30.0 %  net: change number 16
    > 42389d4fa578      3      1.85 s    38.0 %  xfrm: Wait for RCU readers during …
    ");
}

#[test]
fn what_is_not_reproduced_says_how_many_boots_would_tell() {
    assert_snapshot!(own(&testdata::not_reproduced()), @"
    not reproduced: the endpoints do not surely differ
    the difference of 1.6 % is within the noise of 24 boots a side
    about 90 boots a side would tell
            drain_time +1.6 % (-2.0 .. +5.3 %, 95 %), 24 boots a side: 250.0 ms →
            254.0 ms
    cost:  2 kernels built, 48 boots, 0 steps, 15 min 00 s
    ");
}

#[test]
fn a_spent_budget_leaves_the_suspects_and_the_way_on() {
    assert_snapshot!(own(&testdata::budget_spent()), @"
    budget spent: one of 2 commits with 96.0 %
    the budget is spent before the search came to its end
    what remains are 2 suspects that together have 96.0 %
       61.0 %  42389d4fa578 xfrm: Wait for RCU readers during policy netns exit
       35.0 %  000a81af1549 net: change number 16
      000a81af1549      3    250.0 ms    35.0 %  net: change number 16
      42389d4fa578      3      1.85 s    61.0 %  xfrm: Wait for RCU readers during …
    Go on with:
      kregress bisect --resume 20261122-011500-x7d2 --budget MORE
    ");
}

#[test]
fn two_culprits_stand_one_behind_the_other() {
    assert_snapshot!(own(&testdata::two()), @"
    it explains only 42 % of the difference between good and bad
    and besides it
    7e1fa07c55d0 net: sched: flush the qdiscs twice
    is the culprit with 96.2 %: drain_time +264 % (+249 .. +281 %, 95 %), 12 fresh
    not reverted on bad: the time of the budget is over
    it explains only 55 % of the difference between good and bad
      00128a8043ae      3      1.85 s     3.8 %  net: change number 29
    > 7e1fa07c55d0                       96.2 %  net: sched: flush the qdiscs twice
    ");
}

#[test]
fn of_a_finding_it_is_told_how_often_it_was_seen() {
    assert_snapshot!(own(&testdata::pass_fail()), @"
    is the culprit with 99.7 %: KASAN: use-after-free seen in 8 of 12 boots, without
    in 0 of 12
    reverted on bad: it is gone (seen in 0 of 12 boots)
    KASAN: use-after-free in netns-churn/kill-storm
            KASAN: use-after-free seen in 9 of 12 boots, without in 0 of 12
      commit        boots      came to  probable  subject
      00031715609d      3  0 of 3 seen    <0.1 %  net: change number 4
      0006cc623af3      3  0 of 3 seen    <0.1 %  net: change number 10
      0009e3779b90      3  0 of 3 seen    <0.1 %  net: change number 15
      000a81af1549      3  0 of 3 seen     0.3 %  net: change number 16
    > 42389d4fa578      3  2 of 3 seen    99.7 %  xfrm: Wait for RCU readers during…
      000bbe1e08bb           set aside    <0.1 %  net: change number 18
      000c5c558274      3  2 of 3 seen    <0.1 %  net: change number 19
      000cfa8cfc2d          same image    <0.1 %  net: change number 20
      00128a8043ae      3  2 of 3 seen    <0.1 %  net: change number 29
      0018b8ab04e8      3  2 of 3 seen    <0.1 %  net: change number 39
    ");
}

#[test]
fn a_number_that_does_not_vary_has_no_interval() {
    assert_snapshot!(own(&testdata::exact()), @"
    is the culprit with >99.9 %: synchronize_rcu 0 → 52, 1 fresh boot a side
    reverted on bad: it changes back (-100 %)
    netns-teardown/slope:synchronize_rcu
            synchronize_rcu 0 → 52, 1 boot a side
      00031715609d      1           0    <0.1 %  net: change number 4
      0006cc623af3      1           0    <0.1 %  net: change number 10
      0009e3779b90      1           0    <0.1 %  net: change number 15
      000a81af1549      1           0     0.3 %  net: change number 16
    > 42389d4fa578      1          52    99.7 %  xfrm: Wait for RCU readers during …
      000c5c558274      1          52    <0.1 %  net: change number 19
      00128a8043ae      1          52    <0.1 %  net: change number 29
      0018b8ab04e8      1          52    <0.1 %  net: change number 39
    cost:  8 kernels built, 8 boots, 6 steps, 8 min 32 s
    ");
}

#[test]
fn what_was_cut_off_says_how_to_go_on() {
    assert_snapshot!(own(&testdata::unfinished()), @"
    unfinished: one of 2 commits with 96.0 %
    the search has not come to its end
    what remains are 2 suspects that together have 96.0 %
       61.0 %  42389d4fa578 xfrm: Wait for RCU readers during policy netns exit
       35.0 %  000a81af1549 net: change number 16
      000a81af1549      3    250.0 ms    35.0 %  net: change number 16
      42389d4fa578      3      1.85 s    61.0 %  xfrm: Wait for RCU readers during …
    ahead: about 2 kernels, 14 boots, 21 min 00 s
    Go on with:
      kregress bisect --resume 20261122-011500-x7d2
    ");
}

#[test]
fn what_is_not_confirmed_does_not_blame() {
    assert_snapshot!(own(&testdata::not_confirmed()), @"
    is where the search ended (with 99.7 %), but fresh boots do not confirm it: the
    two do not differ as the endpoints do (drain_time +2.4 % (-1.7 .. +7.2 %, 95 %),
    12 fresh boots a side); it is not established that it changes anything
    ");
}

#[test]
fn a_commit_that_changes_nothing_is_called_that() {
    assert_snapshot!(own(&testdata::no_op()), @"
    is where the search ended (with 99.7 %), but the kernel is the same image with
    and without it: something else makes the difference
    ");
}

#[test]
fn no_line_is_wider_than_the_screen_but_for_what_is_copied() {
    for (name, it) in testdata::all() {
        for width in [60, 80, 120] {
            let text = show(&it, Look { width, ..Look::PLAIN });
            for line in text.lines().take_while(|line| !line.starts_with("session: ")) {
                assert!(columns::width(line) <= width, "{name}: {line}");
            }
        }
    }
}

#[test]
fn colours_are_all_that_differs() {
    let it = testdata::confirmed();
    let coloured = show(&it, Look { colour: Colour::Always, ..Look::PLAIN });
    assert_ne!(coloured, plain(&it));
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain(&it));
}

#[test]
fn nothing_that_a_commit_says_reaches_a_terminal_raw() {
    let text = plain(&testdata::hostile());
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains(" ::error"), "{text}");
}
