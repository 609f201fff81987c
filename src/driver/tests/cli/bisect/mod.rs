//! The commit that changed something, searched in a git history: what is found, what it
//! rests on, and what it costs.

mod by_git;
mod cut_off;
mod words;

use crate::fake_kernel::{Behaviour, FakeKernel, Splat};
use crate::history::{
    Commit, FIX, History, REPAIR, TIMED, counts, fast_and_slow, git, harmless, line, takes,
};
use crate::record::check_events;
use crate::rig::Seen;

fn headline<'a>(seen: &'a Seen<'_>) -> &'a str {
    seen.stdout.lines().next().unwrap_or_default()
}

/// A report without its times.
fn timeless(seen: &Seen<'_>) -> String {
    let line = |line: &str| match line.rsplit_once(", ").filter(|_| line.starts_with("cost: ")) {
        Some((before, _)) => format!("{before}, [TIME]\n"),
        None => format!("{line}\n"),
    };
    seen.stdout().lines().map(line).collect()
}

/// The same without what depends on how long builds and boots took: which commits the
/// search measured how often, and how sure that made it.
fn report(seen: &Seen<'_>) -> String {
    let mut out = String::new();
    let mut in_table = false;
    for line in seen.stdout().lines().filter(|line| !line.starts_with("cost: ")) {
        in_table = (in_table || line.starts_with("  commit ")) && !line.is_empty();
        match line.strip_prefix("is the culprit with ").and_then(|rest| rest.split_once(" %")) {
            _ if in_table => {}
            Some((_, rest)) => out.push_str(&format!("is the culprit with [P]{rest}\n")),
            None => out.push_str(&format!("{line}\n")),
        }
    }
    out
}

#[test]
fn a_slow_commit_is_found_confirmed_and_reverted() {
    let history = History::new(&fast_and_slow(), &line(14, 9, "slow"));
    let seen = history.bisect(&["--metric", "b/timed:drain_time"]).exits(0);
    insta::assert_snapshot!(report(&seen), @"
    3ed9c66ce343 net: be slow
      A U Thor <author@example.org>, 2026-01-11
    is the culprit with [P]: drain_time +20 % (+18 .. +22 %, 95 %), 6 fresh
    boots a side
    reverted on bad: it changes back (-17 %)
    it explains 100 % of the difference between good and bad

    b/timed:drain_time
      good  62261f75d48e start, 2026-01-02
      bad   3921a29e55c6 drivers: change 14, 2026-01-16
            drain_time +20 % (+18 .. +22 %, 95 %), 6 boots a side: 4.99 ms → 5.99 ms


    session: [DIR]/project/results/bisect/[SESSION]
    Reproduce with:
      [KREGRESS] bisect --tree linux --good 62261f75d48e687eeb87b36f7a1211f309bcfee1 --bad 3921a29e55c6a8ff34b9cdac436563e53ef01c51 --metric b/timed:drain_time --jobs 1
    ");
    let session = history.session();
    assert_eq!(session.answers(), [[history.hashes[9].clone()]]);
    let found = session.found();
    let answer = &found["answers"][0];
    assert_eq!(found["ending"]["ending"], "found");
    assert!(answer["probability"].as_f64() >= Some(0.95), "{answer}");
    assert_eq!(answer["confirmation"]["confirmation"], "confirmed");
    assert_eq!(answer["reverted"]["reverted"], "verified");
    // Fresh boots, of both sides.
    assert_eq!(session.boots_for("confirm"), 12);
    assert_eq!(session.boots_for("revert"), 12);
    assert_eq!(session.boots_for("profile"), 6);
    // The ends, four steps or a neighbour more, and the bad one without the culprit.
    assert!(session.of("kernel").len() <= 9, "{:?}", session.of("kernel"));
    assert_eq!(session.of("kernel").len(), history.compilations());
    assert!(session.text("report.html").ends_with("</html>"));
    let log = session.path.join("bisect.log");
    let replayed = git(&history.rig, &["bisect", "replay", log.to_str().expect("UTF-8")]);
    assert!(replayed.contains(&format!("{} is the first bad commit", history.hashes[9])), "{replayed}");
}

#[test]
fn a_count_takes_one_boot_a_step_and_the_report_says_which() {
    let history = History::new(&[("few", counts(0.0)), ("many", counts(52.0))], &line(16, 5, "many"));
    let seen = history.bisect(&["--metric", "b/counted:synchronize_rcu"]).exits(0);
    insta::assert_snapshot!(timeless(&seen), @"
    78c6c8791311 net: be many
      A U Thor <author@example.org>, 2026-01-07
    is the culprit with >99.9 %: synchronize_rcu 0 → 52, 2 fresh boots a side
    reverted on bad: it changes back (-100 %)
    it explains 100 % of the difference between good and bad

    b/counted:synchronize_rcu
      good  d64e9e85d215 start, 2026-01-02
      bad   3a000006133e drivers: change 16, 2026-01-18
            synchronize_rcu 0 → 52, 2 boots a side

      commit        boots  came to  probable  subject
      96b867716456      1        0    <0.1 %  drivers: change 4
    > 78c6c8791311      1       52   >99.9 %  net: be many
      ef0ecc7d654e      1       52    <0.1 %  drivers: change 6
      f9485274651d      1       52    <0.1 %  drivers: change 8
      3a000006133e      2       52    <0.1 %  drivers: change 16

    cost:  7 kernels built, 16 boots, 4 steps, [TIME]
    session: [DIR]/project/results/bisect/[SESSION]
    Reproduce with:
      [KREGRESS] bisect --tree linux --good d64e9e85d21558f8f877c3d9bf83856aae911c7e --bad 3a000006133e163b2fdffd7d70f5247023fcaf9d --metric b/counted:synchronize_rcu --jobs 1
    ");
    let session = history.session();
    assert_eq!(session.answers(), [[history.hashes[5].clone()]]);
    assert_eq!((session.boots_for("search"), session.found()["spent"]["steps"].as_u64()), (4, Some(4)));
}

#[test]
fn a_commit_that_does_not_compile_is_asked_once_and_stays_a_suspect() {
    let mut commits = line(10, 6, "slow");
    commits[5] = Commit::code(6).becomes("slow").breaks();
    commits[6] = Commit::code(7).mends();
    let history = History::new(&fast_and_slow(), &commits);
    let seen = history.bisect(TIMED).exits(0);
    let both = [history.hashes[6].clone(), history.hashes[7].clone()];
    let session = history.session();
    assert_eq!(session.answers(), [both]);
    assert!(seen.stdout.starts_with("one of these 2, which cannot be told apart:\n"), "{}", seen.stdout);
    assert!(
        seen.stdout.contains("not reverted on bad: the answer is more than one commit"),
        "{}",
        seen.stdout
    );
    assert_eq!(session.kernels(&history.hashes[6]), ["unbuildable"]);
    assert_eq!(session.came(&history.hashes[6]), [""; 0]);
    let unbuildable = session.of("kernel").into_iter().find(|line| line["kernel"] == "unbuildable");
    let reason = unbuildable.expect("a line")["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("implicit declaration of function 'absent'"), "{reason}");
}

#[test]
fn a_patch_that_makes_it_compile_tells_which_of_them_it_is() {
    let mut commits = line(10, 6, "slow");
    commits[5] = Commit::code(6).becomes("slow").breaks();
    commits[6] = Commit::code(7).mends();
    let history = History::new(&fast_and_slow(), &commits);
    history.rig.write("fix.patch", FIX);
    let seen = history.bisect(&[TIMED, &["--fix-build", "../fix.patch"]].concat()).exits(0);
    let session = history.session();
    assert_eq!(session.answers(), [[history.hashes[6].clone()]]);
    assert_eq!(session.kernels(&history.hashes[6]), ["ready"]);
    // The commit that mended it took away what the culprit brought.
    assert!(
        seen.stdout.contains("does not revert cleanly on bad: conflicts in drivers/broken"),
        "{}",
        seen.stdout
    );
}

#[test]
fn a_patch_that_breaks_what_was_whole_is_left_out_there() {
    let mut commits = line(10, 6, "slow");
    commits[5] = Commit::code(6).becomes("slow").breaks();
    commits[6] = Commit::code(7).mends();
    let history = History::new(&fast_and_slow(), &commits);
    history.rig.write("repair.patch", REPAIR);
    let words = [TIMED, &["--fix-build", "../repair.patch", "--budget", "2boots"]].concat();
    history.bisect(&words).exits(4);
    // What another process found out is not tried again.
    let seen = history.rig.kregress(&["bisect", "--resume", history.session().name()]).exits(0);
    let session = history.session();
    assert_eq!(session.answers(), [[history.hashes[6].clone()]]);
    let compiled = std::fs::read_to_string(history.rig.path("made")).expect("what was compiled");
    let with_patch = compiled.lines().filter(|line| *line == compiled.lines().next().expect("a line"));
    assert_eq!(with_patch.count(), 2, "the good end with the patch and without: {compiled}");
    let used = |hash: &String| -> Vec<String> {
        let of = session.of("kernel").into_iter().filter(|line| line["target"]["commit"] == **hash);
        of.map(|line| line["fix"].as_str().expect("a word").to_owned()).collect()
    };
    assert_eq!(used(&history.hashes[6]), ["where-it-applies"]);
    assert_eq!(used(&history.hashes[5]), ["left-out"]);
    let words: Vec<&str> = seen.stdout.split_whitespace().collect();
    let left_out = "the patch of --fix-build was left out of 4 kernels, which do not build with it.";
    assert!(words.join(" ").contains(left_out), "{}", seen.stdout);
}

#[test]
fn comments_are_not_booted_and_never_blamed() {
    let mut commits: Vec<Commit> = (1..=12).map(Commit::comment).collect();
    commits[6] = Commit::code(7).becomes("slow");
    let history = History::new(&fast_and_slow(), &commits);
    history.bisect(TIMED).exits(0);
    let session = history.session();
    assert_eq!(session.answers(), [[history.hashes[7].clone()]]);
    // Between the ends there are but two images.
    assert_eq!(session.boots_for("search"), 0);
    let commented = history.hashes[1..7].iter().chain(&history.hashes[8..12]);
    for hash in commented {
        // The parent of the answer is booted again, to confirm it.
        assert!(session.came(hash).is_empty() || *hash == history.hashes[6], "{hash}");
    }
    assert!(session.of("kernel").len() > 3, "they are built, to know that");
}

#[test]
fn a_test_that_fails_is_followed_to_the_commit_that_broke_it() {
    let failing = FakeKernel::new().test("b/plain", Behaviour::Fail("it broke".to_owned()));
    let history =
        History::new(&[("whole", FakeKernel::new()), ("failing", failing)], &line(12, 4, "failing"));
    let seen = history.bisect(&["--test", "b/plain"]).exits(0);
    let session = history.session();
    assert_eq!(session.answers(), [[history.hashes[4].clone()]]);
    insta::assert_snapshot!(report(&seen), @"
    7586d2b899d6 net: be failing
      A U Thor <author@example.org>, 2026-01-06
    is the culprit with [P]: the test failed in 3 of 3 boots, without in 0 of 3
    reverted on bad: it passes again (failed in 0 of 3 boots)

    failure of b/plain
      good  957f46f9ad7c start, 2026-01-02
      bad   24cc5ffeacd8 drivers: change 12, 2026-01-14
            the test failed in 3 of 3 boots, without in 0 of 3


    session: [DIR]/project/results/bisect/[SESSION]
    Reproduce with:
      [KREGRESS] bisect --tree linux --good 957f46f9ad7c8ddd19e30b906de3e2241cad69e8 --bad 24cc5ffeacd88391e5ad99c5efe0d4e96a71dd50 --test b/plain --jobs 1
    ");
}

#[test]
fn another_failure_is_not_the_finding_that_is_searched_for() {
    let splat = |splat| FakeKernel::new().test("b/plain", Behaviour::Splat(splat));
    let kernels =
        [("clean", FakeKernel::new()), ("warns", splat(Splat::Warning)), ("uses-freed", splat(Splat::Kasan))];
    let mut commits = harmless(12);
    commits[4] = Commit::code(5).becomes("warns");
    commits[6] = Commit::code(7).becomes("clean");
    commits[7] = Commit::code(8).becomes("uses-freed");
    let history = History::new(&kernels, &commits);
    let seen = history.bisect(&["--test", "b/plain", "--finding", "KASAN: slab-use-after-free"]).exits(0);
    let session = history.session();
    assert_eq!(session.answers(), [[history.hashes[8].clone()]]);
    // The one in the middle is asked first, and says nothing.
    let warned: Vec<&str> = [5, 6].iter().flat_map(|at| session.came(&history.hashes[*at])).collect();
    assert!(!warned.is_empty() && warned.iter().all(|came| *came == "nothing"), "{warned:?}");
    assert!(seen.stdout.contains("reverted on bad: it is gone"), "{}", seen.stdout);
}

#[test]
fn ends_that_do_not_differ_are_not_searched() {
    let history = History::new(&fast_and_slow(), &harmless(6));
    let seen = history.bisect(TIMED).exits(4);
    insta::assert_snapshot!(report(&seen), @"
    not reproduced: the endpoints do not surely differ
    the endpoints do not differ

    b/created:create_time
      good  62261f75d48e start, 2026-01-02
      bad   7872effc6f93 drivers: change 6, 2026-01-08
            create_time +0.0 % (-1.2 .. +1.2 %, 95 %), 6 boots a side: 5.00 ms →
            5.00 ms


    session: [DIR]/project/results/bisect/[SESSION]
    Reproduce with:
      [KREGRESS] bisect --tree linux --good 62261f75d48e687eeb87b36f7a1211f309bcfee1 --bad 7872effc6f9354b06e10de8faeaf30844c776d09 --metric b/created:create_time --jobs 1
    ");
    let session = history.session();
    assert_eq!((session.of("kernel").len(), session.boots_for("endpoints")), (2, session.boots()));
    assert!(!session.text("bisect.log").contains("git bisect bad"), "{}", session.text("bisect.log"));
}

#[test]
fn ends_with_the_same_image_are_not_booted() {
    let commits: Vec<Commit> = (1..=4).map(Commit::comment).collect();
    let history = History::new(&fast_and_slow(), &commits);
    let seen = history.bisect(TIMED).exits(4);
    assert_eq!(headline(&seen), "not reproduced: the endpoints do not surely differ");
    assert!(seen.stdout.contains("both endpoints build to the same image"), "{}", seen.stdout);
    assert_eq!(history.session().boots(), 0);
}

#[test]
fn an_end_that_does_not_compile_is_named_with_what_the_compiler_said() {
    let mut commits = line(6, 3, "slow");
    commits[5] = Commit::code(6).breaks();
    let history = History::new(&fast_and_slow(), &commits);
    let seen = history.bisect(TIMED).exits(3);
    insta::assert_snapshot!(report(&seen), @"
    not measured: an endpoint gives no result
    the bad endpoint gives no result: kernel `24efe0ae7f5c`: compiling failed:
    drivers/main.c:7: implicit declaration of function 'absent'
    hint: name another one with --bad, or --fix-build PATCH if it does not build

    b/created:create_time
      good  62261f75d48e start, 2026-01-02
      bad   24efe0ae7f5c drivers: change 6, 2026-01-08
            not measured yet

    session: [DIR]/project/results/bisect/[SESSION]
    Reproduce with:
      [KREGRESS] bisect --tree linux --good 62261f75d48e687eeb87b36f7a1211f309bcfee1 --bad 24efe0ae7f5c3fe79bc696e33dce9778eda45541 --metric b/created:create_time --jobs 1
    ");
    assert_eq!(history.session().boots(), 0);
}

#[test]
fn a_second_culprit_is_searched_where_the_first_explains_too_little() {
    let kernels = [("fast", takes(5e6)), ("slower", takes(6e6)), ("slowest", takes(7.2e6))];
    let mut commits = line(12, 3, "slower");
    commits[8] = Commit::code(9).becomes("slowest");
    let history = History::new(&kernels, &commits);
    let seen = history.bisect(TIMED).exits(0);
    let mut answers = history.session().answers().concat();
    answers.sort();
    let mut guilty = [history.hashes[3].clone(), history.hashes[9].clone()];
    guilty.sort();
    assert_eq!(answers, guilty);
    assert!(seen.stdout.contains("and besides it"), "{}", seen.stdout);
}

#[test]
fn paths_leave_out_commits_that_change_nothing_there() {
    let history = History::new(&fast_and_slow(), &line(12, 8, "slow"));
    history.bisect(&[TIMED, &["--path", "net"]].concat()).exits(0);
    let session = history.session();
    assert_eq!(session.answers(), [[history.hashes[8].clone()]]);
    // Both ends, the one commit that changes something there, and the bad end without it:
    // what lies behind it and outside of the paths is not believed to be harmless.
    assert_eq!(session.of("kernel").len(), 4);
    assert!(session.boots_for("search") > 0);
}

#[test]
fn events_tell_what_was_asked_and_the_last_line_what_was_found() {
    let history = History::new(&[("few", counts(0.0)), ("many", counts(52.0))], &line(4, 2, "many"));
    let question = ["--metric", "b/counted:synchronize_rcu", "--message-format", "json"];
    let seen = history.bisect(&question).exits(0);
    let (events, last) = seen.stdout.trim_end().rsplit_once('\n').expect("lines");
    let found: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(found, history.session().found());
    let events = check_events(events);
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    assert!(of("notice").iter().any(|notice| notice.to_string().contains(": 4 commits in ")), "{events:?}");
    assert_eq!(of("boot-started").len(), history.session().boots());
}
