//! Sessions that do not come to their end at once: killed, interrupted, out of budget;
//! and what is made of their records later.

use std::fs;

use rustix::process::Signal;

use crate::history::{History, TIMED, counts, fast_and_slow, in_no_hurry, line};

/// Boots of the ends before the search begins: six of each.
const ENDS: usize = 12;

#[test]
fn one_that_was_killed_goes_on_where_it_was_and_repeats_no_boot() {
    let history = History::new(&in_no_hurry(), &line(12, 5, "slow"));
    let started = history.start(TIMED);
    history.wait_for_boots(ENDS + 1);
    started.signal(Signal::KILL);
    let _ = started.end().dies_of(Signal::KILL);
    history.rig.wait_for_no_process();
    let before = history.session();
    assert_eq!(before.boots_for("confirm"), 0, "killed too late");
    let seen = history.rig.kregress(&["bisect", "--resume", before.name()]).exits(0);
    let session = history.session();
    assert_eq!(session.answers(), [[history.hashes[5].clone()]]);
    assert!(seen.stdout.contains("reverted on bad: it changes back"), "{}", seen.stdout);
    assert!(session.boots() > before.boots(), "{}", session.boots());
    // What was there is still there, in its order.
    assert_eq!(session.of("boot")[..before.boots()], before.of("boot")[..]);
    // It has nothing left to do.
    history.rig.kregress(&["bisect", "--resume", session.name()]).exits(0);
    assert_eq!(history.session().boots(), session.boots());
}

#[test]
fn a_line_that_was_being_written_is_made_again() {
    let history = History::new(&[("few", counts(0.0)), ("many", counts(52.0))], &line(8, 3, "many"));
    let question = ["--metric", "b/counted:synchronize_rcu", "--budget", "3boots"];
    history.bisect(&question).exits(4);
    let before = history.session();
    let path = before.path.join("bisect.jsonl");
    let text = fs::read_to_string(&path).expect("a record");
    let last = text.trim_end().rfind('\n').expect("lines") + 1;
    assert!(text[last..].contains("\"record\":\"boot\""), "{}", &text[last..]);
    fs::write(&path, &text[..last + 40]).expect("a record");
    history.rig.kregress(&["bisect", "--resume", before.name()]).exits(0);
    let session = history.session();
    assert_eq!(session.answers(), [[history.hashes[3].clone()]]);
    assert_eq!(session.boots_for("endpoints"), before.boots_for("endpoints"));
}

#[test]
fn a_session_has_one_process_at_a_time() {
    let history = History::new(&in_no_hurry(), &line(6, 3, "slow"));
    let started = history.start(TIMED);
    history.wait_for_boots(1);
    let session = history.rig.sessions().pop().expect("a session");
    let name = session.file_name().and_then(|name| name.to_str()).expect("a name");
    let seen = history.rig.kregress(&["bisect", "--resume", name]).exits_beside(&started, 3);
    insta::assert_snapshot!(seen.stderr(), @"
    error: session `results/bisect/[SESSION]` is in use by another kregress
    hint: wait for it, or stop it first
    ");
    // What it has found so far can be seen.
    let seen = history.rig.kregress(&["bisect", "--replay", name]).exits_beside(&started, 0);
    assert!(seen.stdout.starts_with("unfinished: "), "{}", seen.stdout);
    started.signal(Signal::INT);
    let _ = started.end().exits(130);
}

fn interrupted_by(signal: Signal) {
    let history = History::new(&in_no_hurry(), &line(8, 3, "slow"));
    let started = history.start(TIMED);
    history.wait_for_boots(2);
    started.signal(signal);
    let seen = started.end().exits(130);
    let session = history.session();
    let resume = format!("Go on with:\n  kregress bisect --resume {}\n", session.name());
    assert!(seen.stdout.contains(&resume), "{}", seen.stdout);
    // What was cut off says nothing of its kernel.
    assert!(session.of("boot").iter().all(|boot| boot["came"] == "value"), "{:?}", session.of("boot"));
    history.rig.kregress(&["bisect", "--resume", session.name()]).exits(0);
    assert_eq!(history.session().answers(), [[history.hashes[3].clone()]]);
}

#[test]
fn ctrl_c_ends_it_in_good_order_and_says_how_to_go_on() {
    interrupted_by(Signal::INT);
}

#[test]
fn sigterm_ends_it_in_good_order_and_says_how_to_go_on() {
    interrupted_by(Signal::TERM);
}

#[test]
fn a_budget_ends_it_with_the_suspects_that_are_left_and_more_of_it_goes_on() {
    let history = History::new(&fast_and_slow(), &line(12, 8, "slow"));
    let seen = history.bisect(&[TIMED, &["--budget", "13boots"]].concat()).exits(4);
    let session = history.session();
    let found = session.found();
    assert_eq!(found["ending"]["ending"], "budget-spent");
    // What was asked for together is booted together.
    assert!((13..=17).contains(&session.boots()), "{}", session.boots());
    let suspects = found["suspects"].as_array().expect("suspects");
    assert!(suspects.len() > 1 && suspects.len() < 12, "{suspects:?}");
    let sum: f64 = suspects.iter().filter_map(|suspect| suspect["probability"].as_f64()).sum();
    assert!((0.95..=1.0).contains(&sum), "{suspects:?}");
    assert!(
        suspects.iter().any(|suspect| suspect["commit"]["hash"] == history.hashes[8].as_str()),
        "{suspects:?}"
    );
    assert!(seen.stdout.contains("what remains are "), "{}", seen.stdout);
    assert!(seen.stdout.contains(" --budget MORE\n"), "{}", seen.stdout);
    // A budget is of the session, unless it begins with a plus.
    let resume = |budget| history.rig.kregress(&["bisect", "--resume", session.name(), "--budget", budget]);
    resume("13boots").exits(4);
    assert_eq!(history.session().boots(), session.boots());
    resume("+1boots").exits(4);
    assert!(history.session().boots() > session.boots());
    history.rig.kregress(&["bisect", "--resume", session.name()]).exits(0);
    assert_eq!(history.session().answers(), [[history.hashes[8].clone()]]);
}

#[test]
fn a_replay_boots_nothing_and_says_the_same_in_every_form() {
    let history = History::new(&[("few", counts(0.0)), ("many", counts(52.0))], &line(8, 3, "many"));
    let live = history.bisect(&["--metric", "b/counted:synchronize_rcu"]).exits(0);
    let (session, compiled) = (history.session(), history.compilations());
    let replay = ["bisect", "--replay", session.name()];
    let again = history.rig.kregress(&replay).exits(0);
    assert_eq!(again.stdout, live.stdout);
    for (form, start) in
        [("html", "<!DOCTYPE html>"), ("markdown", "## "), ("text", "Subject: [REGRESSION] "), ("json", "{")]
    {
        let shown = history.rig.kregress(&[&replay[..], &["--format", form]].concat()).exits(0);
        assert!(shown.stdout.starts_with(start), "{form}: {}", shown.stdout);
        assert!(shown.stdout.contains(&history.hashes[3][..12]), "{form}: {}", shown.stdout);
        let file = history.rig.path(form);
        let path = file.to_str().expect("UTF-8");
        let seen = history.rig.kregress(&[&replay[..], &["--format", form, "-o", path]].concat()).exits(0);
        assert_eq!(seen.stdout, "");
        assert_eq!(fs::read_to_string(&file).expect("a report"), shown.stdout, "{form}");
    }
    assert_eq!((history.session().boots(), history.compilations()), (session.boots(), compiled));
    assert_eq!(history.rig.sessions().len(), 1);
}
