//! A script by the dice: what goes wrong in one launch out of many.
//!
//! The dice are those of the seed and of the number of the launch, so that a run
//! can be had again. Weights make most launches talk for a while before they go
//! wrong, and keep what costs a minute of waiting rare.

use std::fs::OpenOptions;
use std::path::Path;

use fastrand::Rng;

use crate::script::{Behaviour, Boot, Farewell, Script, Splat};

/// Tests of this name flood the console with a gigabyte, in one launch.
const FLOOD: &str = "*/flood";

/// The launch that floods and does nothing else wrong; the others print a little.
const FLOODING_LAUNCH: u64 = 7;

/// The script of the next launch of this kernel.
pub(crate) fn roll(seed: u64, kernel: &Path, script: &Script) -> Script {
    let launch = number(kernel);
    let mut rng = Rng::with_seed(seed ^ launch.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    if launch == FLOODING_LAUNCH {
        let tests = vec![(FLOOD.to_owned(), Behaviour::FloodConsole(1024))];
        return Script { tests, chaos: None, ..script.clone() };
    }
    let mut tests = vec![(FLOOD.to_owned(), Behaviour::FloodConsole(rng.u64(0..2)))];
    // By place in the suite and not by name: the same dice whatever it is called.
    tests.extend((1..=9).map(|place| (format!("*{place}"), behaviour(&mut rng))));
    Script { boot: boot(&mut rng), farewell: farewell(&mut rng), tests, chaos: None, ..script.clone() }
}

/// Numbers the launches of a kernel by files beside its image.
fn number(kernel: &Path) -> u64 {
    let claim = |number: &u64| {
        let mut name = kernel.as_os_str().to_owned();
        name.push(format!(".launch-{number}"));
        OpenOptions::new().write(true).create_new(true).open(name).is_ok()
    };
    (1..).find(claim).unwrap_or(u64::MAX)
}

fn boot(rng: &mut Rng) -> Boot {
    match rng.u32(0..200) {
        0 => Boot::Silent,
        1 => Boot::HangEarly,
        2..5 => Boot::PanicEarly,
        5..8 => Boot::PowerOff,
        8..11 => Boot::Exit { code: 1, stderr: "qemu: out of luck".to_owned() },
        11..14 => Boot::WrongNonce,
        14..17 => Boot::WrongProtocol,
        17..20 => Boot::Garbage,
        20..23 => Boot::NoHello,
        23..26 => Boot::HelloTwice,
        26..40 => Boot::Slow(rng.u64(1..50)),
        _ => Boot::Ok,
    }
}

fn farewell(rng: &mut Rng) -> Farewell {
    match rng.u32(0..40) {
        0 => Farewell::NeverPowersOff,
        1 | 2 => Farewell::NoBye,
        3 | 4 => Farewell::LatePanic,
        5 | 6 => Farewell::LateSplat(splat(rng)),
        7 | 8 => Farewell::Die(3),
        _ => Farewell::PowerOff,
    }
}

fn splat(rng: &mut Rng) -> Splat {
    let all = [
        Splat::Warning,
        Splat::WarningNewOrder,
        Splat::Bug,
        Splat::NullDereference,
        Splat::Lockdep,
        Splat::Kasan,
        Splat::HungTask,
        Splat::NetdevLeak,
        Splat::Harmless,
    ];
    all[rng.usize(0..all.len())]
}

fn behaviour(rng: &mut Rng) -> Behaviour {
    match rng.u32(0..200) {
        0 => Behaviour::Hang,
        1 => Behaviour::HangStubborn,
        2 => Behaviour::Stuck,
        3 => Behaviour::EndlessProgress,
        4 => Behaviour::Forged,
        5..9 => Behaviour::Panic,
        9..12 => Behaviour::PowerOff,
        12..15 => Behaviour::Die(rng.u8(0..4)),
        15..18 => Behaviour::Kill9,
        18..21 => Behaviour::Babble,
        21..24 => Behaviour::HalfFrame,
        24..27 => Behaviour::DuplicateFrame,
        27..30 => Behaviour::DamagedFrame,
        30..33 => Behaviour::HugeFrame,
        33..36 => Behaviour::StrangeMessage,
        36..39 => Behaviour::UnknownTestId,
        39..42 => Behaviour::FinishedTwice,
        42..45 => Behaviour::LateSamples,
        45..48 => Behaviour::UnknownMetric,
        48..52 => Behaviour::ForgedMarkers,
        52..56 => Behaviour::HostileText,
        56..59 => Behaviour::FloodLine(rng.u64(1..8)),
        59..62 => Behaviour::FloodOutput(rng.u64(1..16)),
        62..65 => Behaviour::FloodSamples(rng.u64(1..1100)),
        65..68 => Behaviour::FloodNotes(rng.u64(1..400)),
        68..72 => Behaviour::SlowDrip(1),
        72..75 => Behaviour::ByeWithoutFinish,
        75..78 => Behaviour::LeftOut,
        78..81 => Behaviour::PassWithoutChecks,
        81..84 => Behaviour::PassWithoutSamples,
        84..88 => Behaviour::Fail("it broke".to_owned()),
        88..91 => Behaviour::Skip("no luck".to_owned()),
        91..94 => Behaviour::Error("no idea".to_owned()),
        94..104 => Behaviour::Splat(splat(rng)),
        104..110 => Behaviour::Slow(rng.u64(1..30)),
        _ => Behaviour::Pass,
    }
}
