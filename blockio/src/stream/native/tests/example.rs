//! The example in the format's document equals what the encoder writes, byte for byte.

use super::super::compression::Method;
use super::super::{Encoder, EncoderOptions};
use super::{CREATED, decode, extent, name};
use crate::stream::{Format, Mark, MarkKind, StreamHeader, Timestamp, VolumeHeader, VolumeIndex};
use crate::units::{ByteCount, ByteOffset};

const DOCUMENT: &str = include_str!("../../../../../docs/format/change-stream-v1.md");

/// The stream that the document describes.
fn example(compression: Option<Method>) -> Vec<u8> {
    let size = Some(ByteCount::new(1 << 20));
    let volume = VolumeHeader { name: name("disk0"), size, from: None, to: name("s1") };
    let identity = Some(*b"0123456789abcdef");
    let header = StreamHeader {
        format: Format::Native,
        is_in_write_order: true,
        identity,
        volumes: vec![volume],
    };
    let options =
        EncoderOptions { compression, created: Some(CREATED), ..EncoderOptions::default() };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, &header, options).unwrap();
    encoder.data(VolumeIndex(0), ByteOffset::new(66_048), b"sixteen bytes...").unwrap();
    encoder.zero(VolumeIndex(0), extent(131_072, 65_536)).unwrap();
    let time = Timestamp(CREATED.0 + 300_000_000_000);
    let kind = MarkKind::ApplicationConsistent;
    encoder.mark(&Mark { time, kind, name: name("upgrade"), group: None }).unwrap();
    encoder.finish(true).unwrap();
    bytes
}

/// The bytes of the document's dump: `OFFSET  16 bytes  |text|`; lines of zeros are left out.
fn dumped(document: &str) -> Vec<u8> {
    let begin = document.find("```hexdump\n").expect("a dump") + "```hexdump\n".len();
    let dump = &document[begin..begin + document[begin..].find("```").expect("its end")];
    let mut bytes = Vec::new();
    for line in dump.lines().filter(|line| line.as_bytes()[0] != b'#') {
        let (hex, _) = line.split_once('|').unwrap_or((line, ""));
        let mut words = hex.split_whitespace();
        let offset = words.next().expect("an offset");
        bytes.resize(usize::from_str_radix(offset, 16).unwrap(), 0);
        bytes.extend(words.map(|word| u8::from_str_radix(word, 16).unwrap()));
    }
    bytes
}

/// As `hexdump -C`, without lines of zeros; the last line is the length.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, line) in bytes.chunks(16).enumerate().filter(|(_, line)| *line != [0; 16]) {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown: String = line
            .iter()
            .map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' })
            .collect();
        text += &format!("{:08x}  {}  |{shown}|\n", index * 16, hex.join(" "));
    }
    text + &format!("{:08x}\n", bytes.len())
}

#[test]
fn the_documents_example_is_what_is_written() {
    let written = example(None);
    assert!(dumped(DOCUMENT) == written, "the document should have:\n{}", dump(&written));
    assert_eq!(decode(&written).1, None);
}
