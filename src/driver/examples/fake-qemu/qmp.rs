//! A minimal QMP server: what a watchdog asks before it kills a guest.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::leave;
use crate::log::Log;

/// State of the guest's CPUs.
#[derive(Default)]
pub(crate) struct Cpus {
    frozen: AtomicBool,
    deaf: AtomicBool,
    steps: AtomicU64,
}

impl Cpus {
    /// From now on the instruction pointer stays where it is.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
    }

    /// From now on an NMI has no effect.
    pub(crate) fn ignore_nmi(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    /// The instruction pointer; another one at each look while the guest runs.
    fn rip(&self) -> u64 {
        let step = if self.frozen.load(Ordering::Relaxed) { 0 } else { 1 };
        0xffff_ffff_8100_0000 + 0x40 * self.steps.fetch_add(step, Ordering::Relaxed)
    }
}

/// What QMP can reach of the machine.
pub(crate) struct Server {
    pub(crate) cpus: Arc<Cpus>,
    pub(crate) log: Log,
    pub(crate) version: String,
    pub(crate) processors: u32,
    pub(crate) on_nmi: OnNmi,
}

/// What the kernel does on an NMI.
pub(crate) enum OnNmi {
    /// It wonders.
    Wonder,
    /// It panics with this text and stays.
    Panic(String),
    /// It panics with this text and resets the machine, which goes off.
    PanicAndExit(String),
}

impl Server {
    /// Serves one client after the other, for ever.
    pub(crate) fn serve(&self, listener: &UnixListener) {
        for client in listener.incoming().flatten() {
            // A client that goes away is not our trouble.
            let _ = self.client(&client);
        }
    }

    fn client(&self, mut stream: &UnixStream) -> io::Result<()> {
        let number =
            |at: usize| self.version.split('.').nth(at).and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
        let qemu = json!({"major": number(0), "minor": number(1), "micro": number(2)});
        let greeting = json!({"QMP": {"version": {"qemu": qemu, "package": ""}, "capabilities": ["oob"]}});
        send(stream, &greeting)?;
        let mut negotiated = false;
        for line in BufReader::new(stream.try_clone()?).lines() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let request: Value = match serde_json::from_str(&line) {
                Ok(request) => request,
                Err(_) => {
                    send(stream, &error(&Value::Null, "GenericError", "JSON parse error, invalid keyword"))?;
                    continue;
                }
            };
            let name = request["execute"].as_str().unwrap_or_default();
            let answer = match (name, negotiated) {
                ("qmp_capabilities", false) => {
                    negotiated = true;
                    Ok(json!({}))
                }
                (_, false) => Err((
                    "CommandNotFound",
                    "Expecting capabilities negotiation with 'qmp_capabilities'".into(),
                )),
                _ => self.execute(name, &request["arguments"]),
            };
            let mut reply = match answer {
                Ok(value) => json!({ "return": value }),
                Err((class, text)) => error(&Value::Null, class, &text),
            };
            if !request["id"].is_null() {
                reply["id"] = request["id"].clone();
            }
            send(stream, &reply)?;
            match name {
                "quit" if negotiated => {
                    let data = json!({"guest": false, "reason": "host-qmp-quit"});
                    let time = json!({"seconds": 0, "microseconds": 0});
                    send(stream, &json!({"timestamp": time, "event": "SHUTDOWN", "data": data}))?;
                    leave(0);
                }
                "inject-nmi" if negotiated => self.nmi(),
                _ => {}
            }
            stream.flush()?;
        }
        Ok(())
    }

    fn execute(&self, name: &str, arguments: &Value) -> Result<Value, (&'static str, String)> {
        match name {
            "query-status" => Ok(json!({"status": "running", "singlestep": false, "running": true})),
            "query-kvm" => Ok(json!({"enabled": false, "present": true})),
            "query-cpus-fast" => Ok(
                json!([{"cpu-index": 0, "thread-id": std::process::id(), "qom-path": "/machine/unattached/device[0]", "target": "x86_64"}]),
            ),
            "human-monitor-command" => match arguments["command-line"].as_str() {
                Some("info registers -a") => Ok(json!(self.registers())),
                Some(command) => Ok(json!(format!("unknown command: '{command}'\r\n"))),
                None => Err(("GenericError", "Parameter 'command-line' is missing".into())),
            },
            "inject-nmi" | "quit" | "stop" | "cont" => Ok(json!({})),
            other => Err(("CommandNotFound", format!("The command {other} has not been found"))),
        }
    }

    fn registers(&self) -> String {
        let rip = self.cpus.rip();
        let cpu = |number: u32| {
            format!(
                "\r\nCPU#{number}\r\nRAX=0000000000000000 RBX=ffff888004a3c000 RCX=0000000000000001 RDX=0000000000000001\r\n\
             RIP={rip:016x} RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\r\n\
             CR0=80050033 CR2=0000000000000008 CR3=000000000442c001 CR4=00770ef0\r\n"
            )
        };
        (0..self.processors).map(cpu).collect()
    }

    fn nmi(&self) {
        if self.cpus.deaf.load(Ordering::Relaxed) {
            return;
        }
        self.log.print("Uhhuh. NMI received for unknown reason 21 on CPU 0.");
        match &self.on_nmi {
            OnNmi::Wonder => self.log.print("Dazed and confused, but trying to continue"),
            OnNmi::Panic(text) => self.log.print(text),
            OnNmi::PanicAndExit(text) => {
                self.log.print(text);
                leave(0);
            }
        }
    }
}

fn error(id: &Value, class: &str, text: &str) -> Value {
    let mut reply = json!({"error": {"class": class, "desc": text}});
    if !id.is_null() {
        reply["id"] = id.clone();
    }
    reply
}

fn send(mut stream: &UnixStream, message: &Value) -> io::Result<()> {
    stream.write_all(format!("{message}\r\n").as_bytes())
}
