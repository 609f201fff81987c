//! Any bytes on the control channel: no panic, no memory beyond a frame and a
//! chunk, no message that depends on how the bytes are cut, and nothing after an
//! error.

#![no_main]

use kregress_wire::{Decoder, Event, MAX_PAYLOAD};
use libfuzzer_sys::fuzz_target;

/// Everything that is decoded of chunks of this size, and whether it ended in an error.
fn decode(bytes: &[u8], chunk: usize) -> (Vec<Event>, bool) {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for chunk in bytes.chunks(chunk.max(1)) {
        decoder.push(chunk);
        loop {
            match decoder.next_message::<Event>() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next_message::<Event>(), Err(error), "an error is for good");
                    assert_eq!(decoder.pending(), 0, "nothing is kept after an error");
                    return (events, true);
                }
            }
        }
        assert!(decoder.pending() <= MAX_PAYLOAD + 16, "more than a frame is kept");
    }
    (events, false)
}

fuzz_target!(|bytes: &[u8]| {
    let whole = decode(bytes, usize::MAX);
    for chunk in [1, 7, 64] {
        assert_eq!(decode(bytes, chunk), whole, "in chunks of {chunk}");
    }
});
