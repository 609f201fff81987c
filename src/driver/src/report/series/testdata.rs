//! Series for the tests of reports.

use std::collections::BTreeMap;

use crate::results::Standing;
use crate::series::checked::{
    Answer, Apply, Blame, Build, Change, Checked, Found, Image, Outcome, Performance, Place, Revision,
    Tested, Trouble, VERSION, Verdict, Warning, Warnings,
};
use crate::series::judge::{self, Course};

fn tests(names: &[(&str, Standing, &str)]) -> BTreeMap<String, Tested> {
    let tested = |(name, standing, message): &(&str, Standing, &str)| {
        let bad = *standing != Standing::Pass;
        let tested = Tested {
            standing: *standing,
            kind: if bad { "assertion" } else { "" }.to_owned(),
            message: (*message).to_owned(),
            missed: u32::from(bad) * if *standing == Standing::Fail { 3 } else { 1 },
            attempts: if *standing == Standing::Fail { 3 } else { 1 + u32::from(bad) },
            elapsed_ms: 150,
        };
        ((*name).to_owned(), tested)
    };
    names.iter().map(tested).collect()
}

fn passing() -> BTreeMap<String, Tested> {
    tests(&[
        ("smoke/netns-drain[namespaces=10]", Standing::Pass, ""),
        ("smoke/nsid-notify", Standing::Pass, ""),
    ])
}

fn patch(number: Option<u32>, subject: &str) -> Revision {
    let digit = char::from_digit(number.unwrap_or(10), 16).unwrap_or('0');
    Revision {
        number,
        subject: subject.to_owned(),
        author: number.map(|_| "A. Developer <dev@example.org>".to_owned()),
        date: number.map(|_| "2026-11-20T10:00:00+00:00".to_owned()),
        files: Vec::new(),
        commit: Some(digit.to_string().repeat(40)),
        apply: Apply::Applies,
        build: Build::Built { seconds: if number.is_none() { 241.0 } else { 12.3 } },
        warnings: match number {
            None => Warnings::NoneToCompare,
            Some(_) => Warnings::Compared { new: Vec::new(), gone: Vec::new() },
        },
        image: Image::Own,
        troubles: Vec::new(),
        tests: passing(),
    }
}

fn judged(revisions: Vec<Revision>, performance: Performance) -> Checked {
    let defects = judge::defects(&revisions, &performance);
    let outcome = judge::outcome(&revisions, &defects, &performance, Course::Whole);
    Checked {
        version: VERSION,
        kind: "series".to_owned(),
        id: "20261122-101500-k3f9".to_owned(),
        directory: "/w/results/series/20261122-101500-k3f9".to_owned(),
        kregress: "0.1.0".to_owned(),
        command: ["kregress", "series", "v6.12..topic", "--tree", "linux"].map(str::to_owned).to_vec(),
        started_unix: 1_795_342_500,
        elapsed_ms: 754_000,
        asked: "v6.12..topic".to_owned(),
        tree: "linux".to_owned(),
        cover: Some("net: faster teardown".to_owned()),
        environment: vec![
            ("machine".to_owned(), "accel=auto,backend=qemu,cpus=2,memory=1G".to_owned()),
            ("qemu".to_owned(), "7.2.22".to_owned()),
            ("compiler".to_owned(), "gcc 12.2.0".to_owned()),
        ],
        revisions,
        defects,
        performance,
        notes: Vec::new(),
        made_of: vec![("patches".to_owned(), "/w/results/20261122-101900-aaaa".to_owned())],
        outcome,
    }
}

fn unchanged() -> Performance {
    Performance::Measured { verdict: Verdict::Unchanged, changes: Vec::new(), unchanged: 7, unknown: 0 }
}

/// Nothing is wrong.
pub(crate) fn good() -> Checked {
    let revisions = vec![patch(None, "Linux 6.12"), patch(Some(1), "net: a"), patch(Some(2), "net: b")];
    judged(revisions, unchanged())
}

/// Of each kind one.
pub(crate) fn six() -> Checked {
    let mut comment = patch(Some(1), "net: say what the list holds");
    comment.image = Image::SameAs { revision: 0 };
    comment.tests.clear();
    let mut warns = patch(Some(2), "vlan: look at the id once");
    warns.warnings = Warnings::Compared {
        new: vec![Warning {
            place: Some(Place { file: "net/8021q/vlan.c".to_owned(), line: Some(214) }),
            message: "unused variable 'id' [-Wunused-variable]".to_owned(),
            identity: "x".to_owned(),
        }],
        gone: Vec::new(),
    };
    let mut unbuilt = patch(Some(3), "dummy: count what is dropped");
    unbuilt.build = Build::Failed {
        reason: "drivers/net/dummy.c:61: 'struct dummy_stats' has no member named 'drops'\n    \
                 61 |  stats->drops++;"
            .to_owned(),
        place: Some(Place { file: "drivers/net/dummy.c".to_owned(), line: Some(61) }),
        log: Some("/cache/logs/patch-3.log".to_owned()),
        seconds: 4.1,
    };
    unbuilt.image = Image::Missing;
    unbuilt.warnings = Warnings::NoneToCompare;
    unbuilt.tests.clear();
    let repairs = patch(Some(4), "dummy: add the counter");
    let slow = patch(Some(5), "ipv6: fib: wait for readers");
    let mut silent = patch(Some(6), "net: nsid without notifications");
    silent.tests = tests(&[
        ("smoke/netns-drain[namespaces=10]", Standing::Pass, ""),
        ("smoke/nsid-notify", Standing::Fail, "no RTM_DELNSID for 4 of 4 ids"),
    ]);
    let answers = vec![Answer {
        revisions: vec![5],
        probability: 0.9997,
        claim: "is the culprit with >99.9 %: drain_time +271 % (+250 .. +290 %, 95 %), 6 fresh boots a side"
            .to_owned(),
    }];
    let change = |test: &str, found| Change {
        test: test.to_owned(),
        metric: "drain_time".to_owned(),
        head: 6,
        verdict: Verdict::Regressed,
        text: "15.1 ms to 56.0 ms, x3.71".to_owned(),
        basis: "x3.50 to x3.90, by chance below 1 in 1000, 6+6 boots".to_owned(),
        found,
    };
    let performance = Performance::Measured {
        verdict: Verdict::Regressed,
        changes: vec![
            change("smoke/netns-drain[namespaces=10]", Found::Patches { answers }),
            change(
                "smoke/netns-drain[namespaces=1]",
                Found::With { name: "smoke/netns-drain[namespaces=10]:drain_time".to_owned() },
            ),
        ],
        unchanged: 5,
        unknown: 1,
    };
    judged(vec![patch(None, "Linux 6.12"), comment, warns, unbuilt, repairs, slow, silent], performance)
}

/// Broken at the first patch, repaired by the second.
pub(crate) fn repaired() -> Checked {
    let mut first = patch(Some(1), "net: a");
    first.tests =
        tests(&[("smoke/nsid-notify", Standing::Fail, "no RTM_DELNSID for 4 of 4 ids\n  left 4\n  right 0")]);
    judged(vec![patch(None, "Linux 6.12"), first, patch(Some(2), "net: b")], unchanged())
}

/// A patch that does not apply, behind one that is alone known.
pub(crate) fn refused() -> Checked {
    let mut second = patch(Some(2), "net: b");
    second.apply = Apply::Refused {
        reason: "`net/core/dev.c`: patch does not apply: `@@ -1,3 +1,4 @@ int x`\n\
                 hint: everything in it is in the tree already: is the base too new?"
            .to_owned(),
    };
    let mut third = patch(Some(3), "net: c");
    third.apply = Apply::NotReached;
    for it in [&mut second, &mut third] {
        it.commit = None;
        it.build = Build::NotTried;
        it.image = Image::Missing;
        it.warnings = Warnings::NoneToCompare;
        it.tests.clear();
    }
    let reason = "the last patch has no kernel".to_owned();
    judged(
        vec![patch(None, "Linux 6.12"), patch(Some(1), "net: a"), second, third],
        Performance::NotMeasured { reason },
    )
}

/// The harness failed, a test is flaky, something fails on the base too.
pub(crate) fn murky() -> Checked {
    let fails = ("smoke/tcp", Standing::Fail, "EFAULT, want EINVAL");
    let mut base = patch(None, "Linux 6.12");
    base.tests.extend(tests(&[fails]));
    let mut first = patch(Some(1), "net: a");
    first.tests.extend(tests(&[fails, ("smoke/nsid-notify", Standing::Flaky, "no RTM_NEWNSID")]));
    first.warnings = Warnings::NotKnown { reason: "its kernel was built by an older kregress".to_owned() };
    let mut second = patch(Some(2), "net: b");
    second.tests.extend(tests(&[fails, ("smoke/nsid-notify", Standing::Error, "the guest went away")]));
    second.troubles.push(Trouble {
        blame: Blame::Harness,
        kind: "lost".to_owned(),
        message: "QEMU was killed by signal 9".to_owned(),
    });
    let mut checked = judged(vec![base, first, second], Performance::NotAsked);
    checked.notes.push("cover.mbox, mail 3, `Re: x`, is an answer, and left out".to_owned());
    checked
}

/// Everything that a text can do to a reader.
pub(crate) fn hostile() -> Checked {
    let mut it = six();
    let evil = "\u{1b}[31m::error::x `|` <script>@netdev #1 \u{202e}\r\n::set-output name=x::y";
    it.cover = Some(evil.to_owned());
    it.notes.push(evil.to_owned());
    for revision in &mut it.revisions {
        revision.subject = evil.to_owned();
        revision.author = Some(evil.to_owned());
        if let Warnings::Compared { new, .. } = &mut revision.warnings {
            new.iter_mut().for_each(|warning| warning.message = evil.to_owned());
        }
        revision.tests.values_mut().for_each(|tested| tested.message = evil.to_owned());
    }
    it.defects.iter_mut().for_each(|defect| defect.message = evil.to_owned());
    it
}

/// All of them with their names.
pub(crate) fn all() -> Vec<(&'static str, Checked)> {
    let mut stopped = six();
    stopped.outcome = Outcome::Interrupted;
    vec![
        ("good", good()),
        ("six", six()),
        ("repaired", repaired()),
        ("refused", refused()),
        ("murky", murky()),
        ("stopped", stopped),
        ("hostile", hostile()),
    ]
}
