use insta::assert_snapshot;

use super::*;
use crate::report::bisected::testdata;
use crate::report::markdown::tests::outside_of_code;

/// What is told of it, and not of one culprit that was confirmed.
fn own(bisected: &Bisected) -> String {
    testdata::own_lines(&of_bisection(bisected), &of_bisection(&testdata::confirmed()))
}

#[test]
fn a_culprit_reads_like_this() {
    assert_snapshot!(of_bisection(&testdata::confirmed()), @"
    ## ✓ Found

    `netns-teardown/drain[namespaces=200]:drain_time`

    - **`42389d4fa578 xfrm: Wait for RCU readers during policy netns exit`** `Zoë Example <zoe@example.org>, 2026-03-01`

    - `is the culprit with 99.7 %: drain_time +640 % (+610 .. +675 %, 95 %), 6 fresh boots a side`
    - `reverted on bad: it changes back (-86 %)`
    - `it explains 98 % of the difference between good and bad`
    - `100 % of what grew is xfrm_net_exit, most of it waiting for RCU grace periods`

    Good `0c5a7f6e1d22 Linux 6.1.190`, bad `b1d0e7aa4c01 Linux 6.1.192`: `drain_time +645 % (+615 .. +680 %, 95 %), 6 boots a side: 251.0 ms → 1.87 s`.

    | commit | boots | came to | probable | subject |
    |---|--:|--:|--:|---|
    | `00031715609d` | 3 | 250.0 ms | <0.1 % | `net: change number 4` |
    | `0006cc623af3` | 3 | 250.0 ms | <0.1 % | `net: change number 10` |
    | `0009e3779b90` | 3 | 250.0 ms | <0.1 % | `net: change number 15` |
    | `000a81af1549` | 3 | 250.0 ms | 0.3 % | `net: change number 16` |
    | **`42389d4fa578`** | 3 | 1.85 s | 99.7 % | `xfrm: Wait for RCU readers during policy netns exit` |
    | `000bbe1e08bb` |  | set aside | <0.1 % | `net: change number 18` |
    | `000c5c558274` | 3 | 1.85 s | <0.1 % | `net: change number 19` |
    | `000cfa8cfc2d` |  | same image | <0.1 % | `net: change number 20` |
    | `00128a8043ae` | 3 | 1.85 s | <0.1 % | `net: change number 29` |
    | `0018b8ab04e8` | 3 | 1.85 s | <0.1 % | `net: change number 39` |

    40 commits searched by probability over their noise, with 0.5 % of noise that a build as such adds, 8 measured. The effect is of boots that the search did not use. 7 kernels built, 2 from the store, 1 that cannot be built, 58 boots, 8 steps, 2 h 13 min.

    **Notes:**

    - `` `CONFIG_XFRM_STATISTICS` is not there in 3 revisions ``

    Reproduce with:

    ```text
    kregress bisect --tree '~/linux' --good v6.1.190 --bad v6.1.192 --metric 'netns-teardown/drain[namespaces=200]:drain_time'
    ```

    <details><summary>Environment</summary>

    | | |
    |---|---|
    | `machine` | `qemu, 2 CPUs, 1 GiB` |
    | `accelerator` | `tcg` |
    | `host` | `AMD EPYC 7763` |
    | `compiler` | `gcc 12.2.0` |

    </details>
    ");
}

#[test]
fn a_class_reads_like_this() {
    assert_snapshot!(own(&testdata::class()), @"
    One of these 3, which cannot be told apart:
    - **`0009e3779b90 net: change number 15`** `Zoë Example <zoe@example.org>, 2026-03-01`
    - **`000a81af1549 net: change number 16`** `Zoë Example <zoe@example.org>, 2026-03-01`
    - `one of them is the culprit with 98.0 %: drain_time +640 % (+610 .. +675 %, 95 %), 6 fresh boots a side`
    - `does not revert cleanly on bad: conflicts in net/xfrm/xfrm_policy.c, net/core/dev.c`
    | **`0009e3779b90`** |  | set aside | 30.0 % | `net: change number 15` |
    | **`000a81af1549`** |  | set aside | 30.0 % | `net: change number 16` |
    | **`42389d4fa578`** | 3 | 1.85 s | 38.0 % | `xfrm: Wait for RCU readers during policy netns exit` |
    ");
}

#[test]
fn what_is_not_reproduced_reads_like_this() {
    assert_snapshot!(own(&testdata::not_reproduced()), @"
    ## ? Not reproduced
    `the endpoints do not surely differ`
    - `the difference of 1.6 % is within the noise of 24 boots a side`
    - `about 90 boots a side would tell`
    Good `0c5a7f6e1d22 Linux 6.1.190`, bad `b1d0e7aa4c01 Linux 6.1.192`: `drain_time +1.6 % (-2.0 .. +5.3 %, 95 %), 24 boots a side: 250.0 ms → 254.0 ms`.
    40 commits searched by probability over their noise, with 0.5 % of noise that a build as such adds, 0 measured. 2 kernels built, 48 boots, 0 steps, 15 min 00 s.
    ");
}

#[test]
fn a_spent_budget_reads_like_this() {
    assert_snapshot!(own(&testdata::budget_spent()), @"
    ## ? Budget spent
    `one of 2 commits with 96.0 %`
    - `the budget is spent before the search came to its end`
    - `what remains are 2 suspects that together have 96.0 %`
    | probable | suspect |
    |--:|---|
    | 61.0 % | `42389d4fa578 xfrm: Wait for RCU readers during policy netns exit` |
    | 35.0 % | `000a81af1549 net: change number 16` |
    | `000a81af1549` | 3 | 250.0 ms | 35.0 % | `net: change number 16` |
    | `42389d4fa578` | 3 | 1.85 s | 61.0 % | `xfrm: Wait for RCU readers during policy netns exit` |
    40 commits searched by probability over their noise, with 0.5 % of noise that a build as such adds, 8 measured. 7 kernels built, 2 from the store, 1 that cannot be built, 58 boots, 8 steps, 2 h 13 min.
    Go on with:
    kregress bisect --resume 20261122-011500-x7d2 --budget MORE
    ");
}

#[test]
fn two_culprits_read_like_this() {
    assert_snapshot!(own(&testdata::two()), @"
    - `it explains only 42 % of the difference between good and bad`
    - **`7e1fa07c55d0 net: sched: flush the qdiscs twice`** `Zoë Example <zoe@example.org>, 2026-03-01`
    - `is the culprit with 96.2 %: drain_time +264 % (+249 .. +281 %, 95 %), 12 fresh boots a side`
    - `not reverted on bad: the time of the budget is over`
    - `it explains only 55 % of the difference between good and bad`
    | `00128a8043ae` | 3 | 1.85 s | 3.8 % | `net: change number 29` |
    | **`7e1fa07c55d0`** |  |  | 96.2 % | `net: sched: flush the qdiscs twice` |
    ");
}

#[test]
fn a_finding_reads_like_this() {
    assert_snapshot!(own(&testdata::pass_fail()), @"
    `KASAN: use-after-free in netns-churn/kill-storm`
    - `is the culprit with 99.7 %: KASAN: use-after-free seen in 8 of 12 boots, without in 0 of 12`
    - `reverted on bad: it is gone (seen in 0 of 12 boots)`
    Good `0c5a7f6e1d22 Linux 6.1.190`, bad `b1d0e7aa4c01 Linux 6.1.192`: `KASAN: use-after-free seen in 9 of 12 boots, without in 0 of 12`.
    | `00031715609d` | 3 | 0 of 3 seen | <0.1 % | `net: change number 4` |
    | `0006cc623af3` | 3 | 0 of 3 seen | <0.1 % | `net: change number 10` |
    | `0009e3779b90` | 3 | 0 of 3 seen | <0.1 % | `net: change number 15` |
    | `000a81af1549` | 3 | 0 of 3 seen | 0.3 % | `net: change number 16` |
    | **`42389d4fa578`** | 3 | 2 of 3 seen | 99.7 % | `xfrm: Wait for RCU readers during policy netns exit` |
    | `000c5c558274` | 3 | 2 of 3 seen | <0.1 % | `net: change number 19` |
    | `00128a8043ae` | 3 | 2 of 3 seen | <0.1 % | `net: change number 29` |
    | `0018b8ab04e8` | 3 | 2 of 3 seen | <0.1 % | `net: change number 39` |
    40 commits searched by probability over how often it fails, 8 measured. The effect is of boots that the search did not use. 7 kernels built, 2 from the store, 1 that cannot be built, 58 boots, 8 steps, 2 h 13 min.
    ");
}

#[test]
fn a_count_reads_like_this() {
    assert_snapshot!(own(&testdata::exact()), @"
    `netns-teardown/slope:synchronize_rcu`
    - `is the culprit with >99.9 %: synchronize_rcu 0 → 52, 1 fresh boot a side`
    - `reverted on bad: it changes back (-100 %)`
    Good `0c5a7f6e1d22 Linux 6.1.190`, bad `b1d0e7aa4c01 Linux 6.1.192`: `synchronize_rcu 0 → 52, 1 boot a side`.
    | `00031715609d` | 1 | 0 | <0.1 % | `net: change number 4` |
    | `0006cc623af3` | 1 | 0 | <0.1 % | `net: change number 10` |
    | `0009e3779b90` | 1 | 0 | <0.1 % | `net: change number 15` |
    | `000a81af1549` | 1 | 0 | 0.3 % | `net: change number 16` |
    | **`42389d4fa578`** | 1 | 52 | 99.7 % | `xfrm: Wait for RCU readers during policy netns exit` |
    | `000c5c558274` | 1 | 52 | <0.1 % | `net: change number 19` |
    | `00128a8043ae` | 1 | 52 | <0.1 % | `net: change number 29` |
    | `0018b8ab04e8` | 1 | 52 | <0.1 % | `net: change number 39` |
    40 commits bisected; the number does not vary between boots, so each was booted once, 6 measured. The effect is of boots that the search did not use. 8 kernels built, 8 boots, 6 steps, 8 min 32 s.
    ");
}

#[test]
fn what_goes_on_reads_like_this() {
    assert_snapshot!(own(&testdata::unfinished()), @"
    ## … Unfinished
    `one of 2 commits with 96.0 %`
    - `the search has not come to its end`
    - `what remains are 2 suspects that together have 96.0 %`
    | probable | suspect |
    |--:|---|
    | 61.0 % | `42389d4fa578 xfrm: Wait for RCU readers during policy netns exit` |
    | 35.0 % | `000a81af1549 net: change number 16` |
    | `000a81af1549` | 3 | 250.0 ms | 35.0 % | `net: change number 16` |
    | `42389d4fa578` | 3 | 1.85 s | 61.0 % | `xfrm: Wait for RCU readers during policy netns exit` |
    40 commits searched by probability over their noise, with 0.5 % of noise that a build as such adds, 8 measured. 7 kernels built, 2 from the store, 1 that cannot be built, 58 boots, 8 steps, 2 h 13 min.
    Go on with:
    kregress bisect --resume 20261122-011500-x7d2
    ");
}

#[test]
fn what_others_wrote_stands_in_code_only() {
    let text = of_bisection(&testdata::hostile());
    let outside = outside_of_code(&text);
    for raw in ["<script>", "@torvalds", "#123", "</details> ", "\u{1b}"] {
        assert!(!outside.contains(raw), "{raw}: {outside}");
    }
    assert!(text.contains("<script>"), "it is there to be read");
}

#[test]
fn a_long_bisection_fits_into_a_comment() {
    let text = of_bisection(&testdata::long(10_000));
    assert!(text.chars().count() < 60_000, "{}", text.chars().count());
}
