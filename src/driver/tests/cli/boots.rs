//! Kernels that do not come up, and kernels that do not go down.

use crate::fake_kernel::{Boot, FakeKernel, Farewell, Splat};
use crate::record::{Record, list};
use crate::rig::Rig;

/// Everything that is told of a kernel that comes up so.
fn told(boot: Boot, code: i32) -> String {
    let rig = Rig::with(&FakeKernel::new().boot(boot));
    let record = rig.kregress(&["run", "t/first"]).exits(code).record();
    format!("{}\n{}", record.boots(), record.verdicts())
}

/// The record of a kernel that goes down so.
fn leaves(farewell: Farewell, code: i32) -> Record {
    let rig = Rig::with(&FakeKernel::new().farewell(farewell));
    rig.kregress(&["run", "t/first"]).exits(code).record()
}

#[test]
fn a_panic_before_init_is_told_by_its_title() {
    insta::assert_snapshot!(told(Boot::PanicEarly, 1), @r"
    1 fake not-booted Kernel panic - not syncing: corrupted stack end detected inside scheduler
    1 t/first error: not-reached: the kernel did not boot: Kernel panic - not syncing: corrupted stack end detected inside scheduler
    ");
}

#[test]
fn a_kernel_without_initrd_support_is_told_which_option_it_lacks() {
    let told = told(Boot::NoInitrdSupport, 1);
    assert!(told.contains("CONFIG_BLK_DEV_INITRD"), "{told}");
    insta::assert_snapshot!(told, @r"
    1 fake not-booted Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(N,N)
      hint: the qemu backend needs CONFIG_BLK_DEV_INITRD=y; the virtme-ng backend needs the fragment `virtme-ng`
    1 t/first error: not-reached: the kernel did not boot: Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(N,N)
    ");
}

#[test]
fn a_kernel_without_the_control_port_is_told_which_options_it_lacks() {
    let rig = Rig::with(&FakeKernel::new().boot(Boot::NoPort));
    let seen = rig.kregress(&["run", "t"]).exits(3);
    assert!(seen.stdout.contains("CONFIG_VIRTIO_CONSOLE"), "{}", seen.stdout);
    insta::assert_snapshot!(seen.record().boots(), @r"
    1 fake not-booted no virtio-serial port `org.kregress.control`: the kernel has no /sys/class/virtio-ports
      hint: it needs CONFIG_VIRTIO_CONSOLE=y and CONFIG_VIRTIO_PCI=y, or these modules in the guest image
    ");
    insta::assert_snapshot!(seen.stdout(), @r"
    fake
      6.12.0-fake, tcg, qemu, 2 CPUs, 512 MiB, 1 boot
      ERROR   t/first
      ERROR   t/middle
      ERROR   t/last

    ERROR t/first
      not-reached on fake
      the kernel did not boot: no virtio-serial port `org.kregress.control`: the
      kernel has no /sys/class/virtio-ports
      hint: it needs CONFIG_VIRTIO_CONSOLE=y and CONFIG_VIRTIO_PCI=y, or these
      modules in the guest image
      also t/middle, t/last
      log:    [DIR]/project/results/[RUN]/boots/1/console.log
      repeat: kregress run t/first --kernel fake --boots 1 --seed 1 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=512M

    note: fake: TCG as asked for
    0 passed, 3 with errors
    3 tests, in [TIME]
    results: [DIR]/project/results/[RUN]
    junit:   [DIR]/project/results/[RUN]/junit.xml
    ");
}

#[test]
fn a_kernel_that_powers_off_before_its_hello_did_not_boot() {
    insta::assert_snapshot!(told(Boot::PowerOff, 3), @r"
    1 fake not-booted the machine ended before the hello of its guest: exit status: 0
    1 t/first error: not-reached: the kernel did not boot: the machine ended before the hello of its guest: exit status: 0
    ");
}

#[test]
fn a_qemu_that_exits_at_once_is_quoted() {
    let boot =
        Boot::Exit { code: 1, stderr: "qemu-system-x86_64: cannot set up guest memory 'pc.ram'".to_owned() };
    insta::assert_snapshot!(told(boot, 3), @r"
    1 fake not-booted the machine ended before the hello of its guest: exit status: 1, its last words: qemu-system-x86_64: cannot set up guest memory 'pc.ram'
    1 t/first error: not-reached: the kernel did not boot: the machine ended before the hello of its guest: exit status: 1, its last words: qemu-system-x86_64: cannot set up guest memory 'pc.ram'
    ");
}

#[test]
fn hello_has_to_be_said_once_and_to_us() {
    insta::assert_snapshot!(told(Boot::WrongNonce, 3), @r"
    1 fake not-booted it broke the protocol: its hello carries the nonce of another boot
    1 t/first error: not-reached: the kernel did not boot: it broke the protocol: its hello carries the nonce of another boot
    ");
    insta::assert_snapshot!(told(Boot::WrongProtocol, 3), @r"
    1 fake not-booted it broke the protocol: it speaks protocol 6, we speak 5
    1 t/first error: not-reached: the kernel did not boot: it broke the protocol: it speaks protocol 6, we speak 5
    ");
    insta::assert_snapshot!(told(Boot::Garbage, 3), @r"
    1 fake not-booted it broke the protocol: frame 0 does not begin with the magic but with [00, ff, 1b, 5b]
    1 t/first error: not-reached: the kernel did not boot: it broke the protocol: frame 0 does not begin with the magic but with [00, ff, 1b, 5b]
    ");
    insta::assert_snapshot!(told(Boot::NoHello, 3), @r"
    1 fake not-booted it broke the protocol: it spoke before its hello
    1 t/first error: not-reached: the kernel did not boot: it broke the protocol: it spoke before its hello
    ");
    insta::assert_snapshot!(told(Boot::HelloTwice, 3), @r"
    1 fake killed it broke the protocol: it said hello twice
    2 fake killed it broke the protocol: it said hello twice
    2 t/first error: not-reached: 2 boots in a row ended before a test had a verdict, the last: it broke the protocol: it said hello twice
    ");
}

#[test]
fn a_slow_boot_is_a_boot() {
    insta::assert_snapshot!(told(Boot::Slow(700), 0), @r"
    1 fake clean
    1 t/first pass
    ");
}

#[test]
fn verdicts_stand_when_the_guest_goes_without_a_goodbye() {
    let record = leaves(Farewell::NoBye, 3);
    insta::assert_snapshot!(record.verdicts(), @"1 t/first pass");
    insta::assert_snapshot!(record.boots(), @"1 fake lost exit status: 0");
}

#[test]
fn a_guest_that_never_powers_off_is_ended_and_its_verdicts_stand() {
    let record = leaves(Farewell::NeverPowersOff, 0);
    insta::assert_snapshot!(record.verdicts(), @"1 t/first pass");
    insta::assert_snapshot!(record.boots(), @"1 fake clean");
}

#[test]
fn how_qemu_exits_after_the_goodbye_says_nothing() {
    let record = leaves(Farewell::Die(7), 0);
    insta::assert_snapshot!(record.boots(), @"1 fake clean");
}

#[test]
fn a_splat_after_the_last_test_fails_the_kernel_and_no_test() {
    let record = leaves(Farewell::LateSplat(Splat::Warning), 1);
    insta::assert_snapshot!(record.verdicts(), @"1 t/first pass");
    assert_eq!(list(&record.json["boots"][0]["findings"]).len(), 1);
}

#[test]
fn a_panic_after_the_last_test_fails_the_kernel_and_no_test() {
    let record = leaves(Farewell::LatePanic, 1);
    insta::assert_snapshot!(record.verdicts(), @"1 t/first pass");
    insta::assert_snapshot!(record.boots(), @"1 fake panicked Kernel panic - not syncing: Fatal exception in interrupt");
}
