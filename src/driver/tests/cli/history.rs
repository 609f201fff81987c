//! A git history whose kernels a fake `make` builds, and the record of a session that
//! searched it.
//!
//! What a kernel does is a word in `net/core/does`, which names one of the kernels of the
//! test. Everything that is code in the tree shows in its release, and so in its image;
//! comments do not. Where there is a file `drivers/broken` or `drivers/repair`, and not both,
//! nothing compiles; `drivers/warns` is what the compiler warns of.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kregress::clock;
use kregress::exec::Cmd;
use serde_json::Value;

use crate::fake_kernel::{Behaviour, FakeKernel, SampleRule};
use crate::record::{check_bisection, check_harmless, list, word};
use crate::rig::{Ended, MEASURED, Rig, Started};

/// A test of the same suite whose times are not those of a teardown: nobody asks where
/// they go.
const CREATED: &str = "  created:
    workload: netns/drain
    timeout: 60s
    metrics:
      - {name: create_time, unit: ns, better: lower, kind: time}
";

const CONFIG: &str = "\
version: 1
machine: {accel: tcg, backend: qemu, cpus: 2, memory: 512M}
default-kernel: linux
kernels:
  linux:
    git: ../linux
    fragments: [tiny]
  image:
    image: kernels/fake
";

/// What a kernel calls itself before it is built: as long as a digest.
const UNBUILT: &str = "6.12.0-SRCDIGST";

/// What becomes of code that has no file `broken`.
const MAKE: &str = r#"
here=$(dirname "$0")
source=$2
for arg; do case "$arg" in O=*) out="${arg#O=}";; esac; done
case "$*" in
    *allnoconfig*) cat "$KCONFIG_ALLCONFIG" >"$out/.config"; exit;;
    *olddefconfig*) exit;;
esac
code=$(cat "$source"/drivers/*.c "$source/net/core/does" | grep -v '^//' | sha256sum | cut -c1-8)
echo "$code" >>"$here/../made"
has() { [ -e "$source/drivers/$1" ] && echo yes; }
if [ "$(has broken)" != "$(has repair)" ]; then
    echo "drivers/main.c:7:5: error: implicit declaration of function 'absent'" >&2
    echo "make[3]: *** [scripts/Makefile.build:229: drivers/main.o] Error 1" >&2
    exit 2
fi
echo "  CC      drivers/main.o"
echo "  LD      vmlinux"
[ ! -e "$source/drivers/warns" ] || cat "$source/drivers/warns" >&2
mkdir -p "$out/include/config" "$out/arch/x86/boot"
sed "s/SRCDIGST/$code/g" "$here/../images/$(cat "$source/net/core/does")" >"$out/vmlinux"
cp "$out/vmlinux" "$out/arch/x86/boot/bzImage"
echo "6.12.0-$code" >"$out/include/config/kernel.release"
"#;

const GCC: &str = "case \"$*\" in *--version*) echo 'gcc (Fake 12.2.0-1) 12.2.0';; esac";

/// A change of the tree.
pub(crate) struct Commit {
    subject: String,
    /// Contents, or none of a file that goes.
    files: Vec<(String, Option<String>)>,
}

impl Commit {
    /// Code that changes nothing that is measured.
    pub(crate) fn code(number: usize) -> Self {
        let file = (format!("drivers/change-{number}.c"), Some(format!("int change_{number};\n")));
        Self { subject: format!("drivers: change {number}"), files: vec![file] }
    }

    /// Nothing that a compiler sees.
    pub(crate) fn comment(number: usize) -> Self {
        let file = (format!("drivers/change-{number}.c"), Some(format!("// Change {number}.\n")));
        Self { subject: format!("drivers: comment {number}"), files: vec![file] }
    }

    /// From here on the compiler warns of a variable in this line.
    pub(crate) fn warns(self, variable: &str, line: usize) -> Self {
        let text =
            format!("drivers/main.c:{line}:6: warning: unused variable '{variable}' [-Wunused-variable]\n");
        self.with("drivers/warns", Some(&text))
    }

    fn with(mut self, file: &str, text: Option<&str>) -> Self {
        self.files.push((file.to_owned(), text.map(str::to_owned)));
        self
    }

    /// From here on kernels are this one.
    pub(crate) fn becomes(mut self, kernel: &str) -> Self {
        self.subject = format!("net: be {kernel}");
        self.with("net/core/does", Some(&format!("{kernel}\n")))
    }

    /// From here on nothing compiles.
    pub(crate) fn breaks(self) -> Self {
        self.with("drivers/broken", Some("yes\n"))
    }

    /// From here on it compiles again.
    pub(crate) fn mends(self) -> Self {
        self.with("drivers/broken", None)
    }
}

/// Takes away what stands in the way of the compiler.
pub(crate) const FIX: &str = "\
diff --git a/drivers/broken b/drivers/broken
deleted file mode 100644
--- a/drivers/broken
+++ /dev/null
@@ -1 +0,0 @@
-yes
";

/// Makes the compiler pass over what stands in its way, and breaks what is whole.
pub(crate) const REPAIR: &str = "\
diff --git a/drivers/repair b/drivers/repair
new file mode 100644
--- /dev/null
+++ b/drivers/repair
@@ -0,0 +1 @@
+yes
";

/// So many commits that change nothing that is measured.
pub(crate) fn harmless(count: usize) -> Vec<Commit> {
    (1..=count).map(Commit::code).collect()
}

/// So many commits, of which one makes the kernel another one.
pub(crate) fn line(count: usize, guilty: usize, kernel: &str) -> Vec<Commit> {
    let mut commits = harmless(count);
    commits[guilty - 1] = Commit::code(guilty).becomes(kernel);
    commits
}

/// Noise between boots with a standard deviation of about one per cent. Six boots in a row
/// have the same values wherever they begin: how many a search takes depends on what
/// builds and boots cost, and the numbers of a report must not.
const NOISE: [f64; 3] = [0.988, 1.0, 1.012];

/// A kernel whose times have this median, in ns, with noise between its boots.
pub(crate) fn takes(median: f64) -> FakeKernel {
    let rule = |metric: &str| SampleRule {
        test: "*".to_owned(),
        metric: metric.to_owned(),
        median: median + 0.5,
        spread: 0.01,
        count: 5,
    };
    let kernel = FakeKernel::new().samples(rule("create_time")).samples(rule("drain_time"));
    kernel.factors(&NOISE.repeat(32))
}

/// A kernel that always counts so many.
pub(crate) fn counts(value: f64) -> FakeKernel {
    FakeKernel::new().samples(SampleRule {
        test: "*".to_owned(),
        metric: "synchronize_rcu".to_owned(),
        median: value,
        spread: 0.0,
        count: 5,
    })
}

/// `fast`, which is the good one, and `slow`.
pub(crate) fn fast_and_slow() -> [(&'static str, FakeKernel); 2] {
    [("fast", takes(5e6)), ("slow", takes(6e6))]
}

/// The same, in no hurry: what is sent a signal is in the middle of something.
pub(crate) fn in_no_hurry() -> [(&'static str, FakeKernel); 2] {
    fast_and_slow().map(|(name, kernel)| (name, kernel.test("*", Behaviour::Slow(60))))
}

/// The question of most searches, and its words.
pub(crate) const TIMED: &[&str] = &["--metric", "b/created:create_time"];

/// A rig with a repository: a good root and these commits on top of it, and a branch
/// `side` which leaves behind the first of them.
pub(crate) struct History {
    pub(crate) rig: Rig,
    /// The root, then the commits.
    pub(crate) hashes: Vec<String>,
}

impl History {
    /// The root is the first of the kernels.
    pub(crate) fn new(kernels: &[(&str, FakeKernel)], commits: &[Commit]) -> Self {
        let rig = Rig::with(&FakeKernel::new()).host_programs();
        rig.write("project/kregress.yaml", CONFIG);
        rig.write("project/suites/b.yaml", &format!("{MEASURED}{CREATED}"));
        rig.write("project/kconfigs/tiny.config", "# Of tests.\n\n# Needed.\nCONFIG_NET_NS=y\n");
        fs::create_dir(rig.path("images")).expect("a directory");
        for (name, kernel) in kernels {
            kernel.clone().release(UNBUILT).write(&rig.path("images").join(name)).expect("a kernel");
        }
        let mut tools = vec![("make", MAKE), ("gcc", GCC), ("ld", "echo 'GNU ld 2.40'")];
        tools.extend(["as", "objcopy", "strip", "flex", "bison", "bc"].map(|name| (name, "")));
        write_tools(&rig.path("bin"), &tools);
        rig.write("history", &stream(kernels[0].0, commits));
        fs::create_dir(rig.path("linux")).expect("a directory");
        git(&rig, &["init", "--quiet", "--initial-branch=main"]);
        sh(&rig, "git fast-import --quiet <../history && git reset --quiet --hard");
        let hashes = git(&rig, &["rev-list", "--reverse", "main"]);
        Self { rig, hashes: hashes.lines().map(str::to_owned).collect() }
    }

    pub(crate) fn good(&self) -> &str {
        &self.hashes[0]
    }

    pub(crate) fn bad(&self) -> &str {
        &self.hashes[self.hashes.len() - 1]
    }

    /// Runs a bisection of everything to its end.
    pub(crate) fn bisect(&self, words: &[&str]) -> Ended<'_> {
        self.rig.kregress(&self.words(words))
    }

    /// Starts one.
    pub(crate) fn start(&self, words: &[&str]) -> Started<'_> {
        self.rig.start(&self.words(words))
    }

    fn words<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        let ends = ["bisect", "--tree", "linux", "--good", self.good(), "--bad", self.bad()];
        ends.iter().chain(words).copied().collect()
    }

    /// The record of the only session.
    #[track_caller]
    pub(crate) fn session(&self) -> Session {
        let sessions = self.rig.sessions();
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        Session::read(&sessions[0])
    }

    /// Waits until so many boots are in the record.
    pub(crate) fn wait_for_boots(&self, count: usize) {
        let started = clock::now();
        let there = || {
            let path = self.rig.sessions().pop()?.join("bisect.jsonl");
            Some(fs::read_to_string(path).ok()?.matches("\"record\":\"boot\"").count())
        };
        while there().unwrap_or(0) < count {
            assert!(started.elapsed() < Duration::from_secs(120), "{:?} boots", there());
            clock::poll_interval(Duration::from_millis(5));
        }
    }

    /// How often the compiler ran, which the record does not know.
    pub(crate) fn compilations(&self) -> usize {
        fs::read_to_string(self.rig.path("made")).unwrap_or_default().lines().count()
    }
}

/// The history as git imports it: with dates of its own, so that hashes are always the
/// same.
fn stream(root: &str, commits: &[Commit]) -> String {
    let mut tree = Commit { subject: "start".to_owned(), files: Vec::new() }
        .with("net/core/does", Some(&format!("{root}\n")));
    for (file, text) in [
        ("Makefile", "# SPDX\nVERSION = 6\nPATCHLEVEL = 12\n"),
        ("Kconfig", "mainmenu \"Linux\"\n"),
        ("arch/x86/Makefile", "# Empty.\n"),
        ("drivers/main.c", "int main;\n"),
    ] {
        tree = tree.with(file, Some(text));
    }
    let mut out = String::new();
    for (at, commit) in std::iter::once(&tree).chain(commits).enumerate() {
        import(&mut out, "main", at + 1, at, commit);
    }
    import(&mut out, "side", 1_000, 2, &Commit::code(1_000));
    out
}

fn import(out: &mut String, branch: &str, mark: usize, from: usize, commit: &Commit) {
    let date = 1_767_225_600 + mark * 86_400;
    let _ = writeln!(out, "commit refs/heads/{branch}\nmark :{mark}");
    let _ = writeln!(out, "author A U Thor <author@example.org> {date} +0000");
    let _ = writeln!(out, "committer C O Mitter <committer@example.org> {date} +0000");
    let _ = writeln!(out, "data {}\n{}", commit.subject.len(), commit.subject);
    if from > 0 {
        let _ = writeln!(out, "from :{from}");
    }
    for (file, text) in &commit.files {
        let _ = match text {
            Some(text) => writeln!(out, "M 100644 inline {file}\ndata {}\n{text}", text.len()),
            None => writeln!(out, "D {file}"),
        };
    }
    out.push('\n');
}

fn in_repository(rig: &Rig, cmd: Cmd) -> Cmd {
    cmd.current_dir(rig.path("linux")).env("HOME", rig.path("home")).env("GIT_CONFIG_NOSYSTEM", "1")
}

/// Runs git in the repository.
pub(crate) fn git(rig: &Rig, args: &[&str]) -> String {
    in_repository(rig, Cmd::new("git").args(args.iter().copied())).read().expect("git")
}

fn sh(rig: &Rig, script: &str) {
    in_repository(rig, Cmd::new("sh").args(["-ec", script])).read().expect("sh");
}

/// Written by a child: a file that any thread of ours had open for writing may still be
/// open in a child of another test, and then cannot be run.
fn write_tools(bin: &Path, tools: &[(&str, &str)]) {
    let write =
        r#"while [ $# -gt 0 ]; do printf '#!/bin/sh\n%s\n' "$2" >"$1"; chmod 755 "$1"; shift 2; done"#;
    let mut args: Vec<OsString> = ["-c", write, "sh"].map(OsString::from).to_vec();
    for (name, script) in tools {
        args.extend([bin.join(name).into_os_string(), script.into()]);
    }
    Cmd::new("sh").args(args).read().expect("tools");
}

/// The record of a session, and what is true of all of them: nothing in it would be
/// obeyed by a terminal, no turn was booted twice, and each boot has its files.
pub(crate) struct Session {
    pub(crate) path: PathBuf,
    lines: Vec<Value>,
}

impl Session {
    #[track_caller]
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path.join("bisect.jsonl")).expect("a record");
        check_harmless("bisect.jsonl", &text);
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let session = Self { path: path.to_owned(), lines: text.lines().map(line).collect() };
        assert_eq!(session.lines[0]["record"], "plan");
        assert_eq!(session.of("plan").len(), 1);
        let (mut turns, mut numbers) = (BTreeSet::new(), BTreeSet::new());
        for boot in session.of("boot") {
            let key = ["leg", "phase", "target", "turn"].map(|field| boot[field].to_string());
            assert!(turns.insert(key), "booted twice: {boot}");
            let number = boot["boot"].to_string();
            assert!(path.join("boots").join(&number).is_dir(), "no files: {boot}");
            assert!(numbers.insert(number), "numbered twice: {boot}");
        }
        let kernels: Vec<String> =
            session.of("kernel").iter().map(|kernel| kernel["target"].to_string()).collect();
        let different: BTreeSet<&String> = kernels.iter().collect();
        assert_eq!(different.len(), kernels.len(), "built twice: {kernels:?}");
        session
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).expect("a name")
    }

    /// A file of it.
    #[track_caller]
    pub(crate) fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// Lines of a kind.
    pub(crate) fn of(&self, kind: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["record"] == kind).collect()
    }

    /// Boots there were.
    pub(crate) fn boots(&self) -> usize {
        self.of("boot").len()
    }

    /// Boots of one purpose.
    pub(crate) fn boots_for(&self, phase: &str) -> usize {
        self.of("boot").iter().filter(|boot| boot["phase"] == phase).count()
    }

    /// What became of the boots of a commit.
    pub(crate) fn came(&self, hash: &str) -> Vec<&str> {
        let boots = self.of("boot").into_iter().filter(|boot| boot["target"]["commit"] == hash);
        boots.map(|boot| word(&boot["came"])).collect()
    }

    /// What became of the kernel of a commit, each time that it was looked at.
    pub(crate) fn kernels(&self, hash: &str) -> Vec<&str> {
        let kernels = self.of("kernel").into_iter().filter(|kernel| kernel["target"]["commit"] == hash);
        kernels.map(|kernel| word(&kernel["kernel"])).collect()
    }

    /// What was found, as it lies beside the record.
    #[track_caller]
    pub(crate) fn found(&self) -> Value {
        let found = serde_json::from_str(&self.text("bisect.json")).expect("JSON");
        check_bisection(&found);
        found
    }

    /// The commits of the answers.
    #[track_caller]
    pub(crate) fn answers(&self) -> Vec<Vec<String>> {
        let found = self.found();
        let commits = |answer: &Value| {
            list(&answer["commits"]).iter().map(|commit| word(&commit["hash"]).to_owned()).collect()
        };
        list(&found["answers"]).iter().map(commits).collect()
    }
}
