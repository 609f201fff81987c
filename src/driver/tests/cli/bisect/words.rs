//! What is typed wrongly, and records that cannot be read.

use std::fs;

use crate::history::{History, TIMED, counts, fast_and_slow, line};

fn history() -> History {
    History::new(&fast_and_slow(), &line(4, 2, "slow"))
}

/// What is said to these words, which begin nothing.
fn told(history: &History, words: &[&str]) -> String {
    let seen = history.rig.kregress(&[&["bisect"], words].concat()).exits(2);
    assert_eq!(history.rig.sessions().len(), 0, "{words:?}");
    seen.stderr()
}

#[test]
fn what_is_missing_is_named_with_the_flag_that_gives_it() {
    let history = history();
    insta::assert_snapshot!(told(&history, &[]), @"
    error: nothing says what is searched for
    hint: --metric SUITE/TEST:METRIC, or --test SUITE/TEST; `kregress bisect --help` shows all
    ");
    insta::assert_snapshot!(told(&history, &["--tree", "linux", "--bad", "main", TIMED[0], TIMED[1]]), @"
    error: no good revision is named
    hint: --good REV; `kregress bisect --help` shows all
    ");
    insta::assert_snapshot!(told(&history, &["--tree", "linux", "--good", "main", TIMED[0], TIMED[1]]), @"
    error: no bad revision is named
    hint: --bad REV; `kregress bisect --help` shows all
    ");
    insta::assert_snapshot!(told(&history, &["--good", "main~2", "--bad", "main", TIMED[0], TIMED[1]]), @"
    error: no tree is named
    hint: --tree TREE; `kregress bisect --help` shows all
    ");
    insta::assert_snapshot!(told(&history, &["--tree", "linux", "--good", "main~2", "--bad", "main"]), @"
    error: nothing says what is searched for
    hint: --metric SUITE/TEST:METRIC, or --test SUITE/TEST; `kregress bisect --help` shows all
    ");
}

#[test]
fn revisions_that_are_no_history_are_refused_with_what_would_be_one() {
    let history = history();
    let between =
        |good, bad| told(&history, &["--tree", "linux", "--good", good, "--bad", bad, TIMED[0], TIMED[1]]);
    let apart = between("side", "main");
    assert!(apart.contains(&history.hashes[1]), "{apart}");
    insta::assert_snapshot!(apart, @"
    error: `side` is not an ancestor of `main`
    hint: measure from `f20f6607b6f7732650a60c8a039390e1da922661`, the newest commit that both have
    ");
    insta::assert_snapshot!(between("main", "main~2"), @"
    error: `main` comes after `main~2`, and the good one has to come before
    hint: are they swapped?
    ");
    insta::assert_snapshot!(between("main", "main~0"), @"
    error: `main` and `main~0` are the same commit 8d7f271505b8d6221c65f6ce3115164bd4dbe772
    hint: the good one has to be an older one
    ");
    insta::assert_snapshot!(between("nowhere", "main"), @"error: `nowhere` is no revision of `[DIR]/linux`");
}

#[test]
fn questions_that_nobody_can_answer_are_refused() {
    let history = history();
    let asked = |words: &[&str]| {
        told(&history, &[&["--tree", "linux", "--good", "main~4", "--bad", "main"], words].concat())
    };
    insta::assert_snapshot!(asked(&["--metric", "b/created:weather"]), @"
    error: test `b/created` has no metric `weather`
    hint: it has create_time
    ");
    insta::assert_snapshot!(asked(&["--metric", "b/created"]), @"
    error: `b/created` names no metric
    hint: like this: `netns-teardown/drain[namespaces=200]:drain_time`; `kregress list metrics` shows them
    ");
    insta::assert_snapshot!(asked(&["--metric", "b:create_time"]), @"
    error: `b` names 4 tests, and a bisection follows one
    hint: for instance `b/timed`, `b/counted`, `b/plain`, `b/created`
    ");
    insta::assert_snapshot!(asked(&["--test", "b/nothing"]), @"
    error: unknown test `b/nothing`
    hint: known tests: `b/timed`, `b/counted`, `b/plain`, `b/created`
    ");
    insta::assert_snapshot!(asked(&["--test", "b"]), @"
    error: `b` names 4 tests, and a bisection follows one
    hint: for instance `b/timed`, `b/counted`, `b/plain`, `b/created`
    ");
    insta::assert_snapshot!(asked(&[TIMED[0], TIMED[1], "--format", "junit"]), @"
    error: a bisection is no list of tests: it has no such form
    hint: take `html`, `markdown`, `text` or `json`
    ");
    insta::assert_snapshot!(asked(&[TIMED[0], TIMED[1], "--confidence", "10"]), @"
    error: an answer with a confidence of `10 %` is none, or never comes
    hint: --confidence takes 50 to 99.99
    ");
    insta::assert_snapshot!(asked(&[TIMED[0], TIMED[1], "--fix-build", "nowhere"]), @"
    error: there is no patch `nowhere`
    hint: --fix-build takes a file as `git diff` writes it
    ");
    insta::assert_snapshot!(asked(&[TIMED[0], TIMED[1], "--path", "sound"]), @"
    error: no commit between `main~4` and `main` changes anything below `sound`
    hint: paths are relative to the top of the tree
    ");
    insta::assert_snapshot!(asked(&[TIMED[0], TIMED[1], "--budget", "much"]), @"
    error: invalid value 'much' for '--budget <BUDGET>': `much` is no budget: 40boots, 90m, 2h

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(asked(&[TIMED[0], TIMED[1], "--message-format", "json", "--format", "text"]), @"
    error: standard output cannot carry events and a report
    hint: write the report to a file: --output FILE
    ");
}

#[test]
fn a_file_that_is_no_patch_is_told_before_anything_is_blamed() {
    let history = history();
    history.rig.write("letter", "Dear git,\n");
    let words = ["--tree", "linux", "--good", "main~4", "--bad", "main", "--fix-build", "../letter"];
    let refused = told(&history, &[&words, TIMED].concat());
    assert!(refused.starts_with("error: `[DIR]/letter` is no patch that git reads"), "{refused}");
    assert_eq!(history.compilations(), 0);
}

#[test]
fn a_tree_without_a_history_is_refused() {
    let history = history();
    let of =
        |tree| told(&history, &["--tree", tree, "--good", "main~4", "--bad", "main", TIMED[0], TIMED[1]]);
    insta::assert_snapshot!(of("image"), @"
    error: kernel `image` is of kind `image` and has no revisions
    hint: give the path of a git repository in its place: `~/src/linux@main`
    ");
    insta::assert_snapshot!(of("../home"), @"
    error: `[DIR]/home` is not a git repository
    hint: for a source tree without git write `directory:` in place of `git:`
    ");
    insta::assert_snapshot!(of("../nowhere"), @"
    error: unknown tree `../nowhere`: neither a kernel of kind `git` nor a directory
    hint: known trees: `linux`
    ");
}

#[test]
fn sessions_that_are_not_there_are_named_with_those_that_are() {
    let history = history();
    insta::assert_snapshot!(told(&history, &["--resume", "nonsense"]), @"
    error: there is no session `nonsense` in `results/bisect`; there are none
    hint: name one of them, a beginning of its name, or the path of its directory
    ");
    insta::assert_snapshot!(told(&history, &["--replay", "nonsense"]), @"
    error: there is no session `nonsense` in `results/bisect`; there are none
    hint: name one of them, a beginning of its name, or the path of its directory
    ");
    // With words of a search it is neither.
    let both = told(&history, &["--resume", "nonsense", "--tree", "linux"]);
    assert!(both.contains("cannot be used with"), "{both}");
}

#[test]
fn a_record_with_something_strange_in_its_middle_is_told_with_its_line() {
    let history = History::new(&[("few", counts(0.0)), ("many", counts(52.0))], &line(4, 2, "many"));
    history.bisect(&["--metric", "b/counted:synchronize_rcu"]).exits(0);
    let path = history.session().path.join("bisect.jsonl");
    let text = fs::read_to_string(&path).expect("a record");
    let mut lines: Vec<&str> = text.lines().collect();
    lines[4] = "{\"record\":\"weather\"}";
    fs::write(&path, lines.join("\n") + "\n").expect("a record");
    let name = path.parent().and_then(|path| path.to_str()).expect("a path");
    let resumed = history.rig.kregress(&["bisect", "--resume", name]).exits(3);
    insta::assert_snapshot!(resumed.stderr(), @r"
    error: `[DIR]/project/results/bisect/[SESSION]/bisect.jsonl` is no record of a bisection that can be read: line 5: unknown variant `weather`, expected one of `plan`, `kernel`, `touches`, `place`, `stored`, `asked`, `boot`, `conflicts`
    hint: `--resume` and `--replay` take sessions of this kregress or an older one
    ");
    let replayed = history.rig.kregress(&["bisect", "--replay", name]).exits(3);
    assert_eq!(replayed.stderr(), resumed.stderr());
    assert_eq!(fs::read_to_string(&path).expect("a record"), lines.join("\n") + "\n");
}

#[test]
fn a_session_goes_on_only_with_what_it_began_with() {
    let history = history();
    history.bisect(&[TIMED, &["--budget", "2boots"]].concat()).exits(4);
    let session = history.session();
    let resume = ["bisect", "--resume", session.name()];
    let other = |words: &[&str]| history.rig.kregress(&[&resume[..], words].concat()).exits(2).stderr();
    insta::assert_snapshot!(other(&["--machine", "cpus=1"]), @"
    error: the session began with another machine than `accel=tcg,backend=qemu,cpus=1,memory=512M`
    hint: resume it with the configuration and the flags that it began with
    ");
    assert_eq!(history.session().boots(), session.boots());
}
