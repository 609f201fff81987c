//! What the guest and its host say to each other, as the script has it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kregress::clock;
use kregress_wire::output::{self, Edge};
use kregress_wire::{
    CONTROL_PORT, Decoder, Event, Exec, Hello, Instead, MARKER, Nonce, Outcome, PROTOCOL, Plan, PlannedTest,
    Request,
};

use crate::guest::{End, Guest};
use crate::link::Link;
use crate::script::{Behaviour, Boot, Farewell, Splat};
use crate::{samples, splats};

/// Talks to the host. An error of the channel is the end of the talk, and
/// of everything: like a guest whose port blocks for ever.
pub(crate) fn hold(guest: &mut Guest, plan: &Plan) -> Result<End, End> {
    let (Some(link), Some(requests)) = (guest.control.clone(), guest.requests.take()) else {
        guest.log.print(&format!(
            "{MARKER}no virtio-serial port `{CONTROL_PORT}` within 15 s: /sys/class/virtio-ports holds no named port\n\
             {MARKER}hint: the kernel needs CONFIG_VIRTIO_PCI=y, and QEMU a virtserialport of this name"
        ));
        return Ok(guest.power_off());
    };
    let agent = Arc::new(Agent::default());
    let mut session = Session { guest, plan, link, agent };
    session.listen(requests);
    session.hello()?;
    for at in 0..plan.tests.len() {
        session.test(at)?;
    }
    session.farewell()
}

/// What answers requests.
#[derive(Default)]
struct Agent {
    silent: AtomicBool,
    stuck: AtomicBool,
}

/// The talk with the host.
struct Session<'a> {
    guest: &'a mut Guest,
    plan: &'a Plan,
    link: Link,
    agent: Arc<Agent>,
}

impl Session<'_> {
    /// Answers requests in the background.
    fn listen(&self, mut requests: Box<dyn Read + Send>) {
        let (link, agent) = (self.link.clone(), Arc::clone(&self.agent));
        std::thread::spawn(move || {
            let mut decoder = Decoder::new();
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = requests.read(&mut chunk) {
                decoder.push(&chunk[..count]);
                while let Ok(Some(Request::Diagnose)) = decoder.next_message() {
                    if agent.silent.load(Ordering::Relaxed) {
                        continue;
                    }
                    let text = if agent.stuck.load(Ordering::Relaxed) { STUCK } else { BUSY };
                    let _ = link.send(&Event::Diagnosis { text: text.to_owned() });
                }
            }
        });
    }

    fn send(&self, event: &Event) -> Result<(), End> {
        self.link.send(event).map_err(|_| End::Hang)
    }

    fn hello(&self) -> Result<(), End> {
        let boot = &self.guest.script.boot;
        match boot {
            Boot::Garbage => return self.link.babble(GARBAGE).map_err(|_| End::Hang),
            Boot::NoHello => return Ok(()),
            _ => {}
        }
        let mut facts = BTreeMap::new();
        for (name, value) in [
            ("cmdline", self.guest.cmdline.as_str()),
            ("clocksource", self.guest.clocksource()),
            ("hz", "250"),
        ] {
            facts.insert(name.to_owned(), value.to_owned());
        }
        // A guest of virtme-ng says what its root is made of.
        let root = self.guest.cmdline.split_whitespace().find_map(|word| word.strip_prefix("rootfstype="));
        facts.extend(root.map(|root| ("root".to_owned(), root.to_owned())));
        let yes = |name: &str| (name.to_owned(), "yes".to_owned());
        let mut features: BTreeMap<_, _> = FEATURES.iter().map(|name| yes(name)).collect();
        features.extend(self.guest.script.features.clone());
        let hello = Event::Hello(Hello {
            protocol: if *boot == Boot::WrongProtocol { PROTOCOL + 1 } else { PROTOCOL },
            nonce: if *boot == Boot::WrongNonce {
                Nonce::from_bytes([0xaa; 16])
            } else {
                self.plan.nonce.clone()
            },
            kernel_release: self.guest.script.release.clone(),
            kernel_version: "#1 SMP PREEMPT_DYNAMIC".to_owned(),
            cpus: self.guest.processors,
            memory_bytes: self.guest.memory / 10 * 9,
            uptime_ns: self.guest.log.now_ns(),
            facts,
            features,
        });
        self.send(&hello)?;
        if *boot == Boot::HelloTwice {
            self.send(&hello)?;
        }
        Ok(())
    }

    fn farewell(&mut self) -> Result<End, End> {
        let farewell = self.guest.script.farewell.clone();
        if farewell == Farewell::NoBye {
            return Ok(self.guest.power_off());
        }
        self.send(&Event::Bye)?;
        match farewell {
            Farewell::NeverPowersOff => return Ok(End::Hang),
            Farewell::Die(code) => return Ok(End::Exit(code)),
            Farewell::LatePanic => return Ok(self.guest.panic("Fatal exception in interrupt")),
            Farewell::LateSplat(splat) => self.splat(splat),
            Farewell::PowerOff | Farewell::NoBye => {}
        }
        Ok(self.guest.power_off())
    }

    fn splat(&self, splat: Splat) {
        self.guest.log.print(&splats::text(splat, &self.guest.script.release));
    }

    /// Runs the test at this place of the plan.
    fn test(&mut self, at: usize) -> Result<(), End> {
        let test = &self.plan.tests[at];
        let behaviour = self.behaviour(test);
        if behaviour == Behaviour::LeftOut {
            return Ok(());
        }
        self.guest.log.begin(test.id, &test.name);
        self.send(&Event::Started { test: test.id })?;
        self.guest.log.advance(50_000);
        let outcome = match test.exec.as_ref().and_then(|exec| exec.instead.clone()) {
            Some(instead) => {
                self.print(test, "", &[Edge::Begin, Edge::End]);
                match instead {
                    Instead::Skip(reason) => Outcome::Skip { reason },
                    Instead::Error(message) => Outcome::Error { message },
                }
            }
            None => self.act(at, &behaviour)?,
        };
        self.finish(test, &outcome)?;
        match behaviour {
            Behaviour::FinishedTwice => {
                self.send(&Event::Finished { test: test.id, outcome, elapsed_ns: 50_000_000 })?;
            }
            Behaviour::LateSamples => self.samples(test)?,
            Behaviour::SlowDrip(_) => self.link.drip(Duration::ZERO),
            _ => {}
        }
        Ok(())
    }

    fn behaviour(&self, test: &PlannedTest) -> Behaviour {
        let script = &self.guest.script;
        let found = script.tests.iter().find(|(pattern, _)| samples::matches(pattern, &test.name));
        match found.map_or(Behaviour::Pass, |(_, behaviour)| behaviour.clone()) {
            Behaviour::InTurn(all) => {
                let turn = turn(&self.guest.kernel, &test.name, all.len());
                all.get(turn).or(all.last()).cloned().unwrap_or(Behaviour::Pass)
            }
            behaviour => behaviour,
        }
    }

    fn finish(&self, test: &PlannedTest, outcome: &Outcome) -> Result<(), End> {
        let word = match outcome {
            Outcome::Pass { .. } => "pass",
            Outcome::Fail { .. } | Outcome::TimedOut { .. } => "fail",
            Outcome::Skip { .. } => "skip",
            Outcome::Error { .. } => "error",
        };
        self.guest.log.end(test.id, word);
        let promise =
            if matches!(outcome, Outcome::Pass { checks: 1.. }) { self.promise(test) } else { Ok(()) };
        promise.map_err(|_| End::Hang)?;
        self.send(&Event::Finished { test: test.id, outcome: outcome.clone(), elapsed_ns: 50_000_000 })
    }

    /// Writes down that a pass follows, unless it will not arrive as one: nobody
    /// may believe a pass that is not in the account.
    fn promise(&self, test: &PlannedTest) -> std::io::Result<()> {
        let Some(account) = self.guest.account.as_ref().filter(|_| !self.link.is_spoilt()) else {
            return Ok(());
        };
        let mut file = OpenOptions::new().create(true).append(true).open(account)?;
        // One write: lines of launches side by side do not mix.
        file.write_all(format!("{} {}\n", self.plan.nonce, test.id).as_bytes())
    }

    fn samples(&self, test: &PlannedTest) -> Result<(), End> {
        let factors = &self.guest.script.factors;
        let turn = turn(&self.guest.kernel, &format!("{} samples", test.name), factors.len());
        let factor = factors.get(turn).or(factors.last()).copied().unwrap_or(1.0);
        for (metric, mut values) in samples::of(&self.guest.script, test) {
            // Counts are what they are, however slow a boot is.
            values.iter_mut().filter(|value| value.fract() != 0.0).for_each(|value| *value *= factor);
            self.send(&Event::Samples { test: test.id, metric, values })?;
        }
        Ok(())
    }

    /// What a well-behaved test does before its end.
    fn work(&mut self, test: &PlannedTest) -> Result<(), End> {
        if let Some(output) = &mut self.guest.output {
            let _ = writeln!(output, "{}: working", test.name);
        }
        self.send(&Event::Progress { test: test.id, done: 1, total: 2 })?;
        self.samples(test)?;
        self.send(&Event::Note {
            test: test.id,
            key: "completion".to_owned(),
            value: "tracepoints".to_owned(),
        })?;
        self.send(&Event::Progress { test: test.id, done: 2, total: 2 })
    }

    /// Prints between the marks of the test, of which one may be missing.
    fn print(&mut self, test: &PlannedTest, text: &str, marks: &[Edge]) {
        let Some(output) = &mut self.guest.output else { return };
        let mark = |edge| match marks.contains(&edge) {
            true => output::mark(&self.plan.nonce, test.id, edge),
            false => String::new(),
        };
        let _ = write!(output, "{}{text}{}", mark(Edge::Begin), mark(Edge::End));
    }

    /// Does what the behaviour says up to the end of the test, which it returns.
    fn act(&mut self, at: usize, behaviour: &Behaviour) -> Result<Outcome, End> {
        let plan = self.plan;
        let test = &plan.tests[at];
        let pass = Outcome::Pass { checks: 7 };
        let broken = |_| End::Hang;
        match behaviour {
            Behaviour::Slow(ms) => {
                self.guest.log.advance(ms * 1000);
                clock::poll_interval(Duration::from_millis(*ms));
            }
            Behaviour::Fail(message) => {
                self.work(test)?;
                return Ok(Outcome::Fail { message: message.clone() });
            }
            Behaviour::Prints { text, code } => {
                self.print(test, text, &[Edge::Begin, Edge::End]);
                return Ok(match *code {
                    0 => Outcome::Pass { checks: 1 },
                    Exec::SKIP => Outcome::Skip { reason: "the program exited with code 4".to_owned() },
                    code => Outcome::Fail { message: format!("the program exited with code {code}") },
                });
            }
            Behaviour::PrintsCutOff(text) => {
                self.print(test, text, &[Edge::Begin]);
                return Ok(Outcome::Pass { checks: 1 });
            }
            Behaviour::Skip(reason) => return Ok(Outcome::Skip { reason: reason.clone() }),
            Behaviour::Error(message) => return Ok(Outcome::Error { message: message.clone() }),
            Behaviour::PassWithoutChecks => {
                self.work(test)?;
                return Ok(Outcome::Pass { checks: 0 });
            }
            Behaviour::PassWithoutSamples => return Ok(pass),
            Behaviour::Splat(splat) => self.splat(*splat),
            Behaviour::Logs(text) => {
                self.guest.log.print(text);
                return Ok(Outcome::Pass { checks: 1 });
            }
            Behaviour::LogsAndPanics(text) => {
                self.guest.log.print(text);
                return Err(self.guest.panic("Fatal exception"));
            }
            Behaviour::Panic => return Err(self.guest.panic("Fatal exception")),
            Behaviour::Hang | Behaviour::HangStubborn => {
                self.agent.silent.store(true, Ordering::Relaxed);
                return Err(if *behaviour == Behaviour::Hang { End::Hang } else { End::HangStubborn });
            }
            Behaviour::Stuck => {
                self.agent.stuck.store(true, Ordering::Relaxed);
                return Err(End::Hang);
            }
            Behaviour::PowerOff => return Err(self.guest.power_off()),
            Behaviour::Die(code) => return Err(End::Exit(*code)),
            Behaviour::Kill9 => return Err(End::Kill),
            Behaviour::Babble => self.link.babble(GARBAGE).map_err(broken)?,
            Behaviour::HalfFrame => {
                self.link.cut_next();
                self.finish(test, &pass)?;
                return Err(End::Exit(1));
            }
            Behaviour::DuplicateFrame => self.link.repeat().map_err(broken)?,
            Behaviour::DamagedFrame => self.link.damage_next(),
            Behaviour::HugeFrame => {
                let announced = [b"KRG1".as_slice(), &(1_u32 << 30).to_le_bytes(), &[0; 8]].concat();
                self.link.babble(&announced).map_err(broken)?;
            }
            Behaviour::StrangeMessage => {
                let message = serde_json::json!({ "promise": { "test": test.id } });
                self.link.send_other(&message).map_err(broken)?;
            }
            Behaviour::Forged => {
                let other = plan.tests.get(at + 1).unwrap_or(test).id;
                self.send(&Event::Finished { test: other, outcome: pass, elapsed_ns: 1 })?;
                return Err(End::Hang);
            }
            Behaviour::UnknownTestId => {
                let unknown = plan.tests.iter().map(|test| test.id).max().unwrap_or(0).wrapping_add(1000);
                self.send(&Event::Finished { test: unknown, outcome: pass.clone(), elapsed_ns: 1 })?;
            }
            Behaviour::UnknownMetric => {
                let metric = "no-such-metric".to_owned();
                self.send(&Event::Samples { test: test.id, metric, values: vec![1.0] })?;
            }
            Behaviour::ForgedMarkers => {
                for other in plan.tests.iter().filter(|other| other.id != test.id) {
                    self.guest.log.end(test.id, "pass");
                    self.guest.log.begin(other.id, &other.name);
                    self.splat(Splat::Warning);
                    self.guest.log.end(other.id, "pass");
                }
            }
            Behaviour::HostileText => {
                self.guest.log.print(HOSTILE);
                if let Some(output) = &mut self.guest.output {
                    let _ = output.write_all(HOSTILE.as_bytes());
                }
                let (key, value) = (HOSTILE.to_owned(), HOSTILE.to_owned());
                self.send(&Event::Note { test: test.id, key, value })?;
                return Ok(Outcome::Fail { message: HOSTILE.to_owned() });
            }
            Behaviour::FloodConsole(mib) => {
                let line = "veth0: entered promiscuous mode ".repeat(8);
                let lines = format!("[   12.000000] {line}\r\n").repeat(256);
                for _ in 0..(mib << 20).div_ceil(lines.len() as u64) {
                    self.guest.log.raw(lines.as_bytes());
                }
            }
            Behaviour::FloodLine(mib) => {
                let piece = [b'x'; 1 << 16];
                for _ in 0..mib << 4 {
                    self.guest.log.raw(&piece);
                }
                self.guest.log.raw(b"\r\n");
            }
            Behaviour::FloodOutput(mib) => {
                let piece = [b'y'; 1 << 16];
                for _ in 0..mib << 4 {
                    self.guest
                        .output
                        .as_mut()
                        .map_or(Ok(()), |output| output.write_all(&piece))
                        .map_err(broken)?;
                }
            }
            Behaviour::FloodSamples(frames) => {
                let metric = samples::of(&self.guest.script, test).into_iter().next();
                let metric = metric.map_or_else(|| "drain_time".to_owned(), |(metric, _)| metric);
                for _ in 0..*frames {
                    let (metric, values) = (metric.clone(), vec![1.5; 1000]);
                    self.send(&Event::Samples { test: test.id, metric, values })?;
                }
            }
            Behaviour::FloodNotes(notes) => {
                for number in 0..*notes {
                    let (key, value) = (format!("note-{number}"), "x".repeat(1000));
                    self.send(&Event::Note { test: test.id, key, value })?;
                }
            }
            Behaviour::SlowDrip(ms) => self.link.drip(Duration::from_millis(*ms)),
            Behaviour::EndlessProgress => {
                for done in 0.. {
                    self.send(&Event::Progress { test: test.id, done, total: u64::MAX })?;
                    clock::poll_interval(Duration::from_millis(5));
                }
            }
            Behaviour::ByeWithoutFinish => {
                self.send(&Event::Bye)?;
                return Err(self.guest.power_off());
            }
            Behaviour::Pass
            | Behaviour::FinishedTwice
            | Behaviour::LateSamples
            | Behaviour::LeftOut
            | Behaviour::InTurn(_) => {}
        }
        self.work(test)?;
        Ok(pass)
    }
}

/// How often this test has run on this kernel before, counted by files beside
/// the image; stops at `limit`.
fn turn(kernel: &Path, test: &str, limit: usize) -> usize {
    let test = test.replace('/', "_");
    let claim = |turn: &usize| {
        let mut name = kernel.as_os_str().to_owned();
        name.push(format!(".test-{test}.turn-{turn}"));
        OpenOptions::new().write(true).create_new(true).open(name).is_ok()
    };
    (0..limit).find(claim).unwrap_or(limit)
}

/// Features that the fake has unless its script says otherwise.
const FEATURES: &[&str] = &[
    "net-ns",
    "user-ns",
    "ucount",
    "ipv6",
    "xfrm",
    "slabinfo",
    "stacks",
    "sysrq",
    "tracing",
    "tcp-zerocopy-receive",
    "so-zerocopy",
    "io-uring",
    "netns-cookie",
];

/// No frames, and no text either.
const GARBAGE: &[u8] = b"\x00\xff\x1b[31mthis is no frame\x1b[0m\x80\x81";

/// Whatever might leave the place where it is shown.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\n::error file=x::not yours\n::set-env name=PATH::/tmp\n\
    ##[group]x\n]]></failure></testcase><!-- \u{202e}desrever\u{200b} &amp; &#0; \0 \u{fffe} \u{85} ../../etc/passwd $(id) `id`";

/// What the agent of a guest says whose `cleanup_net` does not get on.
const STUCK: &str = "\
task kworker/u8:2+netns (process 33, thread 33) state D in rcu_barrier, runs cleanup_net, still there after 300ms
    rcu_barrier+0x1b6/0x2f0
    netdev_run_todo+0x5d/0x5a0
    default_device_exit_batch+0x2ca/0x320
    cleanup_net+0x1d3/0x4b0
    process_one_work+0x174/0x330
task kregress (process 118, thread 118) state D in rwsem_down_read_slowpath
    rwsem_down_read_slowpath+0x12d/0x4b0
    down_read_killable+0x48/0xd0
    copy_net_ns+0x11f/0x2a0
    create_new_namespaces+0x117/0x310
";

/// The same of a guest that is only slow.
const BUSY: &str = "\
no kernel worker is busy with network namespaces or blocked
task kregress (process 118, thread 118) state R
";
