//! Hundreds of launches of a guest that does whatever a guest can do wrong, by
//! seeded dice, several at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::fake_kernel::FakeKernel;
use crate::record::{list, word};
use crate::rig::Rig;

/// What the driver may take for itself, whatever its guests send, in bytes.
const MEMORY: u64 = 200 << 20;

/// Launches that there must be at least. Deaths make more of the boots asked for.
const LAUNCHES: usize = 500;

/// Limits are short, for some of these tests never end. The one that floods has
/// to get a gigabyte through.
fn suite() -> String {
    let tests = (1..=9).map(|n| format!("  t{n}: {{workload: netns/drain, timeout: 2s}}\n"));
    let flood = "  flood: {workload: netns/drain, timeout: 60s}\n".to_owned();
    let tests: String = tests.chain([flood]).collect();
    format!("version: 1\nsummary: tests that anything may become of\ntests:\n{tests}")
}

/// Passes that were sent whole, as nonce and number of the test.
fn account(rig: &Rig) -> BTreeSet<(String, u64)> {
    let text = std::fs::read_to_string(rig.path("project/kernels/fake.account")).expect("an account");
    let entry = |line: &str| {
        let (nonce, test) = line.split_once(' ').expect("two words");
        (nonce.to_owned(), test.parse().expect("a number"))
    };
    text.lines().map(entry).collect()
}

#[test]
fn whatever_guests_do_every_test_has_one_verdict_and_no_pass_is_invented() {
    let rig = Rig::with(&FakeKernel::new().chaos(20_260_527));
    rig.write("project/suites/chaos.yaml", &suite());
    let args = ["run", "chaos", "--boots", "190", "--jobs", "16", "--machine", "memory=64M"];
    // What is held against every run is held against this one too: one verdict for
    // each test and boot, files as their schemas say, no process and no scrap left.
    let seen = rig.kregress_within(&args, MEMORY, Duration::from_secs(900)).exits(1);
    let record = seen.record();
    assert_eq!(record.json["state"], "finished");
    let boots = list(&record.json["boots"]);
    assert!(boots.len() >= LAUNCHES, "only {} launches\n{}\n{}", boots.len(), record.boots(), seen.stderr);
    assert!(boots.iter().all(|boot| !boot["end"].is_null()), "a boot has no end");

    let plan = |boot: u64| -> Value {
        serde_json::from_str(&record.text(&format!("boots/{boot}/plan.json"))).expect("a plan")
    };
    let account = account(&rig);
    let mut verdicts: BTreeMap<&str, usize> = BTreeMap::new();
    for result in list(&record.json["results"]) {
        *verdicts.entry(word(&result["verdict"])).or_default() += 1;
        if result["verdict"] != "pass" {
            continue;
        }
        let plan = plan(result["boot"].as_u64().expect("a pass without a boot"));
        let planned = list(&plan["tests"]).iter().find(|test| test["name"] == result["test"]);
        let id = planned.expect("a planned test")["id"].as_u64().expect("a number");
        let promised = account.contains(&(word(&plan["nonce"]).to_owned(), id));
        assert!(promised, "a pass that nobody sent: {result}");
    }
    // The dice are not loaded: everything that can come of a test did.
    assert_eq!(verdicts.keys().copied().collect::<Vec<_>>(), ["error", "fail", "pass", "skip"]);
    // A flood of 1 GiB is not kept, and its test passes all the same.
    let log = |boot: &Value| size(&record.dir.join(word(&boot["directory"])).join("console.log"));
    assert!(boots.iter().all(|boot| log(boot) < 70 << 20), "a log has no limit");
    let flooded = boots.iter().find(|boot| log(boot) > 60 << 20).expect("nobody flooded");
    let flood = |result: &&Value| result["boot"] == flooded["id"] && result["test"] == "chaos/flood";
    let flood = list(&record.json["results"]).iter().find(flood).expect("a verdict");
    assert_eq!(flood["verdict"], "pass", "{flood}");
}

fn size(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
