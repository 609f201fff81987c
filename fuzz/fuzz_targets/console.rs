//! Any bytes on the console: no panic, no finding outside of the log, none that
//! depends on how the bytes are cut.

#![no_main]

use kregress::console::{Item, Scanner};
use libfuzzer_sys::fuzz_target;

fn scan(bytes: &[u8], chunk: usize) -> Vec<Item> {
    let mut scanner = Scanner::new();
    let mut items = Vec::new();
    for chunk in bytes.chunks(chunk.max(1)) {
        scanner.push(chunk);
        items.extend(scanner.drain());
    }
    scanner.finish();
    items.extend(scanner.drain());
    items
}

fuzz_target!(|bytes: &[u8]| {
    let whole = scan(bytes, usize::MAX);
    for item in &whole {
        if let Item::Finding(finding) = item {
            assert!(finding.start < finding.end && finding.end <= bytes.len() as u64, "{finding:?}");
            assert!(!finding.title.is_empty(), "{finding:?}");
        }
    }
    for chunk in [1, 13, 256] {
        assert_eq!(scan(bytes, chunk), whole, "in chunks of {chunk}");
    }
});
