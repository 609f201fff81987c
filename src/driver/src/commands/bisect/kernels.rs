//! Kernels of a bisection, and boots of them: what `bisect::next` asks for, done.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use super::ask::{question, suite, tree};
use super::scribe::Scribe;
use super::{Want, cache, fix};
use crate::bisect::record::{
    FixUse, KernelLine, KernelOutcome, Line, Phase, Plan, Question, Target, Touched,
};
use crate::bisect::session::Session;
use crate::bisect::{Missing, State};
use crate::chain;
use crate::clock;
use crate::commands::run::host_facts;
use crate::commands::watch::Watch;
use crate::commands::{Context, usage};
use crate::config::{self, Project, machine_text};
use crate::guest::accel::Decision;
use crate::kernel::{self, BuildEnv, Fault, Kernel, Lacking, Reverted};
use crate::lab::{self, BootNumbers, Host, Lab, Measurement, Quiet, Slots};
use crate::model::{AllowRule, Edit, KernelName, KernelSpec, Machine, RunEvent, Source, Suite, Test};
use crate::results::from_machine;

/// Kernels that are looked for in the store before the search begins: each takes a few
/// calls of git.
const LOOKED_FOR: usize = 400;

/// What kernels are built with and booted on.
pub(super) struct Shop {
    lab: Lab,
    env: BuildEnv,
    spec: KernelSpec,
    machine: Machine,
    test: Test,
    profile: Option<Test>,
    suite: Suite,
    allow: Vec<AllowRule>,
    slots: Slots,
    notices: Vec<String>,
    decision: Option<Decision>,
    kernels: BTreeMap<Target, Kernel>,
    host: BTreeMap<String, String>,
}

impl Shop {
    /// Gets ready for the plan of a session.
    ///
    /// # Errors
    ///
    /// Fails where the configuration is no longer what it was, and where the host lacks
    /// what boots need.
    pub(super) fn open(context: &Context, project: &Project, state: &State) -> anyhow::Result<Self> {
        let plan = &state.plan;
        config::check_expiry(&project.allow, clock::today()).map_err(usage)?;
        let machine = from_machine(&plan.machine);
        if context.machine.is_some() {
            unchanged(
                "machine",
                &machine_text(&context.machine(project)?),
                context.machine(project)? == machine,
            )?;
        }
        let (repository, spec) = tree(project, &plan.tree, &plan.bad.hash)?;
        let fragments: Vec<String> = spec.fragments.iter().map(ToString::to_string).collect();
        unchanged("repository", &repository.display().to_string(), repository == plan.repository)?;
        unchanged("fragments", &fragments.join(" "), fragments == plan.fragments)?;
        let (asked, test) = question(project, &wanted(plan))?;
        unchanged("test", plan.question.test(), asked == plan.question)?;
        let profile = match &plan.profile {
            Some(name) => config::select(&project.suites, std::slice::from_ref(name)).map_err(usage)?.pop(),
            None => None,
        };
        let suite = suite(project, &test)?;
        let lab = Lab::equip(machine.backend, &cache()?)?;
        let mut env = context.build_env_for(project, std::slice::from_ref(&test), &machine)?;
        env.lacking = Lacking::Recorded;
        let asked = context.jobs.map(NonZeroUsize::get);
        let quiet = if plan.quiet_host { Quiet::Alone } else { Quiet::Shared };
        let (slots, fewer) = Slots::of(&machine, asked, quiet, Host::now());
        let unquiet = if quiet == Quiet::Alone { lab::unquiet() } else { None };
        Ok(Self {
            suite,
            host: host_facts(&lab),
            lab,
            env,
            spec,
            machine,
            test,
            profile,
            allow: project.allow.clone(),
            slots,
            notices: fewer.into_iter().chain(unquiet).collect(),
            decision: None,
            kernels: BTreeMap::new(),
        })
    }

    /// What the user should know before the first boot.
    pub(super) fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Facts about machine, host and compiler, for the report.
    pub(super) fn place(&self) -> Vec<(String, String)> {
        let mut facts = vec![("machine".to_owned(), machine_text(&self.machine))];
        facts.extend(self.host.iter().map(|(name, value)| (name.clone(), value.clone())));
        let compiler = self.kernels.values().find_map(|kernel| kernel.info.facts.get("compiler"));
        facts.extend(compiler.map(|compiler| ("compiler".to_owned(), compiler.clone())));
        facts
    }

    fn spec(&self, plan: &Plan, target: &Target) -> KernelSpec {
        let repository = plan.repository.clone();
        let fix = plan.fix_build.clone().map(Edit::Fix);
        let source = match (target, fix) {
            (Target::Commit(hash), None) => Source::Git { repository, revision: hash.clone() },
            (Target::Commit(hash), Some(fix)) => {
                Source::Edited { repository, revision: hash.clone(), edits: vec![fix] }
            }
            (Target::Without(culprit), fix) => {
                let edits = std::iter::once(Edit::Revert(culprit.clone())).chain(fix).collect();
                Source::Edited { repository, revision: plan.bad.hash.clone(), edits }
            }
        };
        KernelSpec { name: KernelName(target.name()), source, ..self.spec.clone() }
    }

    /// Builds the kernel of a target or finds it, and gives the line of the record that
    /// says what became of it.
    ///
    /// # Errors
    ///
    /// Fails where the host or what was asked for is to blame, or the user asked to stop:
    /// the revision is not.
    pub(super) fn build(&mut self, plan: &Plan, target: &Target, watch: &mut Watch) -> anyhow::Result<Line> {
        let line = |outcome| Line::Kernel(KernelLine { target: target.clone(), outcome });
        if let Target::Without(culprit) = target {
            let reverted = kernel::revert(&plan.repository, &plan.bad.hash, culprit, &self.env);
            match reverted.map_err(|problem| anyhow::anyhow!("{}", chain::text(&problem)))? {
                Reverted::Reverted(_) => {}
                Reverted::NotNeeded => {
                    return Ok(Line::Conflicts { culprit: culprit.clone(), files: Vec::new() });
                }
                Reverted::Conflicts(files) => {
                    return Ok(Line::Conflicts { culprit: culprit.clone(), files });
                }
            }
        }
        let started = clock::now();
        let spec = self.spec(plan, target);
        let obtained = fix::obtain(&spec, &self.env, watch);
        let seconds = clock::now().saturating_duration_since(started).as_secs_f64();
        let (kernel, fix) = match obtained {
            Ok(obtained) => obtained,
            Err(error) => {
                return match error.fault() {
                    Fault::Tree => {
                        let reason = chain::text(&error);
                        watch.show(&RunEvent::KernelFailed { kernel: spec.name, reason: reason.clone() });
                        Ok(line(KernelOutcome::Unbuildable { reason, failed_in: Some(seconds) }))
                    }
                    // A patch or a fragment that is gone says nothing of the revision.
                    Fault::Request => Err(usage(error)),
                    Fault::Host | Fault::Interrupted => Err(error.into()),
                };
            }
        };
        let fact = |name: &str| kernel.info.facts.get(name).map(String::as_str);
        let lacks = fact("config-absent").unwrap_or_default();
        let outcome = KernelOutcome::Ready {
            identity: kernel.info.identity.clone(),
            image: kernel.image_digest.clone(),
            built_in: (fact("store") == Some("built")).then_some(seconds),
            lacks: lacks.split("; ").filter(|it| !it.is_empty()).map(str::to_owned).collect(),
            fix,
        };
        self.kernels.insert(target.clone(), kernel);
        Ok(line(outcome))
    }

    /// The kernel of a target that was built before, perhaps by another process.
    fn kernel(&mut self, state: &State, target: &Target, watch: &mut Watch) -> anyhow::Result<()> {
        if self.kernels.contains_key(target) {
            return Ok(());
        }
        let before = match state.kernel(target) {
            Some(KernelOutcome::Ready { fix, .. }) => *fix,
            Some(KernelOutcome::Unbuildable { .. }) | None => FixUse::WhereItApplies,
        };
        let spec = fix::as_built(self.spec(&state.plan, target), before);
        let kernel = fix::build(&spec, &self.env, watch)?;
        if let Some(KernelOutcome::Ready { identity, .. }) = state.kernel(target)
            && *identity != kernel.info.identity
        {
            return Err(usage(anyhow::anyhow!(
                "kernel {} is another one than the session has booted: configuration, patch or compiler changed\n\
                 hint: resume it with those that it began with, or begin another one",
                target.name()
            )));
        }
        self.kernels.insert(target.clone(), kernel);
        Ok(())
    }

    /// The accelerator for all boots: that of the first kernel.
    fn decide(&mut self, state: &State, target: &Target, watch: &mut Watch) -> anyhow::Result<Decision> {
        if let Some(decision) = &self.decision {
            return Ok(decision.clone());
        }
        let Some(kernel) = self.kernels.get(target) else {
            anyhow::bail!("kernel {} is gone", target.name());
        };
        let decision = self.lab.decide(kernel, &self.machine)?;
        if let Some(before) = state.accel().filter(|before| *before != decision.accel.name()) {
            return Err(usage(anyhow::anyhow!(
                "the session booted under {before}, and this host now means {}: their times cannot be compared\n\
                 hint: resume it where it began, or begin another one",
                decision.accel.name()
            )));
        }
        watch.show(&RunEvent::Notice(decision.reason.clone()));
        self.decision = Some(decision.clone());
        Ok(decision)
    }

    /// Makes boots that were asked for; each has its line in the record when it is over.
    pub(super) fn boot(
        &mut self,
        session: &mut Session,
        missing: &Missing,
        watch: &mut Watch,
    ) -> anyhow::Result<()> {
        let seed = session.state().plan.seed;
        let targets: BTreeSet<&Target> = missing.boots.iter().map(|(target, _)| target).collect();
        for target in &targets {
            self.kernel(session.state(), target, watch)?;
        }
        let Some(first) = targets.first() else { return Ok(()) };
        let decision = self.decide(session.state(), first, watch)?;
        let tests = match (missing.asked.phase, &self.profile) {
            (Phase::Profile, Some(profile)) => vec![profile.clone()],
            (Phase::Profile | Phase::Endpoints | Phase::Search | Phase::Confirm | Phase::Revert, _) => {
                vec![self.test.clone()]
            }
        };
        // Nothing runs beside a profile, not even another one.
        let slots = match missing.asked.phase {
            Phase::Profile => Slots { side_by_side: 1, ..self.slots },
            Phase::Endpoints | Phase::Search | Phase::Confirm | Phase::Revert => self.slots,
        };
        let run_dir = session.path().to_owned();
        let allow: BTreeMap<&Target, Vec<AllowRule>> =
            targets.iter().map(|target| (*target, self.allowed())).collect();
        let mut measurements = Vec::new();
        for (target, turns) in ranges(&missing.boots) {
            let (Some(kernel), Some(allow)) = (self.kernels.get(target), allow.get(target)) else { continue };
            measurements.push(Measurement {
                kernel,
                cmdline: &self.spec.cmdline,
                allow,
                tests: &tests,
                turns,
                retries: 0,
                machine: &self.machine,
                decision: decision.clone(),
                seed,
                run_dir: &run_dir,
            });
        }
        let mut numbers = BootNumbers::after(session.last_boot());
        let beside = slots.side_by_side.min(missing.boots.len()).max(1);
        let mut scribe = Scribe::new(session, &missing.asked, decision.accel, beside, watch);
        lab::measure(&self.lab, &measurements, slots, &mut numbers, &mut scribe)?;
        Ok(scribe.finish()?)
    }

    /// Rules of the project for known findings that hold for this tree.
    fn allowed(&self) -> Vec<AllowRule> {
        let of_this = self.allow.iter().filter(|rule| rule.is_of(&self.spec.name.0));
        of_this.map(|rule| AllowRule { kernels: Vec::new(), ..rule.clone() }).collect()
    }

    /// How the commits touch what is measured, once both endpoints are built.
    ///
    /// # Errors
    ///
    /// Fails where an endpoint is no longer to be had.
    pub(super) fn touches(&mut self, state: &State, watch: &mut Watch) -> anyhow::Result<Line> {
        let plan = &state.plan;
        let mut inside = Some(BTreeSet::new());
        for hash in [&plan.good.hash, &plan.bad.hash] {
            let target = Target::Commit(hash.clone());
            self.kernel(state, &target, watch)?;
            let sources = self.kernels.get(&target).map(Kernel::source_files);
            inside = match (inside, sources) {
                (Some(mut all), Some(Ok(Some(sources)))) => {
                    all.extend(sources);
                    Some(all)
                }
                // Of a kernel of which nobody knows its sources everything may matter.
                _ => None,
            };
        }
        let touched = |files: &[String]| {
            if files.iter().any(|file| self.suite.is_about(file)) {
                return Touched::Suite;
            }
            let built = |file: &String| inside.as_ref().is_none_or(|inside| inside.contains(file));
            // What decides how everything is built is in no list of sources.
            let decides = |file: &String| {
                let name = file.rsplit('/').next().unwrap_or(file);
                name.starts_with("Kconfig")
                    || name.starts_with("Makefile")
                    || name.starts_with("Kbuild")
                    || file.starts_with("scripts/")
                    || file.starts_with("tools/objtool")
            };
            if files.is_empty() || files.iter().any(|file| built(file) || decides(file)) {
                Touched::Elsewhere
            } else {
                Touched::NotInKernel
            }
        };
        Ok(Line::Touches { touches: plan.commits.iter().map(|it| touched(&it.files)).collect() })
    }

    /// Which kernels between are in the store already.
    pub(super) fn stored(&self, plan: &Plan) -> Line {
        let is_there = |at: &usize| {
            let hash = plan.commits[*at].commit.hash.clone();
            matches!(kernel::stored(&self.spec(plan, &Target::Commit(hash)), &self.env), Ok(Some(_)))
        };
        Line::Stored { commits: spread(plan.commits.len(), LOOKED_FOR).filter(is_there).collect() }
    }
}

/// At most so many places of all, as far from each other as they can be: the first and
/// the last among them.
fn spread(all: usize, most: usize) -> impl Iterator<Item = usize> {
    let taken = all.min(most);
    let gaps = taken.saturating_sub(1).max(1);
    (0..taken).map(move |at| at * (all - 1) / gaps)
}

/// Turns that follow each other, target by target.
fn ranges(boots: &[(Target, u32)]) -> Vec<(&Target, std::ops::RangeInclusive<u32>)> {
    let mut turns: BTreeMap<&Target, Vec<u32>> = BTreeMap::new();
    for (target, turn) in boots {
        turns.entry(target).or_default().push(*turn);
    }
    let mut ranges: Vec<(&Target, std::ops::RangeInclusive<u32>)> = Vec::new();
    for (target, mut turns) in turns {
        turns.sort_unstable();
        for turn in turns {
            match ranges.last_mut() {
                Some((last, range)) if *last == target && range.end() + 1 == turn => {
                    *range = *range.start()..=turn;
                }
                _ => ranges.push((target, turn..=turn)),
            }
        }
    }
    ranges
}

/// The words that a plan was made from.
fn wanted(plan: &Plan) -> Want {
    match &plan.question {
        Question::Metric { test, metric } => Want::Metric(format!("{test}:{}", metric.name)),
        Question::Test { test } => Want::Test(test.clone()),
        Question::Finding { test, title } => Want::Finding { test: test.clone(), title: title.clone() },
    }
}

/// Fails where the configuration is not what the session began with.
fn unchanged(what: &str, now: &str, same: bool) -> anyhow::Result<()> {
    if same {
        return Ok(());
    }
    Err(usage(anyhow::anyhow!(
        "the session began with another {what} than `{now}`\n\
         hint: resume it with the configuration and the flags that it began with"
    )))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(all: usize, most: usize) -> Vec<usize> {
        spread(all, most).collect()
    }

    #[test]
    fn few_places_are_all_of_them() {
        assert_eq!(places(0, 400), [0_usize; 0]);
        assert_eq!(places(1, 400), [0]);
        assert_eq!(places(4, 4), [0, 1, 2, 3]);
    }

    #[test]
    fn many_places_are_looked_at_from_the_first_to_the_last() {
        assert_eq!(places(10, 4), [0, 3, 6, 9]);
        assert_eq!(places(1_000, 3), [0, 499, 999]);
    }

    proptest! {
        #[test]
        fn no_gap_is_larger_than_another_by_more_than_one(all in 1..60_000_usize, most in 2..500_usize) {
            let places = places(all, most);
            prop_assert_eq!(places.len(), all.min(most));
            prop_assert_eq!((places.first(), places.last()), (Some(&0), Some(&(all - 1))));
            let gaps = || places.windows(2).map(|pair| pair[1] - pair[0]);
            let (least, largest) = (gaps().min().unwrap_or(1), gaps().max().unwrap_or(1));
            prop_assert!(least > 0 && largest - least <= 1, "{} to {}", least, largest);
        }
    }

    #[test]
    fn turns_that_follow_each_other_are_one_range() {
        let [a, b] = ["a", "b"].map(|hash| Target::Commit(hash.to_owned()));
        let boots = [(b.clone(), 4), (a.clone(), 2), (a.clone(), 1), (b.clone(), 7), (a.clone(), 3)];
        assert_eq!(ranges(&boots), [(&a, 1..=3), (&b, 4..=4), (&b, 7..=7)]);
    }
}
