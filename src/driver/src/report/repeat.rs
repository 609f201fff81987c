//! The command that repeats a test. Pure.

use crate::exec::shell_line;
use crate::model::{AGAIN, Accel, AccelChoice, Backend, RootFs};
use crate::results::format::{Machine, Plan, Run, TestResult};

/// Options of the original command line that decide what is run and are not in
/// the record otherwise; each takes a value.
const CARRIED: [&str; 2] = ["--config", "--results"];

/// Arguments that run this test again on this kernel, with the seed, the boots
/// and the machine of the run; the accelerator is the one that was in use.
pub(crate) fn arguments(run: &Run, result: &TestResult) -> Vec<String> {
    let plan = &run.plan;
    let mut argv = vec!["kregress".to_owned(), "run".to_owned(), result.test.clone()];
    let mut option = |name: &str, value: String| argv.extend([name.to_owned(), value]);
    if plan.machine.backend == Backend::Local {
        option("--seed", plan.seed.to_string());
        argv.insert(3, "--local".to_owned());
        return carry(plan, argv);
    }
    let kernel = match &plan.comparison {
        // The second name of a kernel that is compared with itself.
        Some(_) => result.kernel.strip_suffix(AGAIN).unwrap_or(&result.kernel),
        None => &result.kernel,
    };
    option("--kernel", kernel.to_owned());
    // All of them: what a test draws at random may depend on the boot.
    option("--boots", plan.boots_per_kernel.max(1).to_string());
    option("--seed", plan.seed.to_string());
    let used = result.boot.and_then(|id| run.boot(id)).map(|boot| boot.launch.accel);
    let asked = match plan.machine.accel {
        AccelChoice::Auto => None,
        AccelChoice::Only(accel) => Some(accel),
    };
    option("--machine", machine(&plan.machine, used.or(asked)));
    carry(plan, argv)
}

/// The same with the options that are carried over as they were given.
fn carry(plan: &Plan, mut argv: Vec<String>) -> Vec<String> {
    for name in CARRIED {
        if let Some(value) = carried(&plan.command, name) {
            argv.extend([name.to_owned(), value]);
        }
    }
    argv
}

/// The same as a line for a shell.
pub(crate) fn line(run: &Run, result: &TestResult) -> String {
    shell_line(&arguments(run, result))
}

fn machine(machine: &Machine, used: Option<Accel>) -> String {
    let mut words = Vec::new();
    if let Some(accel) = used {
        words.push(format!("accel={accel}"));
    }
    words.push(format!("backend={}", machine.backend));
    words.push(format!("cpus={}", machine.cpus));
    words.push(match machine.memory_bytes {
        bytes if bytes % (1 << 30) == 0 => format!("memory={}G", bytes >> 30),
        bytes => format!("memory={}M", bytes >> 20),
    });
    if machine.rootfs != RootFs::Auto {
        words.push(format!("rootfs={}", machine.rootfs));
    }
    words.extend(machine.root.as_ref().map(|root| format!("root={root}")));
    words.join(",")
}

/// Value of `--name VALUE` or `--name=VALUE`; the last one counts.
fn carried(command: &[String], name: &str) -> Option<String> {
    let end = command.iter().position(|word| word == "--").unwrap_or(command.len());
    let words = command[..end].iter();
    let next = words.clone().skip(1).map(Some).chain([None]);
    let values = words.zip(next).filter_map(|(word, next)| match word.strip_prefix(name) {
        Some("") => next.cloned(),
        Some(rest) => rest.strip_prefix('=').map(str::to_owned),
        None => None,
    });
    values.last()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunEvent;
    use crate::results::format::State;
    use crate::results::testing::{self, fold};

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_test_on_the_hosts_own_kernel_is_repeated_there() {
        let test = "smoke/netns-drain[namespaces=50]";
        let mut events = testing::started(&["local"], &[test], 1);
        events.push(testing::boot(1, "local"));
        events.push(RunEvent::TestFinished(testing::fail(test, "local", 1, "x")));
        let mut run = fold(&events).close(State::Unfinished);
        run.plan.machine.backend = Backend::Local;
        run.plan.command = words("kregress run --local --results=out smoke");
        assert_eq!(
            line(&run, &run.results[0]),
            "kregress run 'smoke/netns-drain[namespaces=50]' --local --seed 17 --results out"
        );
    }

    #[test]
    fn a_failed_test_is_repeated_on_its_kernel_with_seed_and_machine() {
        let test = "smoke/netns-drain[namespaces=50]";
        let mut events = testing::started(&["stable"], &[test], 3);
        events.push(testing::boot(1, "stable"));
        events.push(RunEvent::TestFinished(testing::fail(test, "stable", 1, "x")));
        let mut run = fold(&events).close(State::Unfinished);
        run.plan.command = words("kregress run --config my.yaml --results=out smoke");
        assert_eq!(
            line(&run, &run.results[0]),
            "kregress run 'smoke/netns-drain[namespaces=50]' --kernel stable --boots 3 --seed 17 \
             --machine accel=tcg,backend=qemu,cpus=2,memory=1G --config my.yaml --results out"
        );
    }

    #[test]
    fn a_test_that_no_boot_reached_leaves_the_accelerator_open() {
        let run = fold(&testing::started(&["stable"], &["smoke/a"], 1)).close(State::Unfinished);
        let line = line(&run, &run.results[0]);
        assert!(line.ends_with("--machine backend=qemu,cpus=2,memory=1G"), "{line}");
    }

    #[test]
    fn options_are_found_in_both_forms_and_the_last_one_counts() {
        let command = words("kregress run --config a --config=b --configure c -- --config d");
        assert_eq!(carried(&command, "--config").as_deref(), Some("b"));
        assert_eq!(carried(&words("kregress --config"), "--config"), None);
    }
}
