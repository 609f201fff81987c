//! The same once with a real kernel, which comes from the store of whoever runs the tests.

use serde_json::json;

use crate::runner::Outcome;
use crate::stage::Stage;

#[test]
fn three_shards_of_the_smoke_suite_boot_a_real_kernel_and_are_merged_and_compared() {
    let repository = tempfile::tempdir().expect("a directory");
    let mut stage = Stage::new(vec![repository.path().to_owned()]);
    let cache = kregress::paths::cache().expect("a cache");
    stage.world.env.retain(|(name, _)| name != "KREGRESS_QEMU");
    stage.world.env.push(("KREGRESS_CACHE".to_owned(), cache.display().to_string()));
    let seen = stage.run(
        "kernel.yml",
        "workflow_call",
        &json!({
            "kernel": "distro", "suites": "smoke", "shards": 3, "machine": "accel=tcg",
            "base": "distro", "gate": "smoke/netns-drain", "gate-machine": "accel=icount",
        }),
    );
    for (name, job) in &seen.ran.jobs {
        assert_eq!(job.outcome, Outcome::Success, "{name}: {:?}", job.steps);
    }
    let merge = seen.ran.job("merge");
    assert!(merge.summary.starts_with("## ✓ Passed\n"), "{}", merge.summary);
    let compare = seen.ran.job("compare");
    assert!(compare.summary.starts_with("## = unchanged"), "{}", compare.summary);
    let junit = seen.file("kregress-report/report/junit-reports/TEST-smoke.xml");
    assert!(junit.contains("failures=\"0\" errors=\"0\" skipped=\"0\""), "{junit}");
    assert!(junit.matches("<testcase ").count() > 10, "{junit}");
}
