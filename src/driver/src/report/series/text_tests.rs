use super::*;
use crate::report::series::testdata;
use crate::report::text::WIDTH;

#[test]
fn a_reply_to_a_series_with_one_of_each_kind() {
    insta::assert_snapshot!(of_series(&testdata::six()), @"
    kregress: broken at 2/6, 5/6 and 6/6; broken at 3/6, repaired by 4/6

     ok  base  aaaaaaaaaaaa Linux 6.12
     ok  1/6   111111111111 net: say what the list holds
    BAD  2/6   222222222222 vlan: look at the id once
    bad  3/6   333333333333 dummy: count what is dropped
     ok  4/6   444444444444 dummy: add the counter
    BAD  5/6   555555555555 ipv6: fib: wait for readers
    BAD  6/6   666666666666 net: nsid without notifications

    2/6    new warning: net/8021q/vlan.c:214: unused variable 'id'
           [-Wunused-variable]

    3/6    does not build: drivers/net/dummy.c:61: 'struct dummy_stats' has
           no member named 'drops'; repaired by 4/6
               61 |  stats->drops++;

    6/6    smoke/nsid-notify fails: no RTM_DELNSID for 4 of 4 ids

    Base against tip: regressed: 2 worse, 1 not known yet, 5 unchanged.
      smoke/netns-drain[namespaces=10]:drain_time
        15.1 ms to 56.0 ms, x3.71 (x3.50 to x3.90, by chance below 1 in
        1000, 6+6 boots)
        5/6 is the culprit with >99.9 %: drain_time +271 % (+250 .. +290 %,
        95 %), 6 fresh boots a side
      smoke/netns-drain[namespaces=1]:drain_time
        15.1 ms to 56.0 ms, x3.71 (x3.50 to x3.90, by chance below 1 in
        1000, 6+6 boots)
        see smoke/netns-drain[namespaces=10]:drain_time

    Base: aaaaaaaaaaaa Linux 6.12.
    Checked on accel=auto,backend=qemu,cpus=2,memory=1G, qemu 7.2.22,
    compiler gcc 12.2.0.
    Reproduce with:
    $ kregress series v6.12..topic --tree linux
    ");
}

#[test]
fn a_reply_to_a_series_of_which_nothing_is_wrong() {
    insta::assert_snapshot!(of_series(&testdata::good()), @"
    kregress: good: all patches apply, build without a new warning, boot,
    and fail no test that passed before, and the last is not slower than the
    base

     ok  base  aaaaaaaaaaaa Linux 6.12
     ok  1/2   111111111111 net: a
     ok  2/2   222222222222 net: b

    Base against tip: unchanged in 7 metrics.

    Base: aaaaaaaaaaaa Linux 6.12.
    Checked on accel=auto,backend=qemu,cpus=2,memory=1G, qemu 7.2.22,
    compiler gcc 12.2.0.
    Reproduce with:
    $ kregress series v6.12..topic --tree linux
    ");
}

#[test]
fn a_mail_has_72_columns_and_nothing_that_acts_on_a_terminal() {
    for (name, checked) in testdata::all() {
        let text = of_series(&checked);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{name}: {line}");
        }
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\r']), "{name}");
    }
}
