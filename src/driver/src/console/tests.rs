//! The scanner as a whole: order, attribution, bounds. Formats are tested by
//! the corpus.

use proptest::prelude::*;

use super::{Finding, FindingKind, Item, Marker, Scanner, work};

fn scan(log: &str) -> Vec<Item> {
    let mut scanner = Scanner::new();
    scanner.push(log.as_bytes());
    scanner.finish();
    scanner.drain()
}

fn findings(items: &[Item]) -> Vec<&Finding> {
    let mut found = Vec::new();
    for item in items {
        if let Item::Finding(finding) = item {
            found.push(finding);
        }
    }
    found
}

fn titles(log: &str) -> Vec<String> {
    findings(&scan(log)).into_iter().map(|finding| finding.title.clone()).collect()
}

/// One word for each item.
fn outline(items: &[Item]) -> Vec<String> {
    let word = |item: &Item| match item {
        Item::Finding(finding) => finding.kind.name().to_owned(),
        Item::Marker(Marker::Begin { id, .. }) => format!("begin {id}"),
        Item::Marker(Marker::End { id, .. }) => format!("end {id}"),
        Item::Marker(Marker::Other(text)) | Item::GaveUp(text) => text.clone(),
    };
    items.iter().map(word).collect()
}

const LEAK: &str = "[    1.000000] unregister_netdevice: waiting for lo to become free. Usage count = 2\n";

const WARN: &str = "\
[    1.000000] ------------[ cut here ]------------
[    1.000001] WARNING: CPU: 0 PID: 7 at net/core/dev.c:12 foo+0x1/0x20
[    1.000002] RIP: 0010:foo+0x1/0x20
[    1.000003] Call Trace:
[    1.000004]  <TASK>
[    1.000005]  ? __warn+0x1/0x20
[    1.000006]  bar+0x1/0x20
";
const WARN_END: &str = "\
[    1.000007]  </TASK>
[    1.000008] ---[ end trace 0000000000000000 ]---
";

#[test]
fn an_empty_log_is_silent() {
    assert!(scan("").is_empty());
    assert!(scan("\n\n[    0.000000] \n").is_empty());
}

#[test]
fn markers_are_read() {
    let log = "\
[    1.000000] kregress: begin 17 smoke/churn[mode=unshare,n=10]
[    1.500000] kregress: end 17 pass
[    1.600000] kregress: no virtio port of that name
[    1.700000] kregress: begin x y
[    1.800000] kregress: begin 3
";
    let at = |text: &str| log.find(text).expect("in the log") as u64;
    let begin_end = at("\n") + 1;
    assert_eq!(
        scan(log),
        [
            Item::Marker(Marker::Begin {
                id: 17,
                name: "smoke/churn[mode=unshare,n=10]".into(),
                at: begin_end
            }),
            Item::Marker(Marker::End { id: 17, word: "pass".into(), at: begin_end }),
            Item::Marker(Marker::Other("no virtio port of that name".into())),
            Item::Marker(Marker::Other("begin x y".into())),
            Item::Marker(Marker::Other("begin 3".into())),
        ]
    );
}

#[test]
fn a_marker_is_not_believed_where_the_kernel_did_not_print_it() {
    let log = format!("{LEAK}kregress: end 1 pass\noutput kregress: end 2 pass\n");
    assert_eq!(outline(&scan(&log)), ["leak"]);
}

#[test]
fn a_finding_comes_before_the_marker_that_interrupts_it() {
    let end = "[    1.100000] kregress: end 1 pass\n";
    let items = scan(&format!("{WARN}{end}{WARN_END}"));
    assert_eq!(outline(&items), ["warning", "end 1"]);
    assert_eq!(findings(&items)[0].stack, ["foo", "bar"]);
}

#[test]
fn what_is_left_of_an_interrupted_report_is_no_finding_of_the_next_test() {
    let marker = "[    1.100000] kregress: begin 2 x\n";
    let (head, rest) = WARN.split_at(WARN.find("[    1.000003]").expect("trace"));
    let items = scan(&format!("{head}{marker}{rest}{WARN_END}"));
    assert_eq!(outline(&items), ["warning", "begin 2"]);
}

#[test]
fn a_stack_trace_in_the_next_test_is_not_explained_by_a_report_of_the_last_one() {
    let marker = "[    1.100000] kregress: begin 2 x\n";
    let trace = "[    1.200000] Call Trace:\n[    1.200001]  <TASK>\n[    1.200002]  lost+0x1/0x2\n";
    let items = scan(&format!("{WARN}{WARN_END}{marker}{trace}"));
    assert_eq!(outline(&items), ["warning", "begin 2", "warning"]);
    assert_eq!(findings(&items)[1].title, "call trace without a known reason in lost");
}

#[test]
fn a_one_line_finding_is_out_at_once() {
    let mut scanner = Scanner::new();
    scanner.push(&LEAK.as_bytes()[..LEAK.len() - 1]);
    assert!(scanner.drain().is_empty());
    scanner.push(b"\n");
    assert_eq!(outline(&scanner.drain()), ["leak"]);
}

#[test]
fn a_report_is_out_when_it_ends() {
    let mut scanner = Scanner::new();
    scanner.push(WARN.as_bytes());
    assert!(scanner.drain().is_empty());
    scanner.push(WARN_END.as_bytes());
    assert_eq!(outline(&scanner.drain()), ["warning"]);
}

#[test]
fn settling_ends_a_report_whose_guest_fell_silent_and_only_once() {
    let mut scanner = Scanner::new();
    scanner.push(WARN.as_bytes());
    scanner.settle();
    assert_eq!(outline(&scanner.drain()), ["warning"]);
    scanner.push(WARN_END.as_bytes());
    scanner.settle();
    scanner.finish();
    assert!(scanner.drain().is_empty());
}

#[test]
fn a_last_line_without_an_end_counts() {
    assert_eq!(titles(LEAK.trim_end()).len(), 1);
}

#[test]
fn the_span_covers_the_report_and_nothing_else() {
    let noise = "[    0.900000] veth0: renamed from peer0\n";
    let items = scan(&format!("{noise}{WARN}{WARN_END}{noise}"));
    let finding = findings(&items)[0];
    let start = noise.len() as u64;
    assert_eq!((finding.start, finding.end), (start, start + (WARN.len() + WARN_END.len()) as u64));
}

#[test]
fn a_repeated_finding_is_reported_once_in_each_test() {
    let begin = "[    2.000000] kregress: begin 2 x\n";
    let items = scan(&format!("{LEAK}{LEAK}{WARN}{WARN_END}{WARN}{WARN_END}{begin}{LEAK}{WARN}{WARN_END}"));
    assert_eq!(outline(&items), ["leak", "warning", "begin 2", "leak", "warning"]);
}

#[test]
fn an_init_of_virtme_ng_that_waits_for_ever_is_told_by_what_it_lacks() {
    let log = "[    5.117638][    T1] virtme-ng-init: virtme-init: cannot find script I/O ports; make sure virtio-serial is available\n";
    let greeting = "          _      _\n   __   _(_)_ __| |_ _ __ ___   ___       _ __   __ _\n";
    // 1.42 goes on, and whoever greets then has done so before.
    let goes_on = "[    5.217638][    T1] virtme-ng-init: starting script (console fallback)\n";
    assert_eq!(scan(&format!("{log}{goes_on}{greeting}")), []);
    assert_eq!(scan(log), []);
    let items = scan(&format!("{log}{greeting}{greeting}"));
    let [Item::GaveUp(words)] = items.as_slice() else { panic!("{items:?}") };
    assert!(words.contains("hint: its root, or this host, lacks udevd"), "{words}");
}

#[test]
fn a_message_of_ours_does_not_make_a_repeated_finding_new() {
    let note = "[    2.000000] kregress: still alive\n";
    assert_eq!(outline(&scan(&format!("{LEAK}{note}{LEAK}"))), ["leak", "still alive"]);
}

#[test]
fn a_panic_is_reported_even_behind_a_flood_of_other_findings() {
    use std::fmt::Write as _;
    let mut log = String::new();
    for n in 0..1000 {
        let _ = writeln!(log, "[    1.000000] unregister_netdevice: waiting for veth{n} to become free.");
    }
    log.push_str("[    2.000000] Kernel panic - not syncing: Fatal exception\n");
    let items = scan(&log);
    let found = findings(&items);
    assert_eq!(found.len(), 65, "64 of a kind and the panic");
    assert_eq!(found[64].kind, FindingKind::Panic);
}

#[test]
fn a_report_cut_off_after_its_first_line_is_a_finding_with_what_is_known() {
    let log = "[    1.0000] x\n[    1.000000] ------------[ cut here ]------------\n[    1.000001] queue is stuck\n";
    assert_eq!(titles(log), ["report without a headline: queue is stuck"]);
}

#[test]
fn many_callers_at_once_lose_no_finding() {
    use std::fmt::Write as _;
    let mut log = String::new();
    for caller in 0..40 {
        let _ = writeln!(log, "[    1.000000][ {:>4}] BUG: bug number x{caller}", format!("T{caller}"));
    }
    assert_eq!(titles(&log).len(), 40);
}

#[test]
fn a_kernel_without_time_stamps_is_understood() {
    let log = "BUG: Bad page state in process ip  pfn:0512e\nCall Trace:\n <TASK>\n foo+0x1/0x2\n </TASK>\n";
    assert_eq!(titles(log), ["BUG: Bad page state in process ip in foo"]);
}

#[test]
fn the_fingerprint_is_the_first_five_functions_that_matter() {
    let stack = ["__schedule", "schedule", "a", "b", "c", "d", "e", "f"];
    let mut finding = Finding {
        kind: FindingKind::Hang,
        title: "hung".into(),
        stack: stack.map(str::to_owned).to_vec(),
        frames: vec![],
        start: 0,
        end: 1,
        allowed: None,
    };
    assert_eq!(finding.fingerprint(), "a:b:c:d:e");
    finding.stack.clear();
    assert_eq!(finding.fingerprint(), "hung");
}

#[test]
fn every_kind_has_a_name_and_a_place_of_its_own() {
    let names: std::collections::BTreeSet<_> = FindingKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), FindingKind::ALL.len());
    for (at, kind) in FindingKind::ALL.iter().enumerate() {
        assert_eq!(*kind as usize, at);
    }
}

/// Lines that drive the scanner through all of its states.
fn line() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        Just("------------[ cut here ]------------".to_owned()),
        Just("WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 foo+0x1/0x2".to_owned()),
        Just("WARNING: net/core/dev.c:1 at foo+0x1/0x2, CPU#0: ip/1".to_owned()),
        Just("BUG: kernel NULL pointer dereference, address: 0000000000000008".to_owned()),
        Just("Oops: Oops: 0002 [#1] SMP".to_owned()),
        Just("kernel BUG at net/core/dev.c:1!".to_owned()),
        Just("BUG: KASAN: slab-use-after-free in foo+0x1/0x2".to_owned()),
        Just("==================================================================".to_owned()),
        Just("INFO: task ip:1 blocked for more than 61 seconds.".to_owned()),
        Just("WARNING: suspicious RCU usage".to_owned()),
        Just("ref_tracker: lo@00000000a1b2c3d4 has 1/2 users at".to_owned()),
        Just("unregister_netdevice: waiting for lo to become free. Usage count = 2".to_owned()),
        Just("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:".to_owned()),
        Just("Sending NMI from CPU 0 to CPUs 1:".to_owned()),
        Just("NMI backtrace for cpu 1".to_owned()),
        Just("Kernel panic - not syncing: Fatal exception".to_owned()),
        Just("---[ end trace 0000000000000000 ]---".to_owned()),
        Just("Call Trace:".to_owned()),
        Just(" <TASK>".to_owned()),
        Just(" </TASK>".to_owned()),
        Just("RIP: 0010:foo+0x1/0x2".to_owned()),
        Just("CPU: 0 PID: 1 Comm: ip".to_owned()),
        Just("Linux version 6.12".to_owned()),
        "[a-c]{1,3}\\+0x1/0x2".prop_map(|frame| format!(" {frame}")),
        "kregress: (begin|end) [0-9] [a-z]{1,3}",
        "\\PC{0,30}",
    ];
    let prefix = prop_oneof![
        Just("[    1.000000] ".to_owned()),
        "\\[    1\\.000000\\]\\[ {4}[TC][0-3]\\] ",
        Just(String::new()),
        Just("<4>[    1.000000] ".to_owned()),
    ];
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r"), Just("")];
    (prefix, text, end).prop_map(|(prefix, text, end)| format!("{prefix}{text}{end}"))
}

fn scan_in_chunks(log: &[u8], sizes: &[usize]) -> Vec<Item> {
    let mut scanner = Scanner::new();
    let mut items = Vec::new();
    let mut rest = log;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at((*size).min(rest.len()));
        scanner.push(chunk);
        items.extend(scanner.drain());
        rest = after;
    }
    scanner.finish();
    items.extend(scanner.drain());
    items
}

/// Bytes that the classifier may look at for each byte of the log: every rule
/// that begins like a line looks at it, and every frame is looked at by several
/// readers. The worst that was found is 22; a reader that looks at the rest of
/// its line from each byte would need two thousand.
const LOOKS_PER_BYTE: u64 = 50;

/// For a log of nothing, and for the ends of lines.
const LOOKS_PER_LOG: u64 = 1000;

fn looks(log: &[u8]) -> u64 {
    work::of(|| scan_in_chunks(log, &[4096])).0
}

/// Lines of a busy kernel, which mean nothing, in an order that a seed decides.
fn noise(bytes: usize) -> String {
    const LINES: &[&str] = &[
        "veth0: entered promiscuous mode",
        "IPv6: ADDRCONF(NETDEV_CHANGE): veth1: link becomes ready",
        "br0: port 1(veth0) entered blocking state",
        "TCP: request_sock_TCP: Possible SYN flooding on port 127.0.0.1:80. Sending cookies.",
        "audit: type=1400 audit(1.1:2): apparmor=\"DENIED\" name=\"BUG: \" comm=\"WARNING: x\"",
        "random: 7 urandom warning(s) missed due to ratelimiting",
        "INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.102 msecs",
    ];
    let mut text = String::with_capacity(bytes + 200);
    // Numerical Recipes' generator; any would do.
    let mut state = 1_u32;
    while text.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let line = LINES[(state >> 16) as usize % LINES.len()];
        text.push_str(&format!("[{:12.6}][ T{:4}] {line}\n", text.len() as f64 / 1e4, state >> 20));
    }
    text
}

#[test]
fn a_warning_in_five_megabytes_of_noise_is_found_and_nothing_else() {
    let (before, after) = (noise(4 << 20), noise(1 << 20));
    let log = format!("{before}{WARN}{WARN_END}{after}");
    assert!(log.len() > 5 << 20);
    let items = scan(&log);
    assert_eq!(outline(&items), ["warning"]);
    assert_eq!(findings(&items)[0].start, before.len() as u64);
    let looks = looks(log.as_bytes());
    assert!(looks < LOOKS_PER_BYTE * log.len() as u64, "{looks}");
}

#[test]
fn what_is_built_to_cost_time_costs_no_more_than_anything_else() {
    for unit in [
        "[",
        "[ ",
        "[0.000000]",
        "[    1.000000] INFO: ",
        "INFO: detected",
        "[    1.000000] WARNING: CPU: PID: at \n",
        "[    1.000000] BUG: *): \n",
        "[    1.000000]  a.b.c.d+0x\n",
        "\u{1b}[",
        "\u{1b}]",
        "kregress: ",
        "\n",
        "[    1.000000] ref_tracker: x has 1/2 users at\n[    1.000000]  f+0x1/0x2\n",
    ] {
        let log = unit.repeat(200_000 / unit.len());
        let looks = looks(log.as_bytes());
        let limit = LOOKS_PER_BYTE * log.len() as u64 + LOOKS_PER_LOG;
        assert!(looks < limit, "{unit:?}: {} for each byte", looks / log.len() as u64);
    }
}

proptest! {
    #[test]
    fn the_result_does_not_depend_on_the_chunks(
        lines in prop::collection::vec(line(), 0..60),
        sizes in prop::collection::vec(1_usize..40, 1..10),
    ) {
        let log = lines.concat().into_bytes();
        prop_assert_eq!(scan_in_chunks(&log, &sizes), scan_in_chunks(&log, &[usize::MAX]));
    }

    #[test]
    fn no_bytes_make_the_scanner_panic(bytes: Vec<u8>, lines in prop::collection::vec(line(), 0..10)) {
        let mut log = lines.concat().into_bytes();
        log.extend_from_slice(&bytes);
        let _ = scan_in_chunks(&log, &[7]);
    }

    #[test]
    fn whatever_comes_out_is_printable_bounded_and_in_its_place(lines in prop::collection::vec(line(), 0..60)) {
        let log = lines.concat().into_bytes();
        let mut section = 0;
        for item in scan_in_chunks(&log, &[usize::MAX]) {
            match item {
                Item::Finding(finding) => {
                    prop_assert!(!finding.title.is_empty() && finding.title.len() <= 300);
                    prop_assert!(!finding.title.chars().any(char::is_control));
                    prop_assert!(finding.stack.len() <= 64);
                    prop_assert!(finding.start < finding.end && finding.end <= log.len() as u64);
                    // Not its start: a marker may stand on the same line.
                    prop_assert!(finding.end >= section);
                }
                Item::Marker(Marker::Begin { at, .. } | Marker::End { at, .. }) => {
                    prop_assert!(at <= log.len() as u64);
                    section = at;
                }
                Item::GaveUp(_) => {}
                Item::Marker(Marker::Other(text)) => prop_assert!(!text.chars().any(char::is_control)),
            }
        }
    }

    #[test]
    fn no_headline_is_lost_among_other_lines(lines in prop::collection::vec(line(), 0..30), at in 0_usize..30) {
        let mut lines: Vec<_> = lines.into_iter().map(|line| format!("{}\n", line.trim_end())).collect();
        let at = at.min(lines.len());
        lines.insert(at, "[    1.000000] BUG: a bug without a name\n".to_owned());
        let log = lines.concat();
        let found = titles(&log).iter().any(|title| title.starts_with("BUG: a bug without a name"));
        prop_assert!(found, "{}", log);
    }

    #[test]
    fn a_hostile_guest_makes_the_scanner_hold_little(lines in prop::collection::vec(line(), 1..40)) {
        let log = lines.concat().repeat(50).into_bytes();
        let mut scanner = Scanner::new();
        for chunk in log.chunks(4096) {
            scanner.push(chunk);
            let _ = scanner.drain();
            prop_assert!(scanner.held() < 1 << 20, "{} bytes held", scanner.held());
        }
    }

    #[test]
    fn no_log_takes_more_than_linear_time(lines in prop::collection::vec(line(), 0..60), times in 1_usize..20) {
        let log = lines.concat().repeat(times).into_bytes();
        let looks = looks(&log);
        let limit = LOOKS_PER_BYTE * log.len() as u64 + LOOKS_PER_LOG;
        prop_assert!(looks <= limit, "{} for {} bytes", looks, log.len());
    }
}
