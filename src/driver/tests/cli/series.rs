//! Patch series on the command line: what is said of each patch, what it rests on, and
//! what is left.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::fake_kernel::{Behaviour, FakeKernel};
use crate::history::{Commit, History, git, harmless, in_no_hurry, takes};
use crate::record::{check_events, check_series, list, word};
use crate::rig::{Ended, Seen};

/// A test of the history's suite that takes no times, and one that does.
const TESTS: [&str; 2] = ["b/plain", "b/created"];

fn silent(kernel: FakeKernel) -> FakeKernel {
    kernel.test("b/plain", Behaviour::Fail("no RTM_DELNSID for 4 of 4 ids".to_owned()))
}

/// A series of the history's commits.
fn check<'a>(history: &'a History, words: &[&str]) -> Ended<'a> {
    let range = format!("{}..{}", history.good(), history.bad());
    let all =
        ["series", &range].into_iter().chain(TESTS).chain(["--tree", "linux"]).chain(words.iter().copied());
    history.rig.kregress(&all.collect::<Vec<_>>())
}

/// What became of the only series, as it is kept.
#[track_caller]
fn kept(history: &History) -> Value {
    let all = history.rig.series();
    assert_eq!(all.len(), 1, "{all:?}");
    let text = fs::read_to_string(all[0].join("series.json")).expect("a record");
    let value = serde_json::from_str(&text).expect("JSON");
    check_series(&value);
    value
}

/// The report without what builds took, and what six boots a side cannot say alike each
/// time.
fn report(seen: &Seen<'_>) -> String {
    let mut out = String::new();
    for line in seen.stdout().lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let line = match line.trim_start() {
            rest if rest.starts_with("built in ") => {
                format!("{indent}built in [TIME];{}", rest.split_once(';').map_or("", |(_, rest)| rest))
            }
            rest if rest.starts_with("failed after ") => format!("{indent}failed after [TIME]"),
            rest if rest.starts_with("full log: ") => format!("{indent}full log: [LOG]"),
            rest if rest.starts_with("checked in ") => "checked in [TIME]".to_owned(),
            _ => line.to_owned(),
        };
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// `what since until` of each defect.
fn defects(kept: &Value) -> Vec<String> {
    let told = |defect: &Value| {
        let since = match defect["since"]["revisions"].as_array() {
            Some(revisions) => revisions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
            None => word(&defect["since"]["since"]).to_owned(),
        };
        format!("{} {} since {since} until {}", word(&defect["what"]), word(&defect["name"]), defect["until"])
    };
    list(&kept["defects"]).iter().map(told).collect()
}

#[test]
fn a_series_with_one_of_each_kind_is_judged_patch_by_patch() {
    let kernels = [("fast", takes(5e6)), ("slow", takes(6e6)), ("silent", silent(takes(6e6)))];
    let patches = [
        Commit::comment(1),
        Commit::code(2).warns("id", 9),
        Commit::code(3).warns("id", 12).breaks(),
        Commit::code(4).mends(),
        Commit::code(5).becomes("slow"),
        Commit::code(6).becomes("silent"),
    ];
    let history = History::new(&kernels, &patches);
    let seen = check(&history, &[]).exits(1);
    insta::assert_snapshot!(report(&seen), @"
    broken at 2/6, 5/6 and 6/6; broken at 3/6, repaired by 4/6

      base  62261f75d48e start
            built in [TIME]; 2 passed
      1/6   49d17a51d397 drivers: comment 1
            built in [TIME]; same image as base, whose boots stand for it
    ✗ 2/6   323583609929 drivers: change 2
            built in [TIME]; 2 passed
            new warning: drivers/main.c:9: unused variable 'id' [-Wunused-variable]
    ! 3/6   67f42418e461 drivers: change 3
            failed after [TIME]
            does not build: drivers/main.c:7: implicit declaration of function
            'absent'; repaired by 4/6
            full log: [LOG]
      4/6   1b2bdfc8a03b drivers: change 4
            built in [TIME]; 2 passed
            repairs: the build of 3/6
    ✗ 5/6   7f62caa6dfc5 net: be slow
            built in [TIME]; 2 passed
            b/created:create_time: 5.00 ms to 6.00 ms, +20 %, with >99.9 %
    ✗ 6/6   3226fa3d2427 net: be silent
            built in [TIME]; 1 failed, 1 passed
            b/plain fails: no RTM_DELNSID for 4 of 4 ids

    base against tip: regressed: 1 worse
    ✗ b/created:create_time
        5.00 ms to 6.00 ms, +20 % (+18 % to +22 %, by chance below 1 in a million,
        6+6 boots)
        5/6 is the culprit with >99.9 %: create_time +20 % (+18 .. +22 %, 95 %), 6
        fresh boots a side

    checked in [TIME]
    results: [DIR]/project/results/series/[SERIES]
    ");
    let kept = kept(&history);
    assert_eq!(kept["outcome"], "broken");
    assert_eq!(
        defects(&kept),
        [
            "warning drivers/main.c:9 since 2 until null",
            "build  since 3 until 4",
            "metric b/created:create_time since 5 until null",
            "test b/plain since 6 until null",
        ]
    );
    assert_eq!(kept["revisions"][1]["image"]["revision"], 0);
    // The base, five that compile, and one that does not.
    assert_eq!(history.compilations(), 7);
    // Nothing is left in the user's repository.
    let all = git(&history.rig, &["for-each-ref", "--format=%(refname)"]);
    assert_eq!(all, "refs/heads/main\nrefs/heads/side\n");
    assert_eq!(git(&history.rig, &["worktree", "list"]).lines().count(), 1);
    assert_eq!(git(&history.rig, &["status", "--porcelain"]), "");
}

#[test]
fn a_series_of_which_nothing_is_wrong_ends_well() {
    let history = History::new(&[("fast", takes(5e6))], &harmless(2));
    let seen = check(&history, &[]).exits(0);
    assert!(
        seen.stdout.starts_with("good: all patches apply, build without a new warning"),
        "{}",
        seen.stdout
    );
    let kept = kept(&history);
    assert_eq!((&kept["outcome"], list(&kept["defects"]).len()), (&"good".into(), 0));
    assert_eq!(kept["performance"]["verdict"], "unchanged");
}

#[test]
fn what_one_patch_breaks_and_the_next_repairs_is_told_as_that() {
    let kernels = [("fast", takes(5e6)), ("silent", silent(takes(5e6)))];
    let patches = [Commit::code(1).becomes("silent"), Commit::code(2).becomes("fast")];
    let history = History::new(&kernels, &patches);
    let seen = check(&history, &[]).exits(1);
    assert!(seen.stdout.starts_with("broken at 1/2, repaired by 2/2\n"), "{}", seen.stdout);
    assert_eq!(defects(&kept(&history)), ["test b/plain since 1 until 2"]);
}

#[test]
fn a_warning_that_only_moves_is_not_new() {
    let patches =
        [Commit::code(1).warns("id", 9), Commit::code(2).warns("id", 90), Commit::code(3).warns("x", 90)];
    let history = History::new(&[("fast", takes(5e6))], &patches);
    check(&history, &[]).exits(1);
    assert_eq!(
        defects(&kept(&history)),
        ["warning drivers/main.c:9 since 1 until 3", "warning drivers/main.c:90 since 3 until null"]
    );
}

#[test]
fn a_second_time_nothing_is_compiled() {
    let history = History::new(&[("fast", takes(5e6))], &harmless(2));
    check(&history, &[]).exits(0);
    let compiled = history.compilations();
    let seen = check(&history, &[]).exits(0);
    assert_eq!(history.compilations(), compiled);
    assert!(seen.stdout.contains("built before"), "{}", seen.stdout);
}

#[test]
fn mails_are_put_on_the_base_and_one_that_does_not_apply_ends_the_series() {
    let history = History::new(&[("fast", takes(5e6))], &[Commit::code(1), Commit::code(2), Commit::code(3)]);
    let range = format!("{}..{}", history.good(), history.bad());
    git(&history.rig, &["format-patch", "--quiet", "-o", "../mails", &range]);
    let mails = history.rig.path("mails");
    let broken = fs::read_to_string(mails.join("0002-drivers-change-2.patch")).expect("a mail");
    let broken = broken
        .replace("new file mode 100644", "index 1111111..2222222 100644")
        .replace("/dev/null", "a/drivers/absent.c");
    fs::write(mails.join("0002-drivers-change-2.patch"), broken).expect("a mail");
    let mails = mails.to_str().expect("UTF-8");
    let seen = history
        .rig
        .kregress(&["series", mails, "b/plain", "--tree", "linux", "--base", history.good()])
        .exits(1);
    assert!(seen.stdout.starts_with("broken at 2/3\n"), "{}", seen.stdout);
    let kept = kept(&history);
    assert_eq!(defects(&kept), ["apply  since 2 until null"]);
    let states = list(&kept["revisions"]).iter().map(|it| word(&it["apply"]["apply"]));
    assert_eq!(states.collect::<Vec<_>>(), ["applies", "applies", "refused", "not-reached"]);
    // What applies is tested all the same.
    assert_eq!(kept["revisions"][1]["tests"]["b/plain"]["standing"], "pass");
    assert_eq!(git(&history.rig, &["status", "--porcelain"]), "");
}

#[test]
fn a_series_that_is_interrupted_says_what_it_knows() {
    let history = History::new(&in_no_hurry(), &[Commit::code(1).breaks(), Commit::code(2).mends()]);
    let range = format!("{}..{}", history.good(), history.bad());
    let words = ["series", &range, "b/timed", "--tree", "linux", "--message-format", "json"];
    let mut started = history.rig.start(&words);
    started.follow("\"test-started\"");
    started.signal(Signal::INT);
    let seen = started.end().exits(130);
    let kept = kept(&history);
    assert_eq!(
        (&kept["outcome"], defects(&kept)),
        (&"interrupted".into(), vec!["build  since 1 until 2".to_owned()])
    );
    let last = seen.stdout.trim_end().rsplit('\n').next().expect("lines");
    assert_eq!(serde_json::from_str::<Value>(last).expect("JSON"), kept);
}

#[test]
fn programs_get_events_and_what_became_of_it_as_a_last_line() {
    let history = History::new(&[("fast", takes(5e6))], &harmless(1));
    let seen = check(&history, &["--message-format", "json"]).exits(0);
    let (events, last) = seen.stdout.trim_end().rsplit_once('\n').expect("lines");
    assert!(!check_events(events).is_empty());
    let last: Value = serde_json::from_str(last).expect("JSON");
    check_series(&last);
    assert_eq!(last, kept(&history));
}

#[test]
fn a_report_goes_where_it_is_asked_for() {
    let history = History::new(&[("fast", takes(5e6))], &harmless(1));
    for (format, begins) in [
        ("text", "kregress: good: the patch applies"),
        ("markdown", "## ✓ Good: the patch applies"),
        ("html", "<!DOCTYPE html>"),
        ("junit", "<?xml"),
        ("json", "{\n  \"version\": 1,\n  \"kind\": \"series\","),
    ] {
        let seen = check(&history, &["--format", format, "-o", "report"]).exits(0);
        assert_eq!(seen.stdout, "", "{format}");
        let text = fs::read_to_string(history.rig.path("project/report")).expect("a report");
        assert!(text.starts_with(begins), "{format}: {text}");
    }
}

#[test]
fn wrong_words_are_told_before_anything_is_built() {
    let history = History::new(&[("fast", takes(5e6))], &harmless(1));
    let range = format!("{}..{}", history.good(), history.bad());
    let wrong = |words: &[&str]| {
        let seen = history.rig.kregress(words).exits(2);
        seen.stderr().lines().filter(|line| !line.starts_with("Usage")).take(2).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(wrong(&["series", &range, "b/absent", "--tree", "linux"]), @"
    error: unknown test `b/absent`
    hint: known tests: `b/timed`, `b/counted`, `b/plain`, `b/created`
    ");
    insta::assert_snapshot!(wrong(&["series", &range, "--tree", "nowhere"]), @"
    error: unknown tree `nowhere`: neither a kernel of kind `git` nor a directory
    hint: known trees: `linux`
    ");
    insta::assert_snapshot!(wrong(&["series", &range, "--tree", "image"]), @"
    error: kernel `image` is of kind `image` and has no revisions
    hint: give the path of a git repository in its place: `~/src/linux@HEAD`
    ");
    insta::assert_snapshot!(wrong(&["series", "absent.mbox", "--tree", "linux"]), @"
    error: `absent.mbox` is neither a range of commits nor a file
    hint: a range is `BASE..absent.mbox`; patches are a mbox, a `.patch` file, or a directory of `git format-patch`
    ");
    insta::assert_snapshot!(wrong(&["series", &range, "--tree", "linux", "--format", "ktap"]), @"
    error: a series has no such form
    hint: take `html`, `markdown`, `text`, `junit` or `json`; the runs that it is made of have it: `kregress report --format ktap`
    ");
    assert_eq!(history.compilations(), 0);
    assert_eq!(history.rig.series(), Vec::<std::path::PathBuf>::new());
}
