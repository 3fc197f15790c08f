//! Feeds arbitrary texts to what reads the state of a group: as they are, and as pieces whose
//! checksums are right, which go on from each other: else nothing would come past the first.
#![no_main]

use blockio::journal::state_text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    read(&text);
    let mut checksum = 0;
    let pieces = text.lines().map(|json| {
        checksum = crc32c::crc32c_append(checksum, json.as_bytes());
        format!("{json}\ncrc32c {checksum:08x}\n")
    });
    read(&pieces.collect::<String>());
});

/// What is read as a state is read again from what is printed of it.
fn read(text: &str) {
    let Ok(state) = state_text::parse(text) else { return };
    let again = state_text::parse(&state_text::print(&state));
    assert_eq!(again.ok(), Some(state));
}
