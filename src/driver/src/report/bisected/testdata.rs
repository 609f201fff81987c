//! Bisections for tests of reports: one of each end.

use kregress_wire::{Kind, Unit};

use crate::bisect::bisected::{
    Answer, Bisected, Commit, Confirmation, Effect, Ending, Question, Remaining, Reverted, Row, Rule, Search,
    Spent, State, Suspect,
};
use crate::report::testdata::{self, HOSTILE};

/// Beginning of the hash of the culprit.
pub(crate) const CULPRIT: &str = "42389d4fa578";
/// Where it stands in the range of [`confirmed`].
const PLACE: usize = 17;
const NOISE: f64 = 0.02;

fn hash(start: &str) -> String {
    format!("{start:0<40}")
}

pub(crate) fn commit(start: &str, subject: &str) -> Commit {
    Commit {
        hash: hash(start),
        subject: subject.to_owned(),
        author: "Zoë Example <zoe@example.org>".to_owned(),
        date: "2026-03-01T10:11:12+01:00".to_owned(),
    }
}

/// So many commits in a line, each as probable as the others.
pub(crate) fn line(count: usize, probability: f64) -> Vec<Row> {
    (0..count)
        .map(|at| Row {
            commit: commit(&format!("{:012x}", (at + 1) * 0x9e37_79b9), &format!("net: change number {at}")),
            parents: at.checked_sub(1).into_iter().collect(),
            probability,
            values: vec![],
            state: State::Untouched,
        })
        .collect()
}

/// Noise without randomness.
pub(crate) fn values(middle: f64, count: usize) -> Vec<f64> {
    [0.0, 0.7, -0.4, 1.0, -0.9, 0.3]
        .iter()
        .cycle()
        .take(count)
        .map(|off| middle * (1.0 + NOISE * off))
        .collect()
}

fn level(old: f64, new: f64, boots: u32) -> Effect {
    let change = new / old - 1.0;
    let end = |factor: f64| Some((1.0 + change) * factor - 1.0);
    Effect::Level {
        old,
        new,
        change: Some(change),
        low: end(0.96),
        high: end(1.047),
        confidence: 0.95,
        boots,
    }
}

fn culprit() -> Commit {
    commit(CULPRIT, "xfrm: Wait for RCU readers during policy netns exit")
}

fn metric() -> Question {
    Question::Metric {
        test: "netns-teardown/drain[namespaces=200]".to_owned(),
        metric: testdata::metric("drain_time", Unit::Nanoseconds, Kind::Time),
        rule: Some(Rule::Noisy),
        layout_noise: Some(0.005),
    }
}

fn answer(commits: Vec<Commit>, before: Commit) -> Answer {
    Answer {
        after: commits.last().expect("a commit").clone(),
        commits,
        probability: 0.997,
        before,
        confirmation: Confirmation::Confirmed { effect: level(250e6, 1.85e9, 6) },
        explains: Some(0.98),
        reverted: Reverted::Verified { effect: level(255e6, 1.86e9, 6) },
        breakdown: testdata::regression().comparison.breakdowns.into_iter().next(),
        files: vec!["net/xfrm/xfrm_policy.c".to_owned()],
    }
}

/// One culprit, confirmed and reverted.
pub(crate) fn confirmed() -> Bisected {
    let mut commits = line(40, 0.0);
    commits[PLACE].commit = culprit();
    commits[PLACE].probability = 0.997;
    commits[PLACE - 1].probability = 0.003;
    for at in [4, 10, 15, PLACE - 1, PLACE, 19, 29, 39] {
        let (middle, boots) = if at < PLACE { (250e6, 3) } else { (1.85e9, 3) };
        commits[at].values = values(middle, boots);
        commits[at].state = State::Measured;
    }
    let reason = "net/core/dev.c:17: error: `x` undeclared".to_owned();
    commits[18].state = State::SetAside { reason };
    commits[20].state = State::SameImage { of: hash(&commits[19].commit.hash) };
    let before = commits[PLACE - 1].commit.clone();
    let command = "kregress bisect --tree ~/linux --good v6.1.190 --bad v6.1.192 --metric \
                   netns-teardown/drain[namespaces=200]:drain_time";
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Bisected {
        session: "20261122-011500-x7d2".to_owned(),
        directory: "/data/results/20261122-011500-x7d2".to_owned(),
        command: command.split_whitespace().map(str::to_owned).collect(),
        tree: "~/linux".to_owned(),
        question: metric(),
        environment: vec![
            fact("machine", "qemu, 2 CPUs, 1 GiB"),
            fact("accelerator", "tcg"),
            fact("host", "AMD EPYC 7763"),
            fact("compiler", "gcc 12.2.0"),
        ],
        good: commit("0c5a7f6e1d22", "Linux 6.1.190"),
        good_values: values(250e6, 6),
        bad: commit("b1d0e7aa4c01", "Linux 6.1.192"),
        commits,
        later: vec![],
        endpoints: Some(level(251e6, 1.87e9, 6)),
        ending: Ending::Found,
        answers: vec![answer(vec![culprit()], before)],
        suspects: vec![],
        spent: Spent { builds: 7, cached: 2, failed_builds: 1, boots: 58, steps: 8, seconds: 7980.0 },
        remaining: None,
        notes: vec!["`CONFIG_XFRM_STATISTICS` is not there in 3 revisions".to_owned()],
    }
}

/// Three commits of which only the last can be built.
pub(crate) fn class() -> Bisected {
    let mut it = confirmed();
    let commits: Vec<Commit> = it.commits[PLACE - 2..=PLACE].iter().map(|row| row.commit.clone()).collect();
    for at in [PLACE - 2, PLACE - 1] {
        it.commits[at].state = State::SetAside { reason: "the build fails".to_owned() };
        it.commits[at].values.clear();
        it.commits[at].probability = 0.3;
    }
    it.commits[PLACE].probability = 0.38;
    it.answers = vec![answer(commits, it.commits[PLACE - 3].commit.clone())];
    it.answers[0].probability = 0.98;
    it.answers[0].files.clear();
    it.answers[0].breakdown = None;
    it.answers[0].reverted =
        Reverted::Conflicts { files: vec!["net/xfrm/xfrm_policy.c".to_owned(), "net/core/dev.c".to_owned()] };
    it
}

/// Endpoints that are the same.
pub(crate) fn not_reproduced() -> Bisected {
    let mut it = confirmed();
    it.commits = line(40, 0.0);
    it.answers.clear();
    it.endpoints = Some(Effect::Level {
        old: 250e6,
        new: 254e6,
        change: Some(0.016),
        low: Some(-0.02),
        high: Some(0.053),
        confidence: 0.95,
        boots: 24,
    });
    it.ending = Ending::NotReproduced {
        reason: "the difference of 1.6 % is within the noise of 24 boots a side".to_owned(),
        needs_boots: Some(90),
    };
    it.spent = Spent { builds: 2, boots: 48, seconds: 900.0, ..Spent::default() };
    it
}

/// A search that ran out.
pub(crate) fn budget_spent() -> Bisected {
    let mut it = confirmed();
    it.answers.clear();
    it.ending = Ending::BudgetSpent;
    it.commits[PLACE].probability = 0.61;
    it.commits[PLACE - 1].probability = 0.35;
    let suspect = |at: usize| Suspect {
        commit: it.commits[at].commit.clone(),
        probability: it.commits[at].probability,
    };
    it.suspects = vec![suspect(PLACE), suspect(PLACE - 1)];
    it
}

/// A second culprit behind the first.
pub(crate) fn two() -> Bisected {
    let mut it = confirmed();
    it.answers[0].explains = Some(0.42);
    let second = commit("7e1fa07c55d0", "net: sched: flush the qdiscs twice");
    it.commits[30].commit = second.clone();
    let mut other = answer(vec![second], it.commits[29].commit.clone());
    other.probability = 0.962;
    other.explains = Some(0.55);
    other.breakdown = None;
    other.confirmation = Confirmation::Confirmed { effect: level(250e6, 0.91e9, 12) };
    other.reverted = Reverted::NotTried { reason: "the time of the budget is over.".to_owned() };
    it.answers.push(other);
    let probability = |at: usize| match at {
        30 => 0.962,
        29 => 0.038,
        _ => 0.0,
    };
    it.later = vec![Search {
        good: it.commits[PLACE].commit.hash.clone(),
        bad: it.bad.hash.clone(),
        probabilities: (PLACE + 1..40).map(|at| (at, probability(at))).collect(),
    }];
    it
}

/// A test that fails now and then.
pub(crate) fn pass_fail() -> Bisected {
    let mut it = confirmed();
    it.question = Question::Finding {
        test: "netns-churn/kill-storm".to_owned(),
        title: "KASAN: use-after-free".to_owned(),
    };
    let rate = |old_failed, new_failed| Effect::Rate { old_failed, old: 12, new_failed, new: 12 };
    for (at, row) in it.commits.iter_mut().enumerate() {
        for (n, value) in row.values.iter_mut().enumerate() {
            *value = if at >= PLACE && n != 1 { 1.0 } else { 0.0 };
        }
    }
    it.good_values = vec![0.0; 12];
    it.endpoints = Some(rate(0, 9));
    it.answers[0].confirmation = Confirmation::Confirmed { effect: rate(0, 8) };
    it.answers[0].reverted = Reverted::Verified { effect: rate(0, 9) };
    it.answers[0].explains = None;
    it.answers[0].breakdown = None;
    it
}

/// A count.
pub(crate) fn exact() -> Bisected {
    let mut it = confirmed();
    it.question = Question::Metric {
        test: "netns-teardown/slope".to_owned(),
        metric: testdata::metric("synchronize_rcu", Unit::One, Kind::Count),
        rule: Some(Rule::Exact),
        layout_noise: None,
    };
    let effect =
        Effect::Level { old: 0.0, new: 52.0, change: None, low: None, high: None, confidence: 1.0, boots: 1 };
    for (at, row) in it.commits.iter_mut().enumerate() {
        row.values.truncate(1);
        row.values.iter_mut().for_each(|value| *value = if at >= PLACE { 52.0 } else { 0.0 });
    }
    it.good_values = vec![0.0];
    it.endpoints = Some(effect);
    it.answers[0].probability = 1.0;
    it.answers[0].confirmation = Confirmation::Confirmed { effect };
    it.answers[0].reverted = Reverted::Verified { effect };
    it.answers[0].breakdown = None;
    it.spent = Spent { builds: 8, boots: 8, steps: 6, seconds: 512.0, ..Spent::default() };
    it
}

/// Cut off on its way.
pub(crate) fn unfinished() -> Bisected {
    let mut it = budget_spent();
    it.ending = Ending::Unfinished;
    it.remaining = Some(Remaining { builds: 1.4, boots: 14.0, seconds: 1260.0 });
    it
}

/// An answer that fresh boots do not bear out.
pub(crate) fn not_confirmed() -> Bisected {
    let mut it = confirmed();
    it.answers[0].confirmation = Confirmation::NotConfirmed {
        effect: Some(level(250e6, 256e6, 12)),
        reason: "the two do not differ as the endpoints do.".to_owned(),
    };
    it
}

/// An answer that changes nothing.
pub(crate) fn no_op() -> Bisected {
    let mut it = confirmed();
    it.answers[0].confirmation = Confirmation::NoOp;
    it
}

/// One that no single commit explains, one that stays open, one whose endpoint is broken.
fn others() -> [(&'static str, Bisected); 3] {
    let ended = |ending| Bisected { ending, answers: vec![], ..budget_spent() };
    [
        (
            "contradiction",
            ended(Ending::Contradiction { reason: "a child of a slow commit is fast.".to_owned() }),
        ),
        ("exhausted", ended(Ending::Exhausted)),
        (
            "endpoint",
            ended(Ending::EndpointFailed {
                commit: hash("0c5a7f6e1d22"),
                reason: "the kernel panics before init\nmore".to_owned(),
            }),
        ),
    ]
}

/// [`confirmed`] with [`HOSTILE`] wherever a commit, a kernel or a user can put text.
pub(crate) fn hostile() -> Bisected {
    let mut it = two();
    let evil = |commit: &mut Commit| {
        commit.subject = HOSTILE.to_owned();
        commit.author = format!("{HOSTILE}\nnext");
        commit.date = HOSTILE.to_owned();
    };
    it.commits.iter_mut().for_each(|row| evil(&mut row.commit));
    evil(&mut it.good);
    evil(&mut it.bad);
    for answer in &mut it.answers {
        answer.commits.iter_mut().for_each(evil);
        evil(&mut answer.before);
        evil(&mut answer.after);
        answer.files = vec![HOSTILE.to_owned()];
        answer.reverted = Reverted::Conflicts { files: vec![HOSTILE.to_owned()] };
        if let Some(breakdown) = &mut answer.breakdown {
            breakdown.test = HOSTILE.to_owned();
            breakdown.functions.iter_mut().for_each(|it| it.function.push_str(HOSTILE));
        }
    }
    it.commits[18].state = State::SetAside { reason: HOSTILE.to_owned() };
    it.suspects = vec![Suspect { commit: it.good.clone(), probability: 0.5 }];
    it.question = Question::Finding { test: HOSTILE.to_owned(), title: HOSTILE.to_owned() };
    for text in [&mut it.session, &mut it.directory, &mut it.tree] {
        *text = HOSTILE.to_owned();
    }
    it.command.push(HOSTILE.to_owned());
    it.environment.push((HOSTILE.to_owned(), HOSTILE.to_owned()));
    it.notes = vec![HOSTILE.to_owned()];
    it.ending = Ending::Contradiction { reason: HOSTILE.to_owned() };
    it
}

/// [`confirmed`] over so many commits.
pub(crate) fn long(count: usize) -> Bisected {
    let mut it = confirmed();
    let mut commits = line(count, 0.0);
    let (mut low, mut high) = (0, count - 1);
    let place = count * 7 / 10;
    while low < high {
        let at = usize::midpoint(low, high);
        commits[at].values = values(if at >= place { 1.85e9 } else { 250e6 }, 4);
        commits[at].state = State::Measured;
        if at >= place { high = at } else { low = at + 1 }
    }
    for at in (place.saturating_sub(60)..place).step_by(7) {
        commits[at].probability = 0.003;
        if commits[at].state == State::Untouched {
            commits[at].state = State::SetAside { reason: "the build fails".to_owned() };
        }
    }
    commits[place].commit = culprit();
    commits[place].probability = 0.97;
    commits[count - 1].values = values(1.85e9, 6);
    commits[count - 1].state = State::Measured;
    it.commits = commits;
    it
}

/// The lines of a report that another one does not have.
pub(crate) fn own_lines(report: &str, other: &str) -> String {
    let known: Vec<&str> = other.lines().collect();
    let own: Vec<&str> = report.lines().filter(|line| !known.contains(line)).collect();
    own.join("\n")
}

/// One of each end, by name.
pub(crate) fn all() -> Vec<(&'static str, Bisected)> {
    let mut all = vec![
        ("confirmed", confirmed()),
        ("class", class()),
        ("not-reproduced", not_reproduced()),
        ("budget-spent", budget_spent()),
        ("two", two()),
        ("unfinished", unfinished()),
        ("not-confirmed", not_confirmed()),
        ("no-op", no_op()),
    ];
    all.extend(others());
    all
}
