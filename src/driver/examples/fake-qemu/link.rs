//! The control channel as a guest that lies, stammers and dies would use it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kregress_wire::{Event, Writer};

/// The way to the host. Frames are sound unless one of the methods spoils them.
#[derive(Clone)]
pub(crate) struct Link {
    writer: Arc<Mutex<Writer<Wire>>>,
    wire: Wire,
}

/// The bytes of the channel, below the frames.
#[derive(Clone)]
struct Wire(Arc<Mutex<State>>);

struct State {
    out: Box<dyn Write + Send>,
    last: Vec<u8>,
    fault: Fault,
    /// What was sent, or will be, is not what an honest guest sends.
    spoilt: bool,
}

/// What becomes of the next frame.
#[derive(Clone, Copy)]
enum Fault {
    None,
    Half,
    FlippedBit,
    Drip(Duration),
}

impl Link {
    /// A channel without faults.
    pub(crate) fn new(out: Box<dyn Write + Send>) -> Self {
        let wire =
            Wire(Arc::new(Mutex::new(State { out, last: Vec::new(), fault: Fault::None, spoilt: false })));
        Self { writer: Arc::new(Mutex::new(Writer::new(wire.clone()))), wire }
    }

    /// Sends an event.
    pub(crate) fn send(&self, event: &Event) -> io::Result<()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).send(event)
    }

    /// Sends a frame that holds something else than an event.
    pub(crate) fn send_other(&self, message: &serde_json::Value) -> io::Result<()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).send(message)
    }

    /// Sends bytes as they are.
    pub(crate) fn babble(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.wire.lock();
        state.spoilt = true;
        state.out.write_all(bytes)?;
        state.out.flush()
    }

    /// Whether the host has no more reason to believe anything.
    pub(crate) fn is_spoilt(&self) -> bool {
        self.wire.lock().spoilt
    }

    /// Sends the last frame again.
    pub(crate) fn repeat(&self) -> io::Result<()> {
        let last = self.wire.lock().last.clone();
        self.babble(&last)
    }

    /// Cuts the next frame in half.
    pub(crate) fn cut_next(&self) {
        let mut state = self.wire.lock();
        (state.fault, state.spoilt) = (Fault::Half, true);
    }

    /// Flips a bit of the next frame.
    pub(crate) fn damage_next(&self) {
        let mut state = self.wire.lock();
        (state.fault, state.spoilt) = (Fault::FlippedBit, true);
    }

    /// From now on, every byte takes this long; zero ends it.
    pub(crate) fn drip(&self, pause: Duration) {
        self.wire.lock().fault = if pause.is_zero() { Fault::None } else { Fault::Drip(pause) };
    }
}

impl Wire {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Wire {
    /// Takes one frame: [`Writer`] writes each of them at once.
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        state.last = frame.to_vec();
        match state.fault {
            Fault::None => state.out.write_all(frame)?,
            Fault::Half => {
                state.fault = Fault::None;
                state.out.write_all(&frame[..frame.len() / 2])?;
            }
            Fault::FlippedBit => {
                state.fault = Fault::None;
                let mut damaged = frame.to_vec();
                if let Some(byte) = damaged.last_mut() {
                    *byte ^= 0x10;
                }
                state.out.write_all(&damaged)?;
            }
            Fault::Drip(pause) => {
                for byte in frame {
                    state.out.write_all(std::slice::from_ref(byte))?;
                    kregress::clock::poll_interval(pause);
                }
            }
        }
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().out.flush()
    }
}
