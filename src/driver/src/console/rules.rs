//! Which lines of the kernel log begin a finding, and which look as if they did.
//!
//! A table, read from the kernel's sources (6.1 to 6.18); the first rule that
//! matches decides. Patterns are anchored at the beginning of the message, so
//! that a message which quotes another one is not mistaken for it. Does not
//! know how the lines that follow are collected.

use super::{FindingKind, work};
use crate::model::can_be_allowed;

/// How a report ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One line says it all.
    Line,
    /// At the end of the first complete stack trace, which begins within that
    /// many lines; with fewer, what follows is not part of the report.
    Trace(u32),
    /// At `---[ end trace`, after registers and trace.
    EndTrace,
    /// At a line of `=`. The first run of stack frames counts, whether or not
    /// `Call Trace:` stands above it.
    Ruler,
    /// After the first run of stack frames, which has no heading.
    Frames,
    /// Never: nothing comes after it but the end of the kernel.
    Panic,
}

/// How the title is made of the first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Title {
    /// As it is.
    Plain,
    /// With the function where it happened.
    Located,
    /// Up to this text, with the function where it happened.
    Until(&'static str),
    /// This text, with the function where it happened.
    Named(&'static str),
    /// As [`super::title::warning`] has it.
    Warn,
    /// As [`super::title::trap`] has it, with the function where it happened.
    Trap,
}

/// A line that begins a finding.
#[derive(Debug)]
pub(super) struct Rule {
    /// Beginning of the message; `*` stands for any text, also at the front.
    pub(super) pattern: &'static str,
    pub(super) kind: FindingKind,
    pub(super) shape: Shape,
    pub(super) title: Title,
}

/// A line that is no finding although it resembles one, or the head of a stack
/// trace that somebody asked for.
#[derive(Debug)]
pub(super) struct Expected {
    /// As in [`Rule`].
    pub(super) pattern: &'static str,
    /// Why it is harmless.
    pub(super) reason: &'static str,
}

/// What a line begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Headline {
    Finding(&'static Rule),
    Expected,
}

/// What the classifier passes over although it resembles a finding: pattern and
/// reason, for documentation.
pub fn expected() -> impl Iterator<Item = (&'static str, &'static str)> {
    EXPECTED.iter().map(|line| (line.pattern, line.reason))
}

/// Looks a message up in the tables.
pub(super) fn headline(text: &str) -> Option<Headline> {
    let text = without_subsystem(text.trim_start_matches(' '));
    let first = text.bytes().next()?;
    if BEGINNINGS[usize::from(first)] {
        if EXPECTED.iter().any(|line| matches(line.pattern, text)) {
            return Some(Headline::Expected);
        }
        let anchored = RULES.iter().filter(|rule| rule.pattern.as_bytes()[0] == first);
        if let Some(rule) = { anchored }.find(|rule| matches(rule.pattern, text)) {
            return Some(Headline::Finding(rule));
        }
    }
    FLOATING.iter().find(|rule| matches(rule.pattern, text)).map(Headline::Finding)
}

/// Without the name that a file puts in front of all its messages (`pr_fmt`),
/// where it differs between kernels.
pub(super) fn without_subsystem(text: &str) -> &str {
    const PREFIXES: &[&str] = &["rcu: ", "watchdog: ", "NMI watchdog: "];
    PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text)
}

/// First bytes of all anchored patterns: most lines are done with one look.
static BEGINNINGS: [bool; 256] = {
    let mut first = [false; 256];
    let mut at = 0;
    while at < RULES.len() {
        first[RULES[at].pattern.as_bytes()[0] as usize] = true;
        at += 1;
    }
    at = 0;
    while at < EXPECTED.len() {
        first[EXPECTED[at].pattern.as_bytes()[0] as usize] = true;
        at += 1;
    }
    first
};

/// Whether `text` begins with `pattern`. Every `*` is taken by the nearest
/// occurrence of what follows it, so the time is linear in the text.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let head = parts.next().unwrap_or_default();
    work::looked_at(head.len().min(text.len()));
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    for part in parts {
        let found = rest.find(part);
        work::looked_at(found.map_or(rest.len(), |at| at + part.len()));
        match found {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// Whether a title begins with a pattern of a user, in which `*` is any text.
#[must_use]
pub fn title_begins(pattern: &str, title: &str) -> bool {
    matches(pattern, title)
}

/// Whether a finding means that a detector of the kernel is off from there to
/// the end of the boot, so that what is not found any more proves nothing:
/// because it gave up, or because it reports once (`debug_locks_off()` in
/// kernel/locking/lockdep.c).
#[must_use]
pub fn switches_off(kind: FindingKind, title: &str) -> bool {
    const ONCE: &[&str] = &[
        "INFO: trying to register non-static key",
        "WARNING: * lock order detected",
        "WARNING: * still has locks held!",
        "WARNING: Nested lock was not taken",
        "WARNING: bad contention detected",
        "WARNING: bad unlock balance detected",
        "WARNING: chain_key collision",
        "WARNING: held lock freed",
        "WARNING: inconsistent lock state",
        "WARNING: lock held when returning to user space",
        "WARNING: possible ",
        "WARNING: kernel/locking/*DEBUG_LOCKS_WARN_ON(",
        "[ BUG: ",
    ];
    match kind {
        // A hole in the log is over when the log goes on.
        Blind => !title.contains("printk messages dropped"),
        Lockdep => ONCE.iter().any(|pattern| matches(pattern, title)),
        _ => false,
    }
}

/// The class of findings that a user's pattern speaks of, where it tells that
/// it can only be one of those that nobody may allow.
#[must_use]
pub fn never_allowed(pattern: &str) -> Option<FindingKind> {
    let head = pattern.split('*').next().unwrap_or_default();
    if head.is_empty() {
        return None;
    }
    let never = |kind: FindingKind| !can_be_allowed(kind);
    // Titles that the kernel's own line does not begin.
    const OTHER: &[(&str, FindingKind)] = &[
        ("the kernel started again", FindingKind::Reboot),
        ("general protection fault", Oops),
        ("double fault", Oops),
    ];
    if let Some((_, kind)) =
        OTHER.iter().find(|(title, _)| title.starts_with(head) || head.starts_with(title))
    {
        return Some(*kind);
    }
    if let Some(Headline::Finding(rule)) = headline(head)
        && never(rule.kind)
    {
        return Some(rule.kind);
    }
    let mut kinds =
        RULES.iter().filter(|rule| rule.pattern.starts_with(head)).map(|rule| rule.kind).peekable();
    let first = kinds.peek().copied()?;
    kinds.all(never).then_some(first)
}

const fn rule(pattern: &'static str, kind: FindingKind, shape: Shape, title: Title) -> Rule {
    Rule { pattern, kind, shape, title }
}

const fn expected_line(pattern: &'static str, reason: &'static str) -> Expected {
    Expected { pattern, reason }
}

/// Lines between the head of a report and its trace: registers, task, locks.
const SHORT: Shape = Shape::Trace(60);
/// The same for lockdep, which prints whole dependency chains first, and for
/// stalls, which print the state of every CPU or worker pool first.
const LONG: Shape = Shape::Trace(400);

/// Line that opens most reports; what it is about comes on the next ones.
pub(super) const CUT_HERE: &str = "------------[ cut here ]------------";

use FindingKind::{Blind, Bug, Hang, Leak, Lockdep, Memory, Oops, Panic, Sanitizer, Warning};
use Shape::{EndTrace, Frames, Line, Ruler};
use Title::{Located, Named, Plain, Trap, Until, Warn};

/// A stack trace above which nothing stands that we know.
pub(super) static UNEXPLAINED: Rule =
    rule("Call Trace:", Warning, SHORT, Named("call trace without a known reason"));

/// A [`CUT_HERE`] after which no headline came.
pub(super) static CUT_OFF: Rule = rule(CUT_HERE, Warning, EndTrace, Named("report without a headline"));

/// Anchored rules, special ones before general ones of the same beginning.
static RULES: &[Rule] = &[
    // kernel/panic.c
    rule("Kernel panic - not syncing: ", Panic, Shape::Panic, Plain),
    rule("WARNING: CPU: * PID: * at ", Warning, EndTrace, Warn),
    rule("WARNING: at *, CPU#", Warning, EndTrace, Warn),
    rule("WARNING: * at *, CPU#", Warning, EndTrace, Warn),
    // arch/x86/mm/fault.c
    rule(
        "BUG: kernel NULL pointer dereference",
        Oops,
        EndTrace,
        Named("BUG: kernel NULL pointer dereference"),
    ),
    rule("BUG: unable to handle page fault", Oops, EndTrace, Named("BUG: unable to handle page fault")),
    rule("BUG: unable to handle kernel", Oops, EndTrace, Named("BUG: unable to handle page fault")),
    rule("Unable to handle kernel ", Oops, EndTrace, Located),
    rule("Internal error: ", Oops, EndTrace, Trap),
    // arch/x86/kernel/dumpstack.c and traps.c; before 6.10 without `Oops: `
    rule("Oops: ", Oops, EndTrace, Trap),
    rule("general protection fault*[#", Oops, EndTrace, Trap),
    rule("traps: PANIC: double fault", Oops, EndTrace, Named("double fault")),
    rule("PANIC: double fault", Oops, EndTrace, Named("double fault")),
    rule("PANIC: early exception ", Oops, EndTrace, Located),
    rule("BUG: *stack guard page was hit", Oops, EndTrace, Named("BUG: stack guard page was hit")),
    // lib/bug.c
    rule("kernel BUG at ", Bug, EndTrace, Plain),
    rule("Kernel BUG at ", Bug, EndTrace, Plain),
    // kernel/locking/lockdep.c; where the tables overflow, nothing is checked any more
    rule("BUG: MAX_", Blind, SHORT, Plain),
    rule("INFO: lockdep is turned off.", Blind, Line, Plain),
    rule("INFO: trying to register non-static key.", Lockdep, SHORT, Located),
    rule("WARNING: possible circular locking dependency detected", Lockdep, LONG, Located),
    rule("WARNING: possible recursive locking detected", Lockdep, LONG, Located),
    rule("WARNING: possible irq lock inversion dependency detected", Lockdep, LONG, Located),
    rule("WARNING: inconsistent lock state", Lockdep, LONG, Located),
    rule("WARNING: *-safe -> *-unsafe lock order detected", Lockdep, LONG, Located),
    rule("WARNING: bad unlock balance detected", Lockdep, LONG, Located),
    rule("WARNING: bad contention detected", Lockdep, LONG, Located),
    rule("WARNING: held lock freed", Lockdep, LONG, Located),
    rule("WARNING: Nested lock was not taken", Lockdep, LONG, Located),
    rule("WARNING: suspicious RCU usage", Lockdep, LONG, Located),
    rule("WARNING: chain_key collision", Lockdep, LONG, Located),
    // These two end with the list of locks, without a trace.
    rule("WARNING: lock held when returning to user space", Lockdep, Line, Plain),
    rule("WARNING: * still has locks held!", Lockdep, SHORT, Plain),
    rule("[ BUG: ", Lockdep, LONG, Located),
    rule("BUG: key ", Lockdep, SHORT, Plain),
    // kernel/sched/core.c, lib/smp_processor_id.c, kernel/locking/spinlock_debug.c
    rule("BUG: sleeping function called from invalid context", Lockdep, SHORT, Located),
    rule("BUG: scheduling while atomic", Lockdep, SHORT, Located),
    rule("BUG: scheduling in a non-blocking section", Lockdep, SHORT, Located),
    rule("BUG: assuming ", Lockdep, SHORT, Located),
    rule("BUG: using *in preemptible", Lockdep, SHORT, Located),
    rule("BUG: spinlock ", Lockdep, SHORT, Located),
    rule("BUG: rwlock ", Lockdep, SHORT, Located),
    // 6.1 says `leaked lock or atomic`, later ones `leaked atomic, lock or RCU`.
    rule("BUG: workqueue leaked ", Lockdep, SHORT, Named("BUG: workqueue leaked a lock or atomic context")),
    // kernel/rcu, kernel/hung_task.c, kernel/watchdog.c, kernel/workqueue.c
    rule("INFO: *detected*stall", Hang, LONG, Until(" on CPUs/tasks")),
    rule("INFO: task *blocked*for more than ", Hang, SHORT, Located),
    rule("BUG: soft lockup - ", Hang, SHORT, Located),
    rule("Watchdog detected hard LOCKUP on cpu", Hang, SHORT, Located),
    rule("BUG: workqueue lockup - pool", Hang, LONG, Until(" - pool")),
    // sanitizers
    rule("BUG: KASAN: ", Sanitizer, Ruler, Plain),
    rule("BUG: KFENCE: ", Sanitizer, Ruler, Plain),
    rule("BUG: KCSAN: ", Sanitizer, Ruler, Plain),
    rule("BUG: KMSAN: ", Sanitizer, Ruler, Plain),
    rule("UBSAN: ", Sanitizer, SHORT, Located),
    // mm/slub.c, mm/page_alloc.c, mm/memory.c, kernel/fork.c, lib/list_debug.c
    rule("BUG *): Objects remaining ", Leak, SHORT, Plain),
    rule("BUG *): ", Bug, SHORT, Plain),
    rule("BUG: Bad page state ", Bug, SHORT, Until(" pfn:")),
    rule("BUG: Bad page map ", Bug, SHORT, Until(" pte:")),
    rule("BUG: Bad page cache ", Bug, SHORT, Until(" pfn:")),
    rule("BUG: Bad rss-counter state ", Bug, Line, Plain),
    rule("BUG: non-zero pgtables_bytes ", Bug, Line, Plain),
    rule("list_add corruption", Bug, Line, Plain),
    rule("list_add double add", Bug, Line, Plain),
    rule("list_del corruption", Bug, Line, Plain),
    rule("slab_unreclaimable: ", Bug, Line, Plain),
    rule("VFS: Busy inodes after unmount", Leak, Line, Plain),
    // references and memory that do not come back
    rule("unregister_netdevice: waiting for ", Leak, Line, Plain),
    rule("ref_tracker: memory allocation failure", Blind, Line, Plain),
    rule("ref_tracker: reference already released", Bug, Line, Plain),
    rule("ref_tracker: leaked reference", Leak, Frames, Located),
    rule("ref_tracker: * users at", Leak, Frames, Located),
    rule("ref_tracker: *couldn't get stats", Blind, Line, Plain),
    rule("kmemleak: Kernel memory leak detector disabled", Blind, Line, Plain),
    rule("kmemleak: Cannot ", Blind, Line, Plain),
    rule("unreferenced object 0x", Leak, Frames, Located),
    rule("ODEBUG: Out of memory. ODEBUG disabled", Blind, Line, Plain),
    // net
    rule("IPv4: Attempt to release ", Bug, Line, Plain),
    rule("Attempt to release ", Bug, Line, Plain),
    rule("RTNL: assertion failed at ", Lockdep, Line, Plain),
    rule("sysctl duplicate entry: ", Bug, SHORT, Plain),
    rule("protocol *is buggy, dev ", Warning, Line, Plain),
    // mm/oom_kill.c
    rule("Out of memory: Killed process ", Memory, Line, Until(" total-vm:")),
    rule("Memory cgroup out of memory: Killed process ", Memory, Line, Until(" total-vm:")),
    rule("Out of memory and no killable processes", Memory, Line, Plain),
    // kernel/printk: a hole in the log may hide anything
    rule("** * printk messages dropped **", Blind, Line, Plain),
    // whatever is not known by name
    rule("BUG: ", Bug, SHORT, Located),
    rule("WARNING: ", Warning, SHORT, Plain),
];

/// Rules for messages that begin with a name that can be anything.
static FLOATING: &[Rule] = &[
    rule("*: 0000 [#", Oops, EndTrace, Trap),
    rule("* invoked oom-killer: ", Memory, SHORT, Until(": gfp_mask")),
    rule("*: page allocation failure: order:", Memory, SHORT, Until(", mode:")),
    rule("*: vmalloc error: size ", Memory, SHORT, Until(", mode:")),
    rule("*: hw csum failure", Bug, SHORT, Plain),
    rule("*: failed to move * to init_net: ", Bug, Line, Plain),
];

/// Checked before every anchored rule.
static EXPECTED: &[Expected] = &[
    expected_line("FAULT_INJECTION: forcing a failure", "a test asked for it; the trace says where"),
    expected_line(
        "memcg-victim invoked oom-killer: ",
        "tcp-zerocopy/accounting lets a process exceed its cgroup",
    ),
    expected_line(
        "Memory cgroup out of memory: Killed process * (memcg-victim) ",
        "tcp-zerocopy/accounting lets a process exceed its cgroup",
    ),
    expected_line(
        "kmemleak: * new suspected memory leaks",
        "counts what the kernel left at its own start too; the guest copies the objects into the log",
    ),
    expected_line("sysrq: ", "somebody asked for the state of tasks or CPUs"),
    expected_line("NMI backtrace for cpu ", "asked for by sysrq-l or a report that stands above it"),
    expected_line("Sending NMI from CPU ", "asked for by sysrq-l or a report that stands above it"),
    expected_line("task:* state:", "a line of sysrq-t or sysrq-w"),
    expected_line(
        "Showing busy workqueues and worker pools",
        "sysrq-t, or part of a report that stands above it",
    ),
    expected_line("Showing backtraces of running workers", "part of a report that stands above it"),
    expected_line(
        "Showing all locks held in the system",
        "sysrq-d, or part of a report that stands above it",
    ),
    expected_line("WARNING: kernel not compiled with ", "a CPU mitigation; says nothing of the network"),
    expected_line("WARNING: CPU does not support ", "a CPU mitigation; says nothing of the network"),
    expected_line("WARNING: Spectre-v2 mitigation is off", "boot with mitigations=off is our choice"),
    expected_line("WARNING: retbleed=", "a CPU mitigation; says nothing of the network"),
    expected_line("WARNING: ITS mitigation ", "a CPU mitigation; says nothing of the network"),
    expected_line("WARNING: BIOS bug: ", "the virtual machine's firmware, not the kernel"),
    expected_line("WARNING: polling idle and HT enabled", "idle=poll is our choice"),
    expected_line("WARNING: 'bootconfig' found on the kernel command line", "a command line, not the kernel"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern_of(text: &str) -> Option<&'static str> {
        match headline(text)? {
            Headline::Finding(rule) => Some(rule.pattern),
            Headline::Expected => Some("expected"),
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches(
            "INFO: task *blocked*for more than ",
            "INFO: task ip:1 blocked in I/O wait for more than 9"
        ));
        assert!(matches("* invoked oom-killer: ", "stress ng invoked oom-killer: gfp"));
        assert!(matches("a*", "a"));
        assert!(!matches("a*b", "ab".trim_end_matches('b')));
        assert!(!matches("abc", "ab"));
        assert!(!matches("b", "ab"));
    }

    #[test]
    fn the_first_of_several_matching_rules_decides() {
        assert_eq!(pattern_of("BUG: KASAN: slab-use-after-free in foo"), Some("BUG: KASAN: "));
        assert_eq!(pattern_of("BUG: something new"), Some("BUG: "));
        assert_eq!(pattern_of("BUG kmalloc-64 (Tainted: G B): Poison overwritten"), Some("BUG *): "));
        assert_eq!(pattern_of("WARNING: suspicious RCU usage"), Some("WARNING: suspicious RCU usage"));
    }

    #[test]
    fn a_files_name_in_front_is_no_obstacle() {
        assert_eq!(
            pattern_of("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"),
            Some("INFO: *detected*stall")
        );
        assert_eq!(pattern_of("INFO: rcu_tasks detected stalls on tasks:"), Some("INFO: *detected*stall"));
        assert_eq!(pattern_of("watchdog: BUG: soft lockup - CPU#0 stuck"), Some("BUG: soft lockup - "));
    }

    #[test]
    fn a_message_that_quotes_another_one_is_silent() {
        for text in [
            "Comm: BUG: foo",
            "foo[12]: segfault at 0 ip 0 sp 0 error 4 in BUG: x",
            "traps: a.out[55] general protection fault ip:401136 sp:7ffd error:0 in a.out[401000+1000]",
            "RETBleed: WARNING: Spectre v2 mitigation leaves CPU vulnerable to RETBleed attacks, data leaks possible!",
            "INFO: NMI handler (perf_event_nmi_handler) took too long to run: 3.1 msecs",
            "Warning: unable to open an initial console.",
            "TCP: out of memory -- consider tuning tcp_mem",
            "",
        ] {
            assert_eq!(pattern_of(text), None, "{text}");
        }
    }

    #[test]
    fn what_we_asked_for_is_expected() {
        for text in
            ["sysrq: Show Blocked State", "task:kworker/0:1 state:D stack:0", "WARNING: BIOS bug: CPU MTRRs"]
        {
            assert_eq!(pattern_of(text), Some("expected"), "{text}");
        }
    }

    #[test]
    fn a_pattern_that_can_only_mean_the_end_of_a_kernel_is_known() {
        for (pattern, kind) in [
            ("Kernel panic - not syncing: Fatal exception", FindingKind::Panic),
            ("Kernel panic", FindingKind::Panic),
            ("BUG: kernel NULL pointer dereference in *", FindingKind::Oops),
            ("BUG: unable to handle", FindingKind::Oops),
            ("general protection fault* in foo", FindingKind::Oops),
            ("the kernel started", FindingKind::Reboot),
            ("INFO: lockdep is turned off.", FindingKind::Blind),
            ("ref_tracker: memory allocation failure", FindingKind::Blind),
        ] {
            assert_eq!(never_allowed(pattern), Some(kind), "{pattern}");
        }
        for pattern in ["BUG: ", "BUG: KASAN: ", "WARNING: ", "INFO: ", "* in foo", "something", ""] {
            assert_eq!(never_allowed(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn no_rule_hides_behind_an_earlier_one() {
        for (at, rule) in RULES.iter().enumerate() {
            let sample = rule.pattern.replace('*', "x");
            let found = RULES.iter().position(|other| matches(other.pattern, &sample));
            assert_eq!(found, Some(at), "`{}`", rule.pattern);
        }
    }

    #[test]
    fn every_expected_line_has_a_beginning_of_its_own() {
        for line in EXPECTED {
            assert!(!line.pattern.starts_with('*'), "`{}` would expect anything", line.pattern);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_tables_panic(text in "(BUG|WARNING|INFO|[ :*\\[\\]#]|\\PC){0,30}") {
            let _ = headline(&text);
        }
    }
}
