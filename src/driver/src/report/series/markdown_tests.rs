use super::*;
use crate::report::markdown::tests::outside_of_code;
use crate::report::series::testdata;

#[test]
fn a_comment_on_a_series_with_one_of_each_kind() {
    insta::assert_snapshot!(of_series(&testdata::six()), @"
    ## ✗ Broken at 2/6, 5/6 and 6/6; broken at 3/6, repaired by 4/6

    | | patch | subject | | |
    |---|---|---|---|---|
    | ✓ | base | `aaaaaaaaaaaa Linux 6.12` | `built in 4 min 01 s; 2 passed` |  |
    | ✓ | 1/6 | `111111111111 net: say what the list holds` | `built in 12 s; same image as base, whose boots stand for it` |  |
    | ✗ | 2/6 | `222222222222 vlan: look at the id once` | `built in 12 s; 2 passed` | `new warning: net/8021q/vlan.c:214: unused variable 'id' [-Wunused-variable]` |
    | ! | 3/6 | `333333333333 dummy: count what is dropped` | `failed after 4.1 s` | `does not build: drivers/net/dummy.c:61: 'struct dummy_stats' has no member named 'drops'; repaired by 4/6` |
    | ✓ | 4/6 | `444444444444 dummy: add the counter` | `built in 12 s; 2 passed` | `repairs: the build of 3/6` |
    | ✗ | 5/6 | `555555555555 ipv6: fib: wait for readers` | `built in 12 s; 2 passed` | `smoke/netns-drain[namespaces=10]:drain_time: 15.1 ms to 56.0 ms, x3.71, with >99.9 %`<br>`and 1 more metric is worse, see base against tip` |
    | ✗ | 6/6 | `666666666666 net: nsid without notifications` | `built in 12 s; 1 failed, 1 passed` | `smoke/nsid-notify fails: no RTM_DELNSID for 4 of 4 ids` |

    <details><summary>Details</summary>

    `does not build: drivers/net/dummy.c:61: 'struct dummy_stats' has no member named 'drops'; repaired by 4/6`

    ```text
        61 |  stats->drops++;
    ```

    </details>

    Base against tip: `regressed: 2 worse, 1 not known yet, 5 unchanged`.

    | | metric | change | by |
    |---|---|---|---|
    | regressed | `smoke/netns-drain[namespaces=10]:drain_time` | `15.1 ms to 56.0 ms, x3.71 (x3.50 to x3.90, by chance below 1 in 1000, 6+6 boots)` | `5/6 is the culprit with >99.9 %: drain_time +271 % (+250 .. +290 %, 95 %), 6 fresh boots a side` |
    | regressed | `smoke/netns-drain[namespaces=1]:drain_time` | `15.1 ms to 56.0 ms, x3.71 (x3.50 to x3.90, by chance below 1 in 1000, 6+6 boots)` | `see smoke/netns-drain[namespaces=10]:drain_time` |

    Reproduce with:

    ```text
    kregress series v6.12..topic --tree linux
    ```

    <details><summary>Environment</summary>

    `accel=auto,backend=qemu,cpus=2,memory=1G, qemu 7.2.22, compiler gcc 12.2.0`

    </details>
    ");
}

#[test]
fn text_of_others_stands_in_code_only_and_a_row_stays_a_row() {
    let text = of_series(&testdata::hostile());
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        // What is between backticks does not count, and bars there are escaped.
        let bars = line.replace("\\|", "").matches('|').count();
        assert!(bars == 6 || bars == 5, "{line}");
    }
    let outside = outside_of_code(&text);
    for evil in ["<script>", "@netdev", "::error::", "\u{1b}"] {
        assert!(!outside.contains(evil), "{evil} in {outside}");
    }
    assert!(text.contains("<script>"), "it is there to be read");
}

#[test]
fn a_series_of_hundreds_of_patches_fits_into_a_comment() {
    let mut it = testdata::six();
    let last = it.revisions.last().cloned().expect("patches");
    it.revisions.extend(std::iter::repeat_n(last, 2_000));
    assert!(of_series(&it).chars().count() < 65_536);
}
