//! What the numbers were taken on, as a table with a column for each kernel:
//! machine, host, kernel and guest, from the record of a run. Pure.

use std::collections::BTreeSet;

use super::compared::Compared;
use super::{quantity, text_safety};
use crate::exec::shell_line;
use crate::model::{AccelChoice, Backend};
use crate::results::format::{Boot, Run};

/// Facts about several kernels, side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Environment {
    /// Headings of the columns: names of kernels, made safe.
    pub(crate) columns: Vec<String>,
    pub(crate) groups: Vec<Group>,
}

/// Rows under one heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Made safe.
    pub(crate) name: String,
    /// One for each column, made safe; none where nothing is known.
    pub(crate) values: Vec<Option<String>>,
}

impl Row {
    /// The value, where it is the same in all columns.
    pub(crate) fn common(&self) -> Option<&str> {
        let first = self.values.first()?.as_deref()?;
        self.values.iter().all(|value| value.as_deref() == Some(first)).then_some(first)
    }
}

/// A kernel in the run that booted it.
#[derive(Debug, Clone, Copy)]
struct Column<'a> {
    run: &'a Run,
    kernel: &'a str,
}

/// Facts of all kernels of a run.
pub(crate) fn of_run(run: &Run) -> Environment {
    let mut columns: Vec<Column<'_>> = Vec::new();
    for kernel in &run.plan.kernels {
        if !columns.iter().any(|it| it.kernel == kernel) {
            columns.push(Column { run, kernel });
        }
    }
    of(&columns)
}

/// Facts of the two sides of a comparison, as far as their runs are at hand.
pub(crate) fn of_comparison(compared: &Compared<'_>) -> Environment {
    let sides = [&compared.comparison.base, &compared.comparison.head];
    let columns = sides.into_iter().filter_map(|side| {
        let run = compared.run_of(side)?;
        Some(Column { run, kernel: &side.kernel })
    });
    of(&columns.collect::<Vec<_>>())
}

fn of(columns: &[Column<'_>]) -> Environment {
    let mut groups = vec![
        group("run", &RUN, columns),
        group("machine", &MACHINE, columns),
        named("host", columns, |it| Some(&it.run.plan.host)),
    ];
    let mut kernel = group("kernel", &KERNEL, columns);
    let facts = named("kernel", columns, |it| Some(&it.run.kernel(it.kernel)?.facts));
    kernel.rows.extend(facts.rows);
    groups.push(kernel);
    let mut guest = group("guest", &GUEST, columns);
    guest.rows.extend(named("guest", columns, |it| Some(&it.guest_boot()?.guest.as_ref()?.facts)).rows);
    groups.push(guest);
    groups
        .push(named("what the guest can do", columns, |it| Some(&it.guest_boot()?.guest.as_ref()?.features)));
    groups.retain(|group| !group.rows.is_empty());
    Environment { columns: columns.iter().map(|it| text_safety::name(it.kernel)).collect(), groups }
}

type Fact = (&'static str, fn(&Column<'_>) -> Option<String>);

const RUN: [Fact; 6] = [
    ("name", |it| Some(it.run.plan.id.clone())),
    ("started", |it| {
        let started = jiff::Timestamp::from_second(it.run.plan.started_unix).ok()?;
        Some(started.to_string().replace('T', " ").replace('Z', " UTC"))
    }),
    ("took", |it| Some(quantity::seconds(it.run.elapsed_ms))),
    ("command", |it| Some(shell_line(&it.run.plan.command))),
    ("seed", |it| Some(it.run.plan.seed.to_string())),
    ("kregress", |it| Some(it.run.plan.kregress.clone())),
];

const MACHINE: [Fact; 5] = [
    ("accelerator", |it| {
        let used: BTreeSet<&str> = it.boots().map(|boot| boot.launch.accel.name()).collect();
        let used = used.into_iter().collect::<Vec<_>>().join(" and ");
        let asked = match it.run.plan.machine.accel {
            AccelChoice::Auto => "auto",
            AccelChoice::Only(accel) => accel.name(),
        };
        match used.as_str() {
            "" => Some(format!("none used (asked for {asked})")),
            used if used == asked => Some(used.to_owned()),
            used => Some(format!("{used} (asked for {asked})")),
        }
    }),
    ("backend", |it| Some(it.run.plan.machine.backend.to_string())),
    ("CPUs", |it| Some(it.run.plan.machine.cpus.to_string())),
    ("memory", |it| Some(quantity::memory(it.run.plan.machine.memory_bytes))),
    ("QEMU command of the first boot", |it| {
        let local = it.run.plan.machine.backend == Backend::Local;
        it.boots().next().filter(|_| !local).map(|boot| shell_line(&boot.launch.command))
    }),
];

const KERNEL: [Fact; 4] = [
    ("image", |it| Some(it.run.kernel(it.kernel)?.image.clone())),
    ("identity", |it| Some(it.run.kernel(it.kernel)?.identity.clone())),
    ("detectors", |it| {
        let detectors = it.run.kernel(it.kernel)?.detectors.join(", ");
        Some(if detectors.is_empty() { "none".to_owned() } else { detectors })
    }),
    ("boots", |it| {
        let all = it.boots().count();
        let up = it.boots().filter(|boot| boot.guest.is_some()).count();
        Some(if all == up { all.to_string() } else { format!("{all}, of which {up} came up") })
    }),
];

const GUEST: [Fact; 4] = [
    ("release", |it| Some(it.guest_boot()?.guest.as_ref()?.kernel_release.clone())),
    ("version", |it| Some(it.guest_boot()?.guest.as_ref()?.kernel_version.clone())),
    ("CPUs online", |it| Some(it.guest_boot()?.guest.as_ref()?.cpus.to_string())),
    ("memory", |it| Some(quantity::memory(it.guest_boot()?.guest.as_ref()?.memory_bytes))),
];

impl<'a> Column<'a> {
    fn boots(&self) -> impl Iterator<Item = &'a Boot> {
        let kernel = self.kernel;
        self.run.boots.iter().filter(move |boot| boot.launch.kernel == kernel)
    }

    /// The first boot in which the guest said who it is.
    fn guest_boot(&self) -> Option<&'a Boot> {
        self.boots().find(|boot| boot.guest.is_some())
    }
}

fn group(name: &'static str, facts: &[Fact], columns: &[Column<'_>]) -> Group {
    let row = |(name, fact): &Fact| {
        let values: Vec<Option<String>> =
            columns.iter().map(|it| fact(it).map(text_safety::verbatim)).collect();
        values.iter().any(Option::is_some).then(|| Row { name: (*name).to_owned(), values })
    };
    Group { name, rows: facts.iter().filter_map(row).collect() }
}

/// Rows of whatever names the maps of the columns have.
fn named<'a>(
    name: &'static str,
    columns: &[Column<'a>],
    map: impl Fn(&Column<'a>) -> Option<&'a std::collections::BTreeMap<String, String>>,
) -> Group {
    let maps: Vec<_> = columns.iter().map(&map).collect();
    let names: BTreeSet<&String> = maps.iter().flatten().flat_map(|map| map.keys()).collect();
    let row = |key: &&String| Row {
        name: text_safety::name(key),
        values: maps.iter().map(|map| map.and_then(|map| map.get(*key)).map(text_safety::verbatim)).collect(),
    };
    Group { name, rows: names.iter().map(row).collect() }
}

/// The machine in a few words: `tcg, qemu, 2 CPUs, 1 GiB, AMD EPYC, QEMU 7.2.22`.
pub(crate) fn machine(run: &Run, accel: &str) -> String {
    let plan = &run.plan;
    let cpus = match plan.machine.cpus {
        1 => "1 CPU".to_owned(),
        cpus => format!("{cpus} CPUs"),
    };
    let mut words = vec![
        accel.to_owned(),
        plan.machine.backend.to_string(),
        cpus,
        quantity::memory(plan.machine.memory_bytes),
    ];
    words.extend(plan.host.get("cpu").map(|cpu| format!("host {}", text_safety::name(cpu))));
    if let Some(qemu) = plan.host.get("qemu") {
        let version = qemu.trim_start_matches("QEMU emulator version ").split(" (").next();
        words.extend(version.map(|version| format!("QEMU {}", text_safety::name(version))));
    }
    words.join(", ")
}

/// A kernel in a few words: `bad = 6.1.0-56-cloud-amd64`.
pub(crate) fn kernel(name: &str, release: Option<&str>) -> String {
    let name = text_safety::name(name);
    match release {
        Some(release) => format!("{name} ({})", text_safety::name(release)),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testdata;

    #[test]
    fn kernels_stand_side_by_side_and_what_is_common_is_told_once() {
        let run = testdata::run();
        let environment = of_run(&run);
        assert_eq!(environment.columns, ["good", "bad"]);
        let rows: Vec<&Row> = environment.groups.iter().flat_map(|group| &group.rows).collect();
        let row = |name: &str| *rows.iter().find(|row| row.name == name).expect(name);
        assert_eq!(row("seed").common(), Some("17"));
        assert_eq!(row("started").common(), Some("2026-11-20 23:15:02 UTC"));
        assert_eq!(row("accelerator").common(), Some("tcg (asked for auto)"));
        assert_eq!(row("qemu").common(), Some("QEMU emulator version 7.2.22"));
        assert_eq!(row("clocksource").common(), Some("tsc"));
    }

    #[test]
    fn a_kernel_that_never_booted_has_no_guest_and_is_no_error() {
        let mut run = testdata::run();
        run.boots.clear();
        let environment = of_run(&run);
        assert!(environment.groups.iter().all(|group| group.name != "guest"));
        assert_eq!(machine(&run, "tcg"), "tcg, qemu, 2 CPUs, 1 GiB, host AMD EPYC 7763, QEMU 7.2.22");
    }

    #[test]
    fn a_comparison_has_its_two_sides_in_this_order() {
        let data = testdata::regression();
        let run = testdata::run();
        assert_eq!(of_comparison(&data.compared(&[&run])).columns, ["good", "bad"]);
        assert_eq!(of_comparison(&data.compared(&[])).columns, Vec::<String>::new());
    }
}
