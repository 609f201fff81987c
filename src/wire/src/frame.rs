//! Framing of messages on a byte stream that may be cut, flooded or garbled.
//!
//! A frame is a header of 16 bytes and a JSON payload:
//!
//! | bytes | content |
//! |---|---|
//! | 4 | magic `KRG1` |
//! | 4 | length of the payload, little endian, at most [`MAX_PAYLOAD`] |
//! | 4 | sequence number, little endian, from 0, without gaps |
//! | 4 | CRC-32 of sequence number and payload, little endian |
//!
//! The first bad byte poisons the stream: nothing after it is believed.

use std::io::{self, Write};

use serde::{Serialize, de::DeserializeOwned};

const MAGIC: [u8; 4] = *b"KRG1";
const HEADER: usize = 16;

/// Largest payload in bytes. Samples are sent in batches far below it; the
/// bound keeps a guest from making the host allocate.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// Why a byte stream is not a sequence of our frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The stream holds something else.
    #[error("frame {sequence} does not begin with the magic but with {found:02x?}")]
    Magic {
        /// Frames read before it.
        sequence: u32,
        /// What stands there.
        found: [u8; 4],
    },
    /// The header announces more than [`MAX_PAYLOAD`].
    #[error("frame {sequence} announces {length} bytes, the limit is {MAX_PAYLOAD}")]
    TooLong {
        /// Frames read before it.
        sequence: u32,
        /// Announced length in bytes.
        length: u32,
    },
    /// A frame is missing, doubled or forged.
    #[error("frame {found} arrived where frame {expected} was due")]
    Sequence {
        /// Next number in order.
        expected: u32,
        /// Number in the header.
        found: u32,
    },
    /// The payload was damaged.
    #[error("frame {sequence} has a wrong checksum")]
    Checksum {
        /// Number of the frame.
        sequence: u32,
    },
    /// The payload is no message.
    #[error("frame {sequence} is not a message: {reason}")]
    Message {
        /// Number of the frame.
        sequence: u32,
        /// The parser's words.
        reason: String,
    },
}

fn checksum(sequence: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sequence);
    hasher.update(payload);
    hasher.finalize()
}

/// Writes messages as frames.
#[derive(Debug)]
pub struct Writer<W> {
    inner: W,
    sequence: u32,
}

impl<W: Write> Writer<W> {
    /// Starts a stream with sequence number 0.
    pub fn new(inner: W) -> Self {
        Self { inner, sequence: 0 }
    }

    /// What the frames were written to.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// Sends one message with a single `write`, so that a frame is whole in
    /// the pipe or not there at all as far as the kernel allows.
    ///
    /// # Errors
    ///
    /// Fails when the stream does, or with `InvalidInput` for a message above
    /// [`MAX_PAYLOAD`].
    pub fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        let payload = serde_json::to_vec(message).map_err(io::Error::other)?;
        let length = u32::try_from(payload.len()).ok().filter(|n| *n as usize <= MAX_PAYLOAD);
        let length = length.ok_or_else(|| {
            let text = format!("a message of {} bytes exceeds the limit of {MAX_PAYLOAD}", payload.len());
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let sequence = self.sequence.to_le_bytes();
        let mut frame = Vec::with_capacity(HEADER + payload.len());
        frame.extend_from_slice(&MAGIC);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&sequence);
        frame.extend_from_slice(&checksum(sequence, &payload).to_le_bytes());
        frame.extend_from_slice(&payload);
        self.inner.write_all(&frame)?;
        self.inner.flush()?;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }
}

impl<W: Write> Writer<W> {
    /// Follows the last message by the beginning of a frame that never ends, in
    /// `writes` writes. Where a channel holds back at most that many writes, all
    /// messages have left it when this returns: QEMU forgets what the host has
    /// not read yet when the guest powers off. No reader takes it for a message.
    ///
    /// # Errors
    ///
    /// Fails when the stream does.
    pub fn pad(&mut self, writes: usize) -> io::Result<()> {
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(&MAGIC);
        // More than is ever written of it.
        let length = u32::try_from(MAX_PAYLOAD).map_err(io::Error::other)?;
        header.extend_from_slice(&length.to_le_bytes());
        header.extend_from_slice(&self.sequence.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        for at in 0..writes.min(MAX_PAYLOAD) {
            self.inner.write_all(&[header.get(at).copied().unwrap_or(b' ')])?;
            self.inner.flush()?;
        }
        Ok(())
    }
}

/// Reads messages from chunks of bytes as they arrive.
///
/// Holds at most one frame; never more than [`MAX_PAYLOAD`] plus one chunk.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    sequence: u32,
    poisoned: Option<FrameError>,
}

impl Decoder {
    /// Starts with an empty stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the stream. After an error nothing is kept.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.poisoned.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Bytes of an unfinished frame; not 0 at the end of the stream means that
    /// the writer died in mid-sentence, or has said goodbye and padded it
    /// ([`Writer::pad`]).
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Next message, `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// Any [`FrameError`]; the same one again on every later call.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        if let Some(error) = &self.poisoned {
            return Err(error.clone());
        }
        let result = self.decode();
        if let Err(error) = &result {
            self.poisoned = Some(error.clone());
            self.buffer = Vec::new();
        }
        result
    }

    fn decode<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let expected = self.sequence;
        // The magic is judged as far as it has arrived, so that garbage shorter
        // than a header does not look like a frame to come.
        let prefix = self.buffer.len().min(MAGIC.len());
        if self.buffer[..prefix] != MAGIC[..prefix] {
            let mut found = [0; 4];
            found[..prefix].copy_from_slice(&self.buffer[..prefix]);
            return Err(FrameError::Magic { sequence: expected, found });
        }
        let Some(header) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let field = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
        let (length, sequence, crc) = (u32::from_le_bytes(field(4)), field(8), u32::from_le_bytes(field(12)));
        if length as usize > MAX_PAYLOAD {
            return Err(FrameError::TooLong { sequence: expected, length });
        }
        let found = u32::from_le_bytes(sequence);
        if found != expected {
            return Err(FrameError::Sequence { expected, found });
        }
        let end = HEADER + length as usize;
        let Some(payload) = self.buffer.get(HEADER..end) else { return Ok(None) };
        if checksum(sequence, payload) != crc {
            return Err(FrameError::Checksum { sequence: expected });
        }
        let message = serde_json::from_slice(payload)
            .map_err(|error| FrameError::Message { sequence: expected, reason: error.to_string() })?;
        self.buffer.drain(..end);
        self.sequence = self.sequence.wrapping_add(1);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Event, Outcome};

    fn messages() -> Vec<Event> {
        vec![
            Event::Started { test: 1 },
            Event::Samples { test: 1, metric: "drain_time".into(), values: vec![1.0, 2.5e9, 0.125] },
            Event::Finished { test: 1, outcome: Outcome::Pass { checks: 3 }, elapsed_ns: 17 },
            Event::Bye,
        ]
    }

    fn stream(messages: &[Event]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        for message in messages {
            writer.send(message).expect("send to memory");
        }
        bytes
    }

    fn read_all(decoder: &mut Decoder) -> Result<Vec<Event>, FrameError> {
        let mut seen = Vec::new();
        while let Some(event) = decoder.next_message()? {
            seen.push(event);
        }
        Ok(seen)
    }

    #[test]
    fn messages_arrive_whatever_the_size_of_the_chunks() {
        let bytes = stream(&messages());
        for size in [1, 2, 3, 15, 16, 17, 1000] {
            let mut decoder = Decoder::new();
            let mut seen = Vec::new();
            for chunk in bytes.chunks(size) {
                decoder.push(chunk);
                seen.extend(read_all(&mut decoder).expect("good frames"));
            }
            assert_eq!(seen, messages(), "chunks of {size}");
            assert_eq!(decoder.pending(), 0);
        }
    }

    #[test]
    fn half_a_frame_is_pending_and_no_message() {
        let bytes = stream(&messages());
        let mut decoder = Decoder::new();
        decoder.push(&bytes[..bytes.len() - 1]);
        assert_eq!(read_all(&mut decoder).expect("good so far"), messages()[..3]);
        assert!(decoder.pending() > 0);
    }

    #[test]
    fn a_frame_sent_twice_is_refused() {
        let one = stream(&messages()[..1]);
        let mut decoder = Decoder::new();
        decoder.push(&one);
        decoder.push(&one);
        assert!(decoder.next_message::<Event>().expect("first").is_some());
        let error = decoder.next_message::<Event>().expect_err("second");
        assert_eq!(error, FrameError::Sequence { expected: 1, found: 0 });
    }

    #[test]
    fn an_error_stays_an_error() {
        let mut decoder = Decoder::new();
        decoder.push(b"GARBAGE");
        let error = decoder.next_message::<Event>().expect_err("garbage");
        assert_eq!(error, FrameError::Magic { sequence: 0, found: *b"GARB" });
        decoder.push(&stream(&messages()));
        assert_eq!(decoder.next_message::<Event>().expect_err("still poisoned"), error);
        assert_eq!(decoder.pending(), 0);
    }

    #[test]
    fn one_wrong_byte_is_garbage_at_once() {
        let mut decoder = Decoder::new();
        decoder.push(b"K");
        assert_eq!(decoder.next_message::<Event>().expect("could be a frame"), None);
        decoder.push(b"x");
        decoder.next_message::<Event>().expect_err("cannot be a frame");
    }

    #[test]
    fn an_announced_gigabyte_is_refused_before_it_is_read() {
        let mut decoder = Decoder::new();
        let mut header = stream(&messages()[..1])[..HEADER].to_vec();
        header[4..8].copy_from_slice(&(1_u32 << 30).to_le_bytes());
        decoder.push(&header);
        let error = decoder.next_message::<Event>().expect_err("too long");
        assert_eq!(error, FrameError::TooLong { sequence: 0, length: 1 << 30 });
    }

    #[test]
    fn a_message_above_the_limit_is_not_sent() {
        let mut bytes = Vec::new();
        let event = Event::Diagnosis { text: "x".repeat(MAX_PAYLOAD) };
        let error = Writer::new(&mut bytes).send(&event).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(bytes.is_empty());
    }

    #[test]
    fn padding_is_never_a_message_nor_an_error() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.send(&Event::Bye).expect("send to memory");
        let end = writer.inner.len();
        writer.pad(300).expect("send to memory");
        assert_eq!(bytes.len() - end, 300);
        for cut in end..=bytes.len() {
            let mut decoder = Decoder::new();
            decoder.push(&bytes[..cut]);
            assert_eq!(decoder.next_message(), Ok(Some(Event::Bye)));
            assert_eq!(decoder.next_message::<Event>(), Ok(None));
        }
    }

    proptest! {
        #[test]
        fn no_input_makes_the_decoder_panic_or_hoard(chunks: Vec<Vec<u8>>) {
            let mut decoder = Decoder::new();
            for chunk in &chunks {
                decoder.push(chunk);
                let _ = read_all(&mut decoder);
                prop_assert!(decoder.pending() <= HEADER + MAX_PAYLOAD);
            }
        }

        #[test]
        fn a_flipped_bit_never_yields_another_message(at in 0_usize..200, bit in 0_u8..8) {
            let sent = messages();
            let mut bytes = stream(&sent);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let mut decoder = Decoder::new();
            decoder.push(&bytes);
            let mut seen = Vec::new();
            while let Ok(Some(event)) = decoder.next_message::<Event>() {
                seen.push(event);
            }
            prop_assert!(seen.len() < sent.len());
            prop_assert_eq!(&seen[..], &sent[..seen.len()]);
        }
    }
}
