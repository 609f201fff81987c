//! The fake QEMU does what its scripts say, and no more. What it prints is
//! judged by the console classifier, what it sends by the frame decoder.

#[path = "../../examples/fake-qemu/args.rs"]
mod args;
#[path = "../../examples/fake-qemu/cpio.rs"]
mod cpio;
#[path = "../cli/fake_kernel.rs"]
mod fake_kernel;
mod host;
mod qmp;
#[path = "../../examples/fake-qemu/samples.rs"]
mod samples;

use fake_kernel::{Behaviour, Boot, FakeKernel, Farewell, SampleRule, Splat, script};
use host::{Exit, Host, Image, Run, refused};
use kregress::console::FindingKind;
use kregress_wire::{Event, FrameError, Outcome, PROTOCOL, Request};

/// Runs three tests of which the middle one, with id 2, behaves so.
fn run_with(behaviour: Behaviour) -> Run {
    Host::start(&FakeKernel::new().test("smoke/middle", behaviour), TESTS).finish()
}

const TESTS: &[&str] = &["smoke/first", "smoke/middle", "smoke/last"];

/// `started 1`, `pass 1` and so on, without samples, notes and progress.
fn outline(run: &Run) -> Vec<String> {
    let word = |event: &Event| match event {
        Event::Hello(_) => Some("hello".to_owned()),
        Event::Started { test } => Some(format!("started {test}")),
        Event::Finished { test, outcome, .. } => Some(match outcome {
            Outcome::Pass { .. } => format!("pass {test}"),
            Outcome::Fail { .. } | Outcome::TimedOut { .. } => format!("fail {test}"),
            Outcome::Skip { .. } => format!("skip {test}"),
            Outcome::Error { .. } => format!("error {test}"),
        }),
        Event::Settling { .. } => Some("settling".to_owned()),
        Event::Bye => Some("bye".to_owned()),
        Event::Diagnosis { .. } => Some("diagnosis".to_owned()),
        Event::Samples { .. } | Event::Note { .. } | Event::Breakdown { .. } | Event::Progress { .. } => None,
    };
    run.events.iter().filter_map(word).collect()
}

const ALL_PASS: [&str; 8] =
    ["hello", "started 1", "pass 1", "started 2", "pass 2", "started 3", "pass 3", "bye"];

#[test]
fn a_new_kernel_boots_and_passes_every_test() {
    let run = Host::start(&FakeKernel::new().release("6.1.192"), TESTS).finish();
    assert_eq!(outline(&run), ALL_PASS);
    let Event::Hello(hello) = &run.events[0] else { panic!("{:?}", run.events[0]) };
    assert_eq!((hello.protocol, &hello.nonce), (PROTOCOL, &host::nonce()));
    assert_eq!((hello.kernel_release.as_str(), hello.cpus), ("6.1.192", 2));
    assert_eq!(hello.features["net-ns"], "yes");
    assert_eq!(run.exit, Exit::Code(0));
    assert_eq!(run.error, None);
    assert_eq!(run.pending, 0);
    assert_eq!(run.stderr, "");
    assert_eq!(
        run.console(),
        "begin 1 smoke/first|end 1 pass|begin 2 smoke/middle|end 2 pass|begin 3 smoke/last|end 3 pass"
    );
    assert!(run.log().contains("Linux version 6.1.192 "), "{}", run.log());
    assert!(String::from_utf8_lossy(&run.output).contains("smoke/middle: working"));
}

#[test]
fn the_same_plan_gives_the_same_bytes() {
    let kernel = FakeKernel::new().test("*first", Behaviour::Splat(Splat::Kasan)).samples(SampleRule {
        test: "*".to_owned(),
        metric: "drain_time".to_owned(),
        median: 5e6,
        spread: 0.2,
        count: 10,
    });
    let (one, two) = (Host::start(&kernel, TESTS).finish(), Host::start(&kernel, TESTS).finish());
    assert_eq!(one.events, two.events);
    assert_eq!(one.log(), two.log());
    assert_eq!(one.output, two.output);
    let samples =
        |event: &Event| matches!(event, Event::Samples { test: 2, values, .. } if values.len() == 10);
    assert!(one.events.iter().any(samples), "{:?}", one.events);
}

#[test]
fn a_kernel_that_never_speaks_is_silent_on_every_channel() {
    for boot in [Boot::Silent, Boot::HangEarly] {
        let kernel = FakeKernel::new().boot(boot.clone());
        let mut host = Host::start(&kernel, TESTS);
        // It is alive, and stays so until somebody ends it.
        let mut monitor = host.monitor();
        assert_eq!(monitor.status(), "running");
        monitor.quit();
        let run = host.finish();
        assert!(run.events.is_empty(), "{boot:?}");
        assert_eq!(run.exit, Exit::Code(0));
        assert_eq!(run.log().is_empty(), boot == Boot::Silent);
        assert!(!run.log().contains("Run /init"));
    }
}

#[test]
fn a_boot_that_goes_wrong_says_what_the_real_one_would() {
    let cases = [
        (Boot::PanicEarly, "panic"),
        (Boot::NoInitrdSupport, "panic"),
        (Boot::PowerOff, ""),
        (
            Boot::NoPort,
            "other no virtio-serial port `org.kregress.control`: the kernel has no /sys/class/virtio-ports|\
             other hint: it needs CONFIG_VIRTIO_CONSOLE=y and CONFIG_VIRTIO_PCI=y, or these modules in the guest image",
        ),
    ];
    for (boot, console) in cases {
        let run = Host::start(&FakeKernel::new().boot(boot.clone()), TESTS).finish();
        assert_eq!(run.console(), console, "{boot:?}");
        assert!(run.events.is_empty(), "{boot:?}");
        assert_eq!((run.exit, run.stderr.as_str()), (Exit::Code(0), ""), "{boot:?}");
    }
}

#[test]
fn a_hello_can_be_wrong_in_every_way() {
    let hello = |boot| {
        let run = Host::start(&FakeKernel::new().boot(boot), TESTS).finish();
        let hellos = run.events.iter().filter_map(|event| match event {
            Event::Hello(hello) => Some(hello.clone()),
            _ => None,
        });
        let hellos = hellos.collect::<Vec<_>>();
        (hellos, run)
    };
    assert_eq!(hello(Boot::WrongProtocol).0[0].protocol, PROTOCOL + 1);
    assert_ne!(hello(Boot::WrongNonce).0[0].nonce, host::nonce());
    assert_eq!(hello(Boot::HelloTwice).0.len(), 2);
    let (none, run) = hello(Boot::NoHello);
    assert_eq!((none.len(), outline(&run)[0].as_str()), (0, "started 1"));
    let (none, run) = hello(Boot::Garbage);
    assert_eq!(none.len(), 0);
    assert!(matches!(run.error, Some(FrameError::Magic { sequence: 0, .. })), "{:?}", run.error);
    assert_eq!(outline(&hello(Boot::Slow(1)).1), ALL_PASS);
}

#[test]
fn a_kernel_may_hang_under_kvm_alone() {
    let kernel = FakeKernel::new().boot(Boot::HangUnderKvm);
    assert_eq!(outline(&Host::start(&kernel, TESTS).finish()), ALL_PASS);
    let mut host = Host::start_with(&kernel, TESTS, Image::Whole, &["-accel", "kvm"]);
    host.monitor().quit();
    let run = host.finish();
    assert!(run.events.is_empty());
    assert_eq!(run.log(), "");
}

#[test]
fn qemu_itself_may_refuse_to_start() {
    let kernel = FakeKernel::new().boot(Boot::KvmRefused);
    let (exit, stderr) = refused(&kernel, &["-accel", "kvm"]);
    assert_eq!(exit, Exit::Code(1));
    assert!(stderr.contains("-accel kvm: failed to initialize kvm"), "{stderr}");
    assert_eq!(outline(&Host::start(&kernel, TESTS).finish()), ALL_PASS);
    let crash = Boot::Exit { code: 7, stderr: "out of luck".to_owned() };
    assert_eq!(refused(&FakeKernel::new().boot(crash), &[]), (Exit::Code(7), "out of luck\n".to_owned()));
}

#[test]
fn what_is_no_kernel_or_initrd_is_refused_in_qemus_words() {
    let kernel = FakeKernel::new();
    let cases = [
        (["-kernel", "/nonexistent"], "qemu: could not open kernel file '/nonexistent': No such file"),
        (["-kernel", "/dev/null"], "qemu: linux kernel too old to load a ram disk"),
        (["-initrd", "/nonexistent"], "qemu: error reading initrd /nonexistent"),
        (["-serial", "chardev:nobody"], "qemu-system-x86_64: -serial chardev:nobody: could not connect"),
        (["-frobnicate", "1"], "qemu-system-x86_64: -frobnicate: invalid option"),
    ];
    for (extra, expected) in cases {
        let (exit, stderr) = refused(&kernel, &extra);
        assert_eq!(exit, Exit::Code(1), "{extra:?}");
        assert!(stderr.starts_with(expected), "{stderr}");
    }
}

#[test]
fn a_socket_on_which_nobody_listens_is_refused() {
    let extra = ["-chardev", "socket,id=z,path=/nonexistent/z", "-serial", "chardev:z"];
    let (exit, stderr) = refused(&FakeKernel::new(), &extra);
    assert_eq!(exit, Exit::Code(1));
    let expected =
        "qemu-system-x86_64: -chardev socket,id=z,path=/nonexistent/z: Failed to connect to '/nonexistent/z'";
    assert!(stderr.starts_with(expected), "{stderr}");
}

#[test]
fn the_version_can_be_any() {
    assert_eq!(host::version(None), "QEMU emulator version 8.2.0 (fake)\n");
    assert_eq!(host::version(Some("4.1.0")), "QEMU emulator version 4.1.0 (fake)\n");
}

#[test]
fn an_image_that_is_no_initramfs_of_ours_ends_as_it_would_in_the_kernel() {
    let console = |image| {
        let run = Host::start_with(&FakeKernel::new(), TESTS, image, &[]).finish();
        assert_eq!((run.exit, run.events.len()), (Exit::Code(0), 0), "{image:?}");
        run.log()
    };
    assert!(console(Image::Compressed).contains("Initramfs unpacking failed: no cpio magic"));
    assert!(console(Image::WithoutInit).contains("VFS: Unable to mount root fs"));
    assert!(console(Image::WithoutPlan).contains("kregress: cannot read /kregress/plan.json: No such file"));
    assert!(console(Image::BrokenPlan).contains("kregress: cannot read /kregress/plan.json: expected"));
}

#[test]
fn a_panic_ends_qemu_only_if_the_command_line_says_so() {
    let kernel = FakeKernel::new().test("smoke/first", Behaviour::Panic);
    let mut host = Host::start_with(&kernel, TESTS, Image::Whole, &["-append", "console=ttyS0"]);
    host.until(|run| run.log().contains("Kernel panic - not syncing: Fatal exception"));
    let mut monitor = host.monitor();
    monitor.wait_until_frozen();
    monitor.quit();
    assert_eq!(host.finish().console(), "begin 1 smoke/first|panic");
}

#[test]
fn a_machine_that_may_reboot_boots_again_after_a_panic() {
    let kernel = FakeKernel::new().test("smoke/first", Behaviour::Panic);
    let mut host = Host::start_without(&kernel, TESTS, "-no-reboot");
    host.until(|run| run.log().matches("Linux version").count() == 2);
    host.kill();
    assert_eq!(host.finish().console(), "begin 1 smoke/first|panic|reboot");
}

#[test]
fn without_a_console_on_the_command_line_nothing_is_printed() {
    let run = Host::start_with(&FakeKernel::new(), TESTS, Image::Whole, &["-append", "quiet"]).finish();
    assert_eq!(outline(&run), ALL_PASS);
    assert_eq!(run.log(), "");
}

#[test]
fn a_machine_without_the_named_port_gets_the_guests_own_words() {
    let run = Host::without_ports(&FakeKernel::new(), TESTS);
    assert!(run.log().contains("no virtio-serial port `org.kregress.control` within 15 s"), "{}", run.log());
    assert_eq!(run.exit, Exit::Code(0));
}

#[test]
fn outcomes_are_those_of_the_script() {
    let cases = [
        (Behaviour::Fail("it broke".into()), Outcome::Fail { message: "it broke".into() }),
        (Behaviour::Skip("no luck".into()), Outcome::Skip { reason: "no luck".into() }),
        (Behaviour::Error("no idea".into()), Outcome::Error { message: "no idea".into() }),
        (Behaviour::PassWithoutChecks, Outcome::Pass { checks: 0 }),
        (Behaviour::PassWithoutSamples, Outcome::Pass { checks: 7 }),
        (Behaviour::Slow(1), Outcome::Pass { checks: 7 }),
    ];
    for (behaviour, expected) in cases {
        let run = run_with(behaviour);
        assert_eq!(run.outcome(2), Some(&expected));
        assert_eq!(outline(&run).len(), ALL_PASS.len());
    }
}

#[test]
fn patterns_choose_tests_and_the_first_match_counts() {
    let kernel = FakeKernel::new()
        .test("*/middle", Behaviour::Skip("one".into()))
        .test("smoke/*", Behaviour::Error("two".into()));
    let run = Host::start(&kernel, TESTS).finish();
    let expected = ["hello", "started 1", "error 1", "started 2", "skip 2", "started 3", "error 3", "bye"];
    assert_eq!(outline(&run), expected);
}

#[test]
fn every_splat_is_found_in_its_test_as_what_it_is() {
    let cases = [
        (Splat::Warning, FindingKind::Warning),
        (Splat::WarningNewOrder, FindingKind::Warning),
        (Splat::Bug, FindingKind::Bug),
        (Splat::NullDereference, FindingKind::Oops),
        (Splat::Lockdep, FindingKind::Lockdep),
        (Splat::Kasan, FindingKind::Sanitizer),
        (Splat::HungTask, FindingKind::Hang),
        (Splat::NetdevLeak, FindingKind::Leak),
    ];
    for (splat, kind) in cases {
        let run = run_with(Behaviour::Splat(splat));
        let expected = format!(
            "begin 1 smoke/first|end 1 pass|begin 2 smoke/middle|{}|end 2 pass|begin 3 smoke/last|end 3 pass",
            kind.name()
        );
        assert_eq!(run.console(), expected, "{splat:?}");
        assert_eq!(outline(&run), ALL_PASS);
    }
    assert!(!run_with(Behaviour::Splat(Splat::Harmless)).console().contains("|warning"));
}

#[test]
fn a_guest_that_dies_leaves_its_test_open() {
    let cases = [
        (Behaviour::Panic, Exit::Code(0)),
        (Behaviour::PowerOff, Exit::Code(0)),
        (Behaviour::Die(3), Exit::Code(3)),
        (Behaviour::Kill9, Exit::Signal(9)),
    ];
    for (behaviour, exit) in cases {
        let run = run_with(behaviour.clone());
        assert_eq!(run.exit, exit, "{behaviour:?}");
        assert_eq!(outline(&run), ["hello", "started 1", "pass 1", "started 2"], "{behaviour:?}");
        assert_eq!(run.error, None);
        assert_eq!(run.console().ends_with("|panic"), behaviour == Behaviour::Panic);
    }
}

#[test]
fn half_a_frame_is_not_a_frame() {
    let run = run_with(Behaviour::HalfFrame);
    assert_eq!(outline(&run).last().map(String::as_str), Some("started 2"));
    assert!(run.pending > 0);
    assert_eq!(run.exit, Exit::Code(1));
}

#[test]
fn a_spoilt_stream_is_refused_by_the_decoder_where_it_was_spoilt() {
    let error = |behaviour: Behaviour| {
        let run = run_with(behaviour.clone());
        assert_eq!(outline(&run).last().map(String::as_str), Some("started 2"), "{behaviour:?}");
        run.error.unwrap_or_else(|| panic!("{behaviour:?} gave no error"))
    };
    assert!(matches!(error(Behaviour::Babble), FrameError::Magic { .. }));
    assert!(matches!(error(Behaviour::DuplicateFrame), FrameError::Sequence { .. }));
    assert!(matches!(error(Behaviour::DamagedFrame), FrameError::Checksum { .. }));
    assert!(matches!(error(Behaviour::HugeFrame), FrameError::TooLong { length, .. } if length == 1 << 30));
    assert!(matches!(error(Behaviour::StrangeMessage), FrameError::Message { .. }));
}

#[test]
fn sound_frames_may_lie() {
    let outline = |behaviour| outline(&run_with(behaviour));
    let unknown = ["started 2", "pass 1003", "pass 2"];
    assert_eq!(outline(Behaviour::UnknownTestId)[3..6], unknown);
    assert_eq!(outline(Behaviour::FinishedTwice)[3..6], ["started 2", "pass 2", "pass 2"]);
    assert_eq!(outline(Behaviour::LeftOut)[2..4], ["pass 1", "started 3"]);
    assert_eq!(outline(Behaviour::ByeWithoutFinish)[3..], ["started 2", "bye"]);
    let strange = run_with(Behaviour::UnknownMetric);
    let is_strange =
        |event: &Event| matches!(event, Event::Samples { metric, .. } if metric == "no-such-metric");
    assert!(strange.events.iter().any(is_strange));
}

#[test]
fn samples_may_come_after_the_end() {
    let rule = SampleRule { test: "*".into(), metric: "x".into(), median: 1.0, spread: 0.0, count: 1 };
    let kernel = FakeKernel::new().test("smoke/middle", Behaviour::LateSamples).samples(rule);
    let run = Host::start(&kernel, TESTS).finish();
    let end = run.events.iter().position(|event| matches!(event, Event::Finished { test: 2, .. }));
    let after = &run.events[end.expect("an end") + 1];
    assert!(matches!(after, Event::Samples { test: 2, .. }), "{after:?}");
}

#[test]
fn a_forged_verdict_names_the_next_test() {
    let kernel = FakeKernel::new().test("smoke/middle", Behaviour::Forged);
    let mut host = Host::start(&kernel, TESTS);
    host.until(|run| run.outcome(3).is_some());
    host.monitor().quit();
    assert_eq!(outline(&host.finish())[3..], ["started 2", "pass 3"]);
}

#[test]
fn forged_markers_are_in_the_log() {
    let run = run_with(Behaviour::ForgedMarkers);
    assert!(
        run.console().contains("begin 3 smoke/last|warning|end 3 pass|end 2 pass|begin 3"),
        "{}",
        run.console()
    );
}

#[test]
fn hostile_text_goes_everywhere_and_the_classifier_reads_none_of_it() {
    let run = run_with(Behaviour::HostileText);
    let Some(Outcome::Fail { message }) = run.outcome(2) else { panic!("{:?}", run.outcome(2)) };
    assert!(message.contains("\u{1b}[2J") && message.contains("::error") && message.contains("]]>"));
    assert!(run.log().contains("]]></failure>"));
    assert_eq!(run.console().matches('|').count(), 5, "{}", run.console());
}

#[test]
fn floods_are_as_large_as_asked_for_and_end() {
    let console = run_with(Behaviour::FloodConsole(2));
    assert!(console.console.len() > 2 << 20);
    assert_eq!(outline(&console), ALL_PASS);
    assert_eq!(console.console().matches('|').count(), 5);
    let line = run_with(Behaviour::FloodLine(2));
    assert!(line.console.len() > 2 << 20);
    assert_eq!(line.console().matches('|').count(), 5);
    assert!(run_with(Behaviour::FloodOutput(2)).output.len() >= 2 << 20);
    let samples = run_with(Behaviour::FloodSamples(20));
    let count = |event: &Event| match event {
        Event::Samples { values, .. } => values.len(),
        _ => 0,
    };
    assert!(samples.events.iter().map(count).sum::<usize>() >= 20_000);
    let notes = run_with(Behaviour::FloodNotes(50));
    assert!(notes.events.iter().filter(|event| matches!(event, Event::Note { test: 2, .. })).count() >= 50);
}

#[test]
fn a_slow_drip_is_the_same_stream() {
    let (slow, fast) = (run_with(Behaviour::SlowDrip(1)), run_with(Behaviour::Pass));
    assert_eq!(outline(&slow), outline(&fast));
    assert_eq!(slow.events, fast.events);
}

#[test]
fn endless_progress_goes_on_until_qemu_is_killed() {
    let mut host = Host::start(&FakeKernel::new().test("smoke/first", Behaviour::EndlessProgress), TESTS);
    host.until(|run| run.events.len() > 10);
    host.kill();
    let run = host.finish();
    assert_eq!(outline(&run), ["hello", "started 1"]);
    assert_eq!(run.exit, Exit::Signal(9));
}

#[test]
fn an_agent_answers_while_its_test_is_stuck() {
    let mut host = Host::start(&FakeKernel::new().test("smoke/first", Behaviour::Stuck), TESTS);
    host.until(|run| outline(run).last().is_some_and(|word| word == "started 1"));
    host.request(&Request::Diagnose);
    host.until(|run| outline(run).last().is_some_and(|word| word == "diagnosis"));
    let mut monitor = host.monitor();
    monitor.wait_until_frozen();
    monitor.quit();
    assert_eq!(host.finish().exit, Exit::Code(0));
}

#[test]
fn an_nmi_makes_a_hung_kernel_panic_where_the_command_line_says_so() {
    let kernel = FakeKernel::new().test("smoke/first", Behaviour::Hang);
    let append = ["-append", "console=ttyS0 panic=-1 unknown_nmi_panic=1"];
    let mut host = Host::start_with(&kernel, TESTS, Image::Whole, &append);
    host.until(|run| outline(run).len() == 2);
    host.monitor().inject_nmi();
    let run = host.finish();
    assert_eq!(run.exit, Exit::Code(0));
    assert_eq!(run.console(), "begin 1 smoke/first|panic");
    assert!(run.log().contains("Kernel panic - not syncing: NMI: Not continuing"));
}

#[test]
fn an_nmi_only_confuses_a_kernel_that_is_not_told_to_panic() {
    let mut host = Host::start(&FakeKernel::new().test("smoke/first", Behaviour::Hang), TESTS);
    host.until(|run| outline(run).len() == 2);
    let mut monitor = host.monitor();
    monitor.inject_nmi();
    host.until(|run| run.log().contains("Dazed and confused"));
    monitor.quit();
    assert_eq!(host.finish().console(), "begin 1 smoke/first");
}

#[test]
fn a_stubborn_hang_survives_all_but_sigkill() {
    let kernel = FakeKernel::new().test("smoke/first", Behaviour::HangStubborn);
    let append = ["-append", "console=ttyS0 panic=-1 unknown_nmi_panic=1"];
    let mut host = Host::start_with(&kernel, TESTS, Image::Whole, &append);
    host.until(|run| outline(run).len() == 2);
    let mut monitor = host.monitor();
    monitor.wait_until_frozen();
    host.terminate();
    monitor.inject_nmi();
    assert_eq!(monitor.status(), "running");
    host.kill();
    assert_eq!(host.finish().exit, Exit::Signal(9));
}

#[test]
fn a_plain_hang_ends_by_sigterm() {
    let mut host = Host::start(&FakeKernel::new().test("smoke/first", Behaviour::Hang), TESTS);
    host.until(|run| outline(run).len() == 2);
    host.terminate();
    assert_eq!(host.finish().exit, Exit::Signal(15));
}

#[test]
fn a_running_guest_moves_its_instruction_pointer() {
    let mut host = Host::start(&FakeKernel::new().test("smoke/first", Behaviour::EndlessProgress), TESTS);
    host.until(|run| run.events.len() > 3);
    let mut monitor = host.monitor();
    assert_ne!(monitor.instruction_pointer(), monitor.instruction_pointer());
    monitor.quit();
    assert_eq!(host.finish().exit, Exit::Code(0));
}

#[test]
fn the_end_of_a_boot_can_go_wrong_too() {
    let run = |farewell| Host::start(&FakeKernel::new().farewell(farewell), TESTS).finish();
    let late = run(Farewell::LateSplat(Splat::Warning));
    assert_eq!(outline(&late), ALL_PASS);
    assert!(late.console().ends_with("end 3 pass|warning"));
    let panic = run(Farewell::LatePanic);
    assert_eq!((panic.exit, panic.console().ends_with("end 3 pass|panic")), (Exit::Code(0), true));
    assert_eq!(outline(&run(Farewell::NoBye)), ALL_PASS[..7]);
    assert_eq!(run(Farewell::Die(4)).exit, Exit::Code(4));
    let mut host = Host::start(&FakeKernel::new().farewell(Farewell::NeverPowersOff), TESTS);
    host.until(|run| run.events.last() == Some(&Event::Bye));
    host.monitor().quit();
    assert_eq!(outline(&host.finish()), ALL_PASS);
}

#[test]
fn behaviour_can_change_from_boot_to_boot() {
    let turns = vec![Behaviour::Die(1), Behaviour::Fail("again".into()), Behaviour::Pass];
    let host = Host::start(&FakeKernel::new().test("smoke/middle", Behaviour::InTurn(turns)), TESTS);
    let (first, directory) = host.finish_and_keep();
    assert_eq!(first.exit, Exit::Code(1));
    let words = ["fail 2", "pass 2", "pass 2"];
    for word in words {
        let run = Host::start_in(&directory, &[]).finish();
        assert_eq!(outline(&run)[4], word);
    }
}

#[test]
fn the_dice_fall_alike_for_the_same_seed_and_launch_and_passes_are_written_down() {
    let kernel = FakeKernel::new().chaos(11);
    let roll = || {
        let (run, directory) = Host::start(&kernel, TESTS).finish_and_keep();
        let account = std::fs::read_to_string(directory.path().join("bzImage.account"));
        (run, account.unwrap_or_default())
    };
    let ((one, account), (two, _)) = (roll(), roll());
    assert_eq!(one.events, two.events);
    assert_eq!(one.exit, two.exit);
    let passed = outline(&one).iter().filter(|word| word.starts_with("pass ")).count();
    assert_eq!((passed, account.lines().count()), (3, 3), "{account}");
}

#[test]
fn a_feature_can_be_missing() {
    let kernel = FakeKernel::new().feature("net-ns", "no: CONFIG_NET_NS");
    let run = Host::start(&kernel, TESTS).finish();
    let Event::Hello(hello) = &run.events[0] else { panic!("{:?}", run.events[0]) };
    assert_eq!(hello.features["net-ns"], "no: CONFIG_NET_NS");
}
