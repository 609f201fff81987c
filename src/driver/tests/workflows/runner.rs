//! Runs the jobs of a workflow as GitHub does, in directories in place of machines: reads
//! the YAML, evaluates expressions, executes every `run:` with the shell that it asks for,
//! and does itself what the few actions do that we use. What it does not know is a panic.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use kregress::exec::Cmd;
use serde_json::{Map, Value, json};

use crate::expression::{self, Names, condition, shown};
use crate::services::{Services, commands, copy};

/// The repository that this is a test of.
pub(crate) fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("a repository")
}

/// Reads a workflow or an action.
pub(crate) fn load(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Where everything happens, and what is different from GitHub.
pub(crate) struct World {
    pub(crate) root: PathBuf,
    pub(crate) services: Services,
    /// What a checkout of the calling repository brings, one over the other.
    pub(crate) repository: Vec<PathBuf>,
    /// Programs that stand before those of the host.
    pub(crate) stubs: PathBuf,
    /// Variables that every step sees beside GitHub's.
    pub(crate) env: Vec<(String, String)>,
    /// Artifacts that are lost on the way.
    pub(crate) lost: BTreeSet<String>,
    /// Id of the run.
    pub(crate) run: String,
}

/// A `run:` of a file, by the name of its step.
pub(crate) type StepName = (String, String, String);

/// How a step or a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure,
    Skipped,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
        }
    }
}

/// A step that was executed.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) log: String,
}

/// A job that was executed, one for each entry of its matrix.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) outcome: Outcome,
    pub(crate) steps: Vec<Step>,
    pub(crate) summary: String,
    outputs: Value,
}

impl Job {
    /// The last step of this name: an action may be used twice.
    pub(crate) fn step(&self, name: &str) -> &Step {
        let names: Vec<&str> = self.steps.iter().map(|step| step.name.as_str()).collect();
        self.steps
            .iter()
            .rev()
            .find(|step| step.name == name)
            .unwrap_or_else(|| panic!("no `{name}` in {names:?}"))
    }

    /// What the runner would take for commands, of all steps.
    pub(crate) fn commands(&self) -> Vec<&str> {
        self.steps.iter().flat_map(|step| commands(&step.log)).collect()
    }
}

/// What became of a workflow.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    /// By name; with the number of its entry where there is a matrix.
    pub(crate) jobs: BTreeMap<String, Job>,
    /// Every `run:` that was executed.
    pub(crate) executed: BTreeSet<StepName>,
}

impl Ran {
    #[track_caller]
    pub(crate) fn job(&self, name: &str) -> &Job {
        let names: Vec<&String> = self.jobs.keys().collect();
        self.jobs.get(name).unwrap_or_else(|| panic!("no job `{name}` in {names:?}"))
    }
}

impl World {
    pub(crate) fn new(root: PathBuf, repository: Vec<PathBuf>, stubs: PathBuf) -> Self {
        let services = Services::new(root.join("services"));
        let (env, lost) = (Vec::new(), BTreeSet::new());
        Self { root, services, repository, stubs, env, lost, run: "4711".to_owned() }
    }

    /// Runs a workflow of this repository.
    pub(crate) fn run(&self, file: &str, event: &str, given: &Value) -> Ran {
        let mut ran = Ran::default();
        self.workflow(file, event, given, "", &mut ran);
        ran
    }

    fn workflow(&self, file: &str, event: &str, given: &Value, prefix: &str, ran: &mut Ran) {
        let workflow = load(&own().join(".github/workflows").join(file));
        known(&workflow, &["name", "on", "permissions", "concurrency", "jobs"]);
        let declared = &workflow["on"][event];
        assert!(workflow["on"].get(event).is_some(), "{file} does not begin by {event}");
        let inputs = match event {
            "workflow_call" | "workflow_dispatch" => inputs(declared, given),
            _ => Value::Null,
        };
        let mut needs: BTreeMap<String, (Outcome, Value)> = BTreeMap::new();
        for (id, job) in in_order(&workflow["jobs"]) {
            known(
                job,
                &[
                    "name",
                    "needs",
                    "if",
                    "runs-on",
                    "timeout-minutes",
                    "outputs",
                    "strategy",
                    "steps",
                    "permissions",
                    "uses",
                    "with",
                ],
            );
            let wanted = needed(job);
            let before: BTreeMap<&str, &(Outcome, Value)> =
                wanted.iter().map(|it| (*it, needs.get(*it).expect("in order"))).collect();
            let names = Context {
                values: json!({
                    "github": self.github(),
                    "inputs": inputs,
                    "needs": before.iter().map(|(id, (outcome, outputs))| {
                        ((*id).to_owned(), json!({ "result": outcome.word(), "outputs": outputs }))
                    }).collect::<Map<_, _>>(),
                }),
                going: before.values().all(|(outcome, _)| *outcome == Outcome::Success),
            };
            let asked = job["if"].as_str().unwrap_or("success()");
            if !condition(asked, &names) {
                needs.insert(id.clone(), (Outcome::Skipped, json!({})));
                continue;
            }
            if let Some(called) = job["uses"].as_str() {
                let called = called.strip_prefix("./.github/workflows/").expect("a workflow of ours");
                let prefix = format!("{prefix}{id} / ");
                self.workflow(called, "workflow_call", &evaluated(&job["with"], &names), &prefix, ran);
                let mine =
                    || ran.jobs.iter().filter(|(name, _)| name.starts_with(&prefix)).map(|(_, job)| job);
                let failed = mine().any(|job| job.outcome == Outcome::Failure);
                needs.insert(
                    id.clone(),
                    (if failed { Outcome::Failure } else { Outcome::Success }, json!({})),
                );
                continue;
            }
            let matrix = match job["strategy"]["matrix"].as_str() {
                None => vec![Value::Null],
                Some(text) => {
                    let matrix = expression::evaluate(text, &names);
                    matrix["include"].as_array().expect("a matrix").clone()
                }
            };
            assert!(!matrix.is_empty(), "an empty matrix is an error on GitHub");
            let (mut outcome, mut outputs) = (Outcome::Success, json!({}));
            for entry in matrix {
                let done = self.job((file, id), job, &names, &entry, &mut ran.executed);
                if done.outcome == Outcome::Failure {
                    outcome = Outcome::Failure;
                }
                outputs = done.outputs.clone();
                let number = entry.get("shard").map(|shard| format!(" {shard}")).unwrap_or_default();
                ran.jobs.insert(format!("{prefix}{id}{number}"), done);
            }
            needs.insert(id.clone(), (outcome, outputs));
        }
    }

    fn github(&self) -> Value {
        json!({
            "run_id": self.run, "run_attempt": "1", "ref": "refs/heads/main", "ref_name": "main",
            "event_name": "push", "repository": "someone/linux", "token": "no-token",
        })
    }

    fn job(
        &self,
        (file, id): (&str, &str),
        job: &Value,
        names: &Context,
        matrix: &Value,
        executed: &mut BTreeSet<StepName>,
    ) -> Job {
        // A new machine has the paths of the one before, as those of GitHub do.
        let machine = Machine::new(self, &self.root.join("machine"));
        let mut values = names.values.clone();
        values["matrix"] = matrix.clone();
        values["job"] = json!({ "workflow_repository": "kregress/kregress", "workflow_sha": "0".repeat(40) });
        values["runner"] = json!({ "temp": machine.path("temp"), "os": "Linux", "arch": "X64" });
        let mut run =
            Sequence { machine: &machine, values, going: true, steps: Vec::new(), posts: Vec::new() };
        for step in job["steps"].as_array().expect("steps") {
            run.step((file, id), step, executed);
        }
        run.finish();
        let going = run.going;
        let names = Context { values: run.values.clone(), going };
        let outputs = evaluated(&job["outputs"], &names);
        let summary = fs::read_to_string(machine.path("summary")).unwrap_or_default();
        let outcome = if going { Outcome::Success } else { Outcome::Failure };
        fs::remove_dir_all(machine.path("")).expect("a machine that is given back");
        Job { outcome, steps: run.steps, summary, outputs }
    }
}

/// Jobs that another one waits for.
fn needed(job: &Value) -> Vec<&str> {
    match &job["needs"] {
        Value::Null => Vec::new(),
        Value::String(one) => vec![one],
        many => many.as_array().expect("needs").iter().filter_map(Value::as_str).collect(),
    }
}

/// Jobs behind those that they wait for.
fn in_order(jobs: &Value) -> Vec<(&String, &Value)> {
    let mut left: Vec<(&String, &Value)> = jobs.as_object().expect("jobs").iter().collect();
    let mut ordered: Vec<(&String, &Value)> = Vec::new();
    while !left.is_empty() {
        let there = |id: &str| ordered.iter().any(|(done, _)| *done == id);
        let at = left.iter().position(|(_, job)| needed(job).iter().all(|id| there(id)));
        ordered.push(left.remove(at.expect("jobs that wait for each other, or for none")));
    }
    ordered
}

/// Every key is one that we know the meaning of.
#[track_caller]
fn known(value: &Value, keys: &[&str]) {
    for key in value.as_object().into_iter().flatten().map(|(key, _)| key) {
        assert!(keys.contains(&key.as_str()), "`{key}` is not known to this runner");
    }
}

/// Values of declared inputs: as given, else their defaults. An input that nobody declared
/// is an error.
fn inputs(declared: &Value, given: &Value) -> Value {
    let none = Map::new();
    let declared = declared["inputs"].as_object().unwrap_or(&none);
    for key in given.as_object().into_iter().flatten().map(|(key, _)| key) {
        assert!(declared.contains_key(key), "there is no input `{key}`");
    }
    let value = |(name, input): (&String, &Value)| {
        let value = given.get(name).cloned().unwrap_or_else(|| input["default"].clone());
        (name.clone(), if value.is_null() { json!("") } else { value })
    };
    declared.iter().map(value).collect::<Map<_, _>>().into()
}

/// A map with its expressions evaluated.
fn evaluated(map: &Value, names: &dyn Names) -> Value {
    let value = |(key, value): (&String, &Value)| {
        let value = value.as_str().map_or_else(|| value.clone(), |text| expression::evaluate(text, names));
        (key.clone(), value)
    };
    map.as_object().into_iter().flatten().map(value).collect::<Map<_, _>>().into()
}

struct Context {
    values: Value,
    going: bool,
}

impl Names for Context {
    fn context(&self, name: &str) -> Option<Value> {
        self.values.get(name).cloned()
    }

    fn status(&self, function: &str) -> Option<bool> {
        match function {
            "always" => Some(true),
            "success" => Some(self.going),
            "failure" => Some(!self.going),
            "cancelled" => Some(false),
            _ => None,
        }
    }
}

/// What a job runs on.
struct Machine<'a> {
    world: &'a World,
    root: PathBuf,
}

impl<'a> Machine<'a> {
    fn new(world: &'a World, root: &Path) -> Self {
        for sub in ["home", "temp", "tmp", "work"] {
            fs::create_dir_all(root.join(sub)).expect("a directory");
        }
        Self { world, root: root.to_owned() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// Paths of an input, one a line; `~` is the home.
    fn paths(&self, text: &str) -> Vec<PathBuf> {
        let path = |line: &str| match line.strip_prefix("~/") {
            Some(below) => self.path("home").join(below),
            None => self.path("work").join(line),
        };
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(path).collect()
    }
}

/// Steps one after the other, of a job or of a composite action.
struct Sequence<'a> {
    machine: &'a Machine<'a>,
    values: Value,
    going: bool,
    steps: Vec<Step>,
    /// Caches to save at the end of the job.
    posts: Vec<(String, Vec<PathBuf>)>,
}

impl Sequence<'_> {
    fn names(&self) -> Context {
        Context { values: self.values.clone(), going: self.going }
    }

    fn step(&mut self, (file, job): (&str, &str), step: &Value, executed: &mut BTreeSet<StepName>) {
        known(step, &["name", "id", "if", "uses", "with", "env", "run", "shell"]);
        let name = step["name"].as_str().expect("every step has a name").to_owned();
        let names = self.names();
        if !condition(step["if"].as_str().unwrap_or("success()"), &names) {
            self.steps.push(Step { name, outcome: Outcome::Skipped, log: String::new() });
            return;
        }
        let (ok, outputs, log) = if let Some(script) = step["run"].as_str() {
            executed.insert((file.to_owned(), job.to_owned(), name.clone()));
            assert!(!script.contains("${{"), "a template in a script is an injection: {name}");
            self.execute(script, step["shell"].as_str(), &evaluated(&step["env"], &names))
        } else {
            let uses = step["uses"].as_str().expect("run or uses");
            self.action(uses, &evaluated(&step["with"], &names), executed)
        };
        if let Some(id) = step["id"].as_str() {
            self.values["steps"][id] = json!({ "outputs": outputs });
        }
        self.going &= ok;
        let outcome = if ok { Outcome::Success } else { Outcome::Failure };
        self.steps.push(Step { name, outcome, log });
    }

    fn execute(&mut self, script: &str, shell: Option<&str>, env: &Value) -> (bool, Value, String) {
        let machine = self.machine;
        let file = machine.path("temp/step.sh");
        fs::write(&file, script).expect("a script");
        let output = machine.path("temp/output");
        fs::write(&output, "").expect("a file");
        let read = |name: &str| fs::read_to_string(machine.path(name)).unwrap_or_default();
        let mut path = read("path").lines().rev().fold(String::new(), |path, line| path + line + ":");
        path.push_str(&format!("{}:", machine.world.stubs.display()));
        path.push_str(&std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned()));
        let mut variables: Vec<(String, String)> = [
            ("PATH", path),
            ("HOME", machine.path("home").display().to_string()),
            ("TMPDIR", machine.path("tmp").display().to_string()),
            ("LANG", "C.UTF-8".to_owned()),
            ("CI", "true".to_owned()),
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_RUN_ID", machine.world.run.clone()),
            ("GITHUB_OUTPUT", output.display().to_string()),
            ("GITHUB_ENV", machine.path("env").display().to_string()),
            ("GITHUB_PATH", machine.path("path").display().to_string()),
            ("GITHUB_STEP_SUMMARY", machine.path("summary").display().to_string()),
            ("GITHUB_WORKSPACE", machine.path("work").display().to_string()),
            ("RUNNER_TEMP", machine.path("temp").display().to_string()),
            ("RUNNER_OS", "Linux".to_owned()),
            ("RUNNER_ARCH", "X64".to_owned()),
            ("ImageOS", "ubuntu24".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        variables.extend(machine.world.env.iter().cloned());
        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        variables.extend(read("env").lines().filter_map(pair));
        variables
            .extend(env.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), shown(value))));
        let mut cmd = Cmd::new("env").arg("-i");
        for (name, value) in variables {
            cmd = cmd.arg(format!("{name}={value}"));
        }
        let options: &[&str] = match shell {
            None => &["bash", "-e"],
            Some("bash") => &["bash", "--noprofile", "--norc", "-eo", "pipefail"],
            Some(other) => panic!("unknown shell `{other}`"),
        };
        // Both streams in the order in which the log has them.
        let cmd = cmd.args(["sh", "-c", "exec \"$@\" 2>&1", "sh"]).args(options.iter().copied()).arg(file);
        let done = cmd.current_dir(machine.path("work")).tree().run().expect("bash");
        let log = String::from_utf8(done.stdout).expect("UTF-8 in a log");
        let outputs = fs::read_to_string(&output).expect("a file");
        let outputs: Map<String, Value> = outputs
            .lines()
            .map(|line| pair(line).unwrap_or_else(|| panic!("no output: {line}")))
            .map(|(name, value)| (name, json!(value)))
            .collect();
        (done.status.success(), outputs.into(), log)
    }

    fn action(
        &mut self,
        uses: &str,
        with: &Value,
        executed: &mut BTreeSet<StepName>,
    ) -> (bool, Value, String) {
        if uses.starts_with("./") {
            return self.composite(uses, with, executed);
        }
        let (name, commit) = uses.split_once('@').expect("a version");
        assert!(commit.len() == 40 && commit.bytes().all(|it| it.is_ascii_hexdigit()), "not pinned: {uses}");
        let text = |key: &str| shown(with.get(key).unwrap_or(&Value::Null));
        let world = self.machine.world;
        let paths = self.machine.paths(&text("path"));
        let nothing = (true, json!({}), String::new());
        match name {
            "actions/checkout" => {
                assert_eq!(text("persist-credentials"), "false", "credentials stay in the work tree");
                let work = self.machine.path("work");
                match (text("repository").as_str(), text("path").as_str()) {
                    ("kregress/kregress", path) => {
                        std::os::unix::fs::symlink(own(), work.join(path)).expect("a link");
                    }
                    ("" | "someone/linux", "") => world.repository.iter().for_each(|from| copy(from, &work)),
                    other => panic!("a checkout of {other:?}"),
                }
                nothing
            }
            "actions/cache" | "actions/cache/restore" => {
                let key = text("key");
                let prefixes = text("restore-keys");
                let prefixes: Vec<&str> =
                    prefixes.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
                let found = world.services.restore(&key, &prefixes, &paths);
                let exact = found.as_ref() == Some(&key);
                if name == "actions/cache" && !exact {
                    self.posts.push((key, paths));
                }
                (true, json!({ "cache-hit": if exact { "true" } else { "" } }), format!("{found:?}\n"))
            }
            "actions/cache/save" => {
                world.services.save(&text("key"), &paths);
                nothing
            }
            "actions/upload-artifact" => {
                let there: Vec<PathBuf> = paths.into_iter().filter(|path| path.exists()).collect();
                let artifact = text("name");
                if there.is_empty() {
                    return (text("if-no-files-found") != "error", json!({}), String::new());
                }
                if !world.lost.contains(&artifact) {
                    world.services.upload(&world.run, &artifact, &there);
                }
                nothing
            }
            "actions/download-artifact" => {
                let run = match text("run-id").as_str() {
                    "" => world.run.clone(),
                    other => other.to_owned(),
                };
                let (name, pattern) = (text("name"), text("pattern"));
                if !name.is_empty() {
                    let place = world.services.place(&run, &name);
                    if !place.exists() {
                        return (false, json!({}), format!("no artifact {name}\n"));
                    }
                    copy(&place, &paths[0]);
                    return nothing;
                }
                let prefix = pattern.strip_suffix('*').expect("a pattern with a star at its end");
                for artifact in world.services.artifacts(&run).iter().filter(|it| it.starts_with(prefix)) {
                    copy(&world.services.place(&run, artifact), &paths[0].join(artifact));
                }
                nothing
            }
            other => panic!("unknown action `{other}`"),
        }
    }

    fn composite(
        &mut self,
        uses: &str,
        with: &Value,
        executed: &mut BTreeSet<StepName>,
    ) -> (bool, Value, String) {
        let place = self.machine.path("work").join(uses);
        let action = load(&place.join("action.yml"));
        assert_eq!(action["runs"]["using"], "composite");
        let mut values = self.values.clone();
        values["inputs"] = inputs(&action, with);
        values["steps"] = json!({});
        values["github"]["action_path"] = json!(place);
        let mut inner =
            Sequence { machine: self.machine, values, going: true, steps: Vec::new(), posts: Vec::new() };
        for step in action["runs"]["steps"].as_array().expect("steps") {
            assert!(step.get("run").is_none() || step.get("shell").is_some(), "an action names its shells");
            inner.step(("action.yml", "action"), step, executed);
        }
        let names = inner.names();
        let output = |(name, output): (&String, &Value)| {
            (name.clone(), expression::evaluate(output["value"].as_str().expect("a value"), &names))
        };
        let outputs: Map<_, _> = action["outputs"].as_object().into_iter().flatten().map(output).collect();
        let Sequence { going, steps, posts, .. } = inner;
        self.posts.extend(posts);
        self.steps.extend(steps);
        // Its steps have logs of their own.
        (going, outputs.into(), String::new())
    }

    /// What actions do behind the last step: caches are saved of jobs that succeeded.
    fn finish(&mut self) {
        for (key, paths) in self.posts.drain(..).filter(|_| self.going) {
            self.machine.world.services.save(&key, &paths);
        }
    }
}
