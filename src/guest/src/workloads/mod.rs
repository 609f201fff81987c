//! The registry of workloads.

mod exec;
mod kunit;
mod netns;
mod nsid;
mod rtnl;
mod setns;
mod zerocopy;

use kregress_wire::WorkloadInfo;

use crate::context::Workload;

/// The workloads of each area, in the order in which `kregress list` shows them.
const AREAS: &[&[Workload]] = &[netns::ALL, nsid::ALL, setns::ALL, rtnl::ALL, zerocopy::ALL];

/// Every workload.
fn all() -> impl Iterator<Item = &'static Workload> {
    AREAS.iter().copied().flatten()
}

/// What the workloads say of themselves, for the driver's validation.
pub fn infos() -> impl Iterator<Item = &'static WorkloadInfo> {
    all().map(|workload| workload.info)
}

/// The workload of this name; also those that run programs and KUnit, which suites do
/// not name by `workload:`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Workload> {
    all().chain([&exec::EXEC, &kunit::TESTS]).find(|workload| workload.info.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kregress_wire::ParamInfo;

    use super::*;

    fn is_word(text: &str) -> bool {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        !text.is_empty() && text.chars().all(inner)
    }

    #[test]
    fn names_of_workloads_are_unique_and_have_an_area() {
        let mut seen = BTreeSet::new();
        for info in infos() {
            assert!(seen.insert(info.name), "{} is there twice", info.name);
            let (area, name) = info.name.split_once('/').expect("area/name");
            assert!(is_word(area) && is_word(name), "{}", info.name);
            assert!(find(info.name).is_some_and(|found| std::ptr::eq(found.info, info)));
        }
        assert!(find("netns/none").is_none());
    }

    #[test]
    fn parameters_and_metrics_are_unique_within_their_workload() {
        for info in infos() {
            let params: BTreeSet<_> = info.params.iter().map(ParamInfo::name).collect();
            assert_eq!(params.len(), info.params.len(), "{}", info.name);
            let metrics: BTreeSet<_> = info.metrics.iter().map(|metric| metric.name).collect();
            assert_eq!(metrics.len(), info.metrics.len(), "{}", info.name);
            for name in params.union(&metrics) {
                assert!(is_word(name), "{}: `{name}`", info.name);
            }
        }
    }

    #[test]
    fn modules_are_named_as_the_kernel_names_them() {
        for info in infos() {
            for module in info.modules {
                let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                assert!(!module.is_empty() && module.chars().all(word), "{}: `{module}`", info.name);
            }
        }
    }

    #[test]
    fn defaults_lie_within_their_own_ranges() {
        for param in infos().flat_map(|info| info.params) {
            match param {
                ParamInfo::Int { name, min, max, default, .. } => {
                    assert!(min <= max && (min..=max).contains(&default), "{name}");
                }
                ParamInfo::Choice { name, choices, default, .. } => {
                    assert!(choices.contains(default), "{name}");
                    assert!(choices.iter().all(|choice| is_word(choice)), "{name}");
                }
            }
        }
    }

    #[test]
    fn summaries_are_one_line_without_a_full_stop() {
        let summaries = infos().flat_map(|info| {
            let params = info.params.iter().map(|param| match param {
                ParamInfo::Int { summary, .. } | ParamInfo::Choice { summary, .. } => *summary,
            });
            let metrics = info.metrics.iter().map(|metric| metric.summary);
            params.chain(metrics).chain([info.summary])
        });
        for summary in summaries {
            assert!(!summary.is_empty() && !summary.contains('\n') && !summary.ends_with('.'), "{summary}");
        }
    }
}
