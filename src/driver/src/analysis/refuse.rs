//! What has to be the same on both sides of a comparison beside the kernel, so
//! that a difference of numbers is one of the kernels.
//!
//! Each difference is named with both values. The user may allow a class of
//! them; then the comparison carries them as reservations.

use std::fmt;

use super::side::Measured;
use crate::model::{Accel, AccelChoice, Backend, KernelInfo, Machine};
use crate::results::format::Kernel;

/// A class of circumstances, as it is allowed to differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// How instructions are executed: times of different accelerators have
    /// nothing to do with each other.
    Accel,
    /// Who prepares the guest.
    Backend,
    /// Virtual CPUs.
    Cpus,
    /// Guest memory.
    Memory,
    /// What was asked of the kernel's configuration, detectors included.
    Config,
    /// Compiler of the kernel.
    Compiler,
    /// Version of kregress.
    Harness,
    /// Processor, kernel and QEMU of the host, and whether boots had it alone.
    Host,
    /// What the tests draw at random.
    Seed,
}

impl What {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Accel,
        Self::Backend,
        Self::Cpus,
        Self::Memory,
        Self::Config,
        Self::Compiler,
        Self::Harness,
        Self::Host,
        Self::Seed,
    ];

    /// The word for it on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accel => "accel",
            Self::Backend => "backend",
            Self::Cpus => "cpus",
            Self::Memory => "memory",
            Self::Config => "config",
            Self::Compiler => "compiler",
            Self::Harness => "harness",
            Self::Host => "host",
            Self::Seed => "seed",
        }
    }
}

/// A circumstance of a side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstance {
    what: What,
    /// What it is called in a sentence.
    name: &'static str,
    /// For people.
    value: String,
    /// What decides whether two are the same, where the value does not say it all.
    key: Option<String>,
}

impl Circumstance {
    fn new(what: What, name: &'static str, value: impl ToString) -> Self {
        Self { what, name, value: value.to_string(), key: None }
    }

    fn is_as(&self, other: &Self) -> bool {
        match (&self.key, &other.key) {
            (Some(key), Some(other)) => key == other,
            _ => self.value == other.value,
        }
    }
}

/// A circumstance in which the sides differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its class.
    pub what: What,
    name: &'static str,
    base: String,
    head: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}` on base, `{}` on head", self.name, self.base, self.head)
    }
}

/// Circumstances of a kernel that is about to be measured, as far as they may
/// differ within one run.
#[must_use]
pub fn of_kernel(kernel: &KernelInfo, accel: Accel, machine: &Machine) -> Vec<Circumstance> {
    let detectors: Vec<&str> = kernel.detectors.iter().map(|detector| detector.name()).collect();
    let fact = |name: &str| kernel.facts.get(name).map(String::as_str);
    let mut all = configured(&fact, &detectors.join(", "));
    all.push(Circumstance::new(What::Accel, "accelerator", accel));
    all.push(Circumstance::new(What::Backend, "backend", machine.backend));
    all
}

/// Circumstances of a kernel that was measured.
#[must_use]
pub fn of_measured(side: Measured<'_>) -> Vec<Circumstance> {
    let plan = &side.run.plan;
    let machine = &plan.machine;
    let mut all = side.facts().map(of_stored).unwrap_or_default();
    let asked = match machine.accel {
        AccelChoice::Only(accel) => Some(accel),
        AccelChoice::Auto => None,
    };
    if let Some(accel) = side.accel().or(asked) {
        all.push(Circumstance::new(What::Accel, "accelerator", accel));
    }
    all.push(Circumstance::new(What::Backend, "backend", machine.backend));
    if machine.backend == Backend::VirtmeNg {
        let root = machine.root.as_ref().map_or("that of the host".to_owned(), ToString::to_string);
        all.push(Circumstance::new(What::Backend, "root of the guest", root));
        // What was asked for may have come out otherwise; what the guest says did not.
        let boots = side.run.boots.iter().filter(|boot| boot.launch.kernel == side.kernel);
        let mut guests = boots.filter_map(|boot| boot.guest.as_ref());
        if let Some(rootfs) = guests.find_map(|guest| guest.facts.get("root")) {
            all.push(Circumstance::new(What::Backend, "how its files come in", rootfs));
        }
    }
    all.push(Circumstance::new(What::Cpus, "virtual CPUs", machine.cpus));
    all.push(Circumstance::new(What::Memory, "memory", format!("{} MiB", machine.memory_bytes >> 20)));
    all.push(Circumstance::new(What::Harness, "kregress", &plan.kregress));
    for (fact, name) in [
        ("cpu", "processor of the host"),
        ("cpus", "processors of the host"),
        ("kernel", "kernel of the host"),
        ("qemu", "QEMU"),
    ] {
        if let Some(value) = plan.host.get(fact) {
            all.push(Circumstance::new(What::Host, name, value));
        }
    }
    let alone = if plan.quiet_host { "alone" } else { "as it came" };
    all.push(Circumstance::new(What::Host, "the host of timing boots", alone));
    all.push(Circumstance::new(What::Seed, "seed", plan.seed));
    all
}

fn of_stored(kernel: &Kernel) -> Vec<Circumstance> {
    let fact = |name: &str| kernel.facts.get(name).map(String::as_str);
    configured(&fact, &kernel.detectors.join(", "))
}

/// What of a kernel is not its source. The final configuration of two versions
/// never is the same, for each has options that the other lacks; what was asked
/// for is compared.
fn configured<'a>(fact: &dyn Fn(&str) -> Option<&'a str>, detectors: &str) -> Vec<Circumstance> {
    let fragments = fact("fragments").map(|names| if names.is_empty() { "no fragment" } else { names });
    let value = match (fragments, fact("base-config")) {
        (Some(fragments), Some(base)) => format!("{fragments} over {base}"),
        (Some(fragments), None) => fragments.to_owned(),
        (None, _) => "as the image came".to_owned(),
    };
    let key = fact("config-asked").map(str::to_owned);
    let mut all = vec![Circumstance { key, ..Circumstance::new(What::Config, "configuration", value) }];
    let detectors = if detectors.is_empty() { "none" } else { detectors };
    all.push(Circumstance::new(What::Config, "detectors built in", detectors));
    if let Some(compiler) = fact("compiler") {
        all.push(Circumstance::new(What::Compiler, "compiler", compiler));
    }
    all
}

/// In what two sides differ. What is unknown of one is no difference.
#[must_use]
pub fn differences(base: &[Circumstance], head: &[Circumstance]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for here in base {
        let Some(there) = head.iter().find(|it| it.name == here.name) else { continue };
        if here.is_as(there) {
            continue;
        }
        let text = |it: &Circumstance| match &it.key {
            // What people see is the same: the hash tells them apart.
            Some(key) if here.value == there.value => format!("{} ({key})", it.value),
            _ => it.value.clone(),
        };
        differences.push(Difference {
            what: here.what,
            name: here.name,
            base: text(here),
            head: text(there),
        });
    }
    differences
}

/// The sides differ in more than their kernels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refused(Vec<Difference>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "the sides differ in more than their kernels, so a difference of numbers would say nothing"
        )?;
        for difference in &self.0 {
            writeln!(f, "  {difference}")?;
        }
        let mut words: Vec<&str> = self.0.iter().map(|difference| difference.what.word()).collect();
        words.dedup();
        write!(
            f,
            "hint: measure both alike, or take it with a reservation: --allow-different {}",
            words.join(",")
        )
    }
}

/// Differences that were allowed, as reservations.
///
/// # Errors
///
/// Fails with all that were not.
pub fn check(differences: &[Difference], allowed: &[What]) -> Result<Vec<String>, Refused> {
    let (allowed, refused): (Vec<&Difference>, Vec<&Difference>) =
        differences.iter().partition(|difference| allowed.contains(&difference.what));
    if !refused.is_empty() {
        return Err(Refused(refused.into_iter().cloned().collect()));
    }
    Ok(allowed.into_iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::model::{Detector, KernelName, RunEvent};
    use crate::results::format::{Run, State};
    use crate::results::testing;

    fn info(facts: &[(&str, &str)]) -> KernelInfo {
        KernelInfo {
            name: KernelName("k".to_owned()),
            image: PathBuf::from("/vmlinux"),
            identity: "abc".to_owned(),
            release: None,
            detectors: Vec::new(),
            facts: facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    fn kernel(facts: &[(&str, &str)]) -> Vec<Circumstance> {
        of_kernel(&info(facts), Accel::Tcg, &Machine::default())
    }

    fn texts(base: &[Circumstance], head: &[Circumstance]) -> Vec<String> {
        differences(base, head).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn versions_of_one_tree_are_no_difference() {
        let base = kernel(&[("fragments", "base netns"), ("config", "aa"), ("config-asked", "11")]);
        let head = kernel(&[("fragments", "base netns"), ("config", "bb"), ("config-asked", "11")]);
        assert_eq!(texts(&base, &head), Vec::<String>::new());
    }

    #[test]
    fn another_fragment_is_named_on_both_sides() {
        let base = kernel(&[("fragments", "base netns"), ("config-asked", "11")]);
        let head = kernel(&[("fragments", "base netns preempt"), ("config-asked", "22")]);
        assert_eq!(
            texts(&base, &head),
            ["configuration: `base netns` on base, `base netns preempt` on head"]
        );
    }

    #[test]
    fn a_fragment_that_was_edited_is_told_by_its_hash() {
        let base = kernel(&[("fragments", "base"), ("config-asked", "11")]);
        let head = kernel(&[("fragments", "base"), ("config-asked", "22")]);
        assert_eq!(texts(&base, &head), ["configuration: `base (11)` on base, `base (22)` on head"]);
    }

    #[test]
    fn a_built_kernel_and_an_image_are_not_configured_alike() {
        let base = kernel(&[("source", "image `x`")]);
        let head = kernel(&[("fragments", "base"), ("base-config", "/boot/config"), ("compiler", "gcc 14")]);
        assert_eq!(
            texts(&base, &head),
            ["configuration: `as the image came` on base, `base over /boot/config` on head"]
        );
        assert_eq!(texts(&base, &base), Vec::<String>::new());
    }

    #[test]
    fn accelerators_compilers_and_detectors_count() {
        let base = kernel(&[("compiler", "gcc 12.2.0")]);
        let head = KernelInfo { detectors: vec![Detector::Kasan], ..info(&[("compiler", "gcc 14.1.0")]) };
        let head = of_kernel(&head, Accel::Kvm, &Machine::default());
        assert_eq!(
            texts(&base, &head),
            [
                "detectors built in: `none` on base, `kasan` on head",
                "compiler: `gcc 12.2.0` on base, `gcc 14.1.0` on head",
                "accelerator: `tcg` on base, `kvm` on head",
            ]
        );
    }

    fn run(change: impl FnOnce(&mut crate::model::RunInfo)) -> Run {
        let mut info = testing::info(&["stable"], &["smoke/a"], 1);
        change(&mut info);
        let events =
            [RunEvent::RunStarted(info), testing::kernel_ready("stable"), testing::boot(1, "stable")];
        testing::fold(&events).close(State::Finished)
    }

    fn of(run: &Run) -> Vec<Circumstance> {
        of_measured(Measured { run, kernel: "stable" })
    }

    #[test]
    fn two_runs_alike_may_be_compared() {
        assert_eq!(texts(&of(&run(|_| ())), &of(&run(|_| ()))), Vec::<String>::new());
    }

    #[test]
    fn stored_runs_are_held_against_each_other_in_everything_that_is_known() {
        let other = run(|info| {
            info.machine.cpus = 4;
            info.machine.memory = 2 << 30;
            info.version = "0.0.9".to_owned();
            info.host = BTreeMap::from([("cpu".to_owned(), "Other CPU".to_owned())]);
            info.quiet_host = true;
            info.seed = 18;
        });
        insta::assert_snapshot!(texts(&of(&run(|_| ())), &of(&other)).join("\n"), @r"
        virtual CPUs: `2` on base, `4` on head
        memory: `1024 MiB` on base, `2048 MiB` on head
        kregress: `0.1.0` on base, `0.0.9` on head
        processor of the host: `Some CPU` on base, `Other CPU` on head
        the host of timing boots: `as it came` on base, `alone` on head
        seed: `17` on base, `18` on head
        ");
    }

    #[test]
    fn what_was_not_allowed_is_refused_with_every_difference_and_a_way_out() {
        let other = run(|info| {
            info.machine.cpus = 4;
            info.seed = 18;
        });
        let differences = differences(&of(&run(|_| ())), &of(&other));
        insta::assert_snapshot!(check(&differences, &[]).expect_err("refused"), @r"
        the sides differ in more than their kernels, so a difference of numbers would say nothing
          virtual CPUs: `2` on base, `4` on head
          seed: `17` on base, `18` on head
        hint: measure both alike, or take it with a reservation: --allow-different cpus,seed
        ");
        insta::assert_snapshot!(check(&differences, &[What::Seed]).expect_err("refused"), @r"
        the sides differ in more than their kernels, so a difference of numbers would say nothing
          virtual CPUs: `2` on base, `4` on head
        hint: measure both alike, or take it with a reservation: --allow-different cpus
        ");
        let reservations = check(&differences, &What::ALL).expect("allowed");
        assert_eq!(
            reservations,
            ["virtual CPUs: `2` on base, `4` on head", "seed: `17` on base, `18` on head"]
        );
    }
}
