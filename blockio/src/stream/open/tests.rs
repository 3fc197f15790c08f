//! Which first bytes identify which format, and that nothing else is taken for a stream.

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;

use super::{detect, open};
use crate::ErrorKind;
use crate::device::buffer::ArenaPool;
use crate::remedy::{Remedy, StreamRemedy};
use crate::stream::input::Input;
use crate::stream::{BATCH_BYTES_MAX, Format, Frame, native};

fn pool() -> ArenaPool {
    ArenaPool::new(1, NonZeroUsize::new(BATCH_BYTES_MAX).unwrap()).unwrap()
}

fn pipe(bytes: &[u8]) -> Input {
    Input::from_pipe(io::Cursor::new(bytes.to_vec()))
}

#[test]
fn a_format_is_told_by_its_first_bytes_and_by_all_of_them() {
    for (head, format) in [
        (&native::MAGIC[..], Format::Native),
        (b"rbd diff v1\n", Format::RbdDiff),
        (b"rbd diff v2\n", Format::RbdDiff),
        (b"rbd image v2\n", Format::RbdDiff),
        (b"DRTL", Format::Svd),
        (b"BTRD", Format::Svd),
    ] {
        assert_eq!(detect(&[head, b"and more"].concat()), Some(format));
        assert_eq!(detect(&head[..head.len() - 1]), None, "{format}");
    }
    assert_eq!(detect(b"LTRD"), None);
}

#[test]
fn what_is_no_stream_is_refused_with_the_hint_how_to_name_an_image() {
    for bytes in [&[0; 4096][..], b"rbx", b"QFI\xFB\0\0\0\x03"] {
        let error = open("disk.img", pipe(bytes), None, pool()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert_eq!(error.chain(), "reading disk.img: it is not a change stream in a known format");
        assert_eq!(Remedy::of(&error), Some(&StreamRemedy::NameFormat.into()));
    }
}

#[test]
fn what_ends_before_it_says_what_it_is_was_cut_off() {
    for bytes in [&b""[..], b"rbd", &native::MAGIC[..7]] {
        let error = open("a pipe", pipe(bytes), None, pool()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        let said = format!("reading a pipe: at byte {} of the stream: the input ends", bytes.len());
        assert!(error.chain().starts_with(&said), "{}", error.chain());
    }
}

#[test]
fn an_image_that_is_named_so_is_read_as_one_even_if_it_looks_like_a_stream() {
    let mut source = open("disk.img", pipe(b"DRTL"), Some(Format::Raw), pool()).unwrap();
    assert_eq!(source.format(), Format::Raw);
    assert!(matches!(source.next_frame().unwrap(), Some(Frame::Begin(_))));
    assert!(matches!(source.next_frame().unwrap(), Some(Frame::Batch(_))));
    assert_eq!(source.consumed(), 4);
}

#[test]
fn a_stream_that_was_recognised_is_read_from_its_beginning() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
    for (file, format) in
        [("svd/one-write.svd", Format::Svd), ("rbd/odd.o2-o3.rbddiff", Format::RbdDiff)]
    {
        let bytes = std::fs::read(data.join(file)).unwrap();
        let opened = std::fs::File::open(data.join(file)).unwrap();
        for input in [pipe(&bytes), Input::from_file(opened).unwrap()] {
            let mut source = open(file, input, None, pool()).unwrap();
            assert_eq!(source.format(), format);
            let mut frames = 0;
            while source.next_frame().unwrap().is_some() {
                frames += 1;
            }
            assert_eq!((frames, source.consumed()), (3, bytes.len() as u64));
        }
    }
}
