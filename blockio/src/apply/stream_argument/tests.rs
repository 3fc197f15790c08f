//! Inputs by name: files, pipes, and images with a given size.

use std::fs;
use std::os::unix::net::UnixListener;

use super::*;
use crate::apply::session::ARENA_BYTES;
use crate::stream::{VolumeHeader, native};
use crate::units::ByteCount;

fn file(path: &Path) -> StreamArgument {
    let input = Input::from_file(File::open(path).unwrap()).unwrap();
    StreamArgument::Open { name: "opened".to_owned(), input }
}

fn pipe() -> StreamArgument {
    let input = Input::from_pipe(io::Cursor::new(vec![1, 2, 3]));
    StreamArgument::Open { name: "piped".to_owned(), input }
}

fn sized(image: StreamArgument) -> StreamArgument {
    StreamArgument::Sized { image: Box::new(image), size_bytes: 77 }
}

fn pool() -> ArenaPool {
    ArenaPool::new(2, ARENA_BYTES).unwrap()
}

#[test]
fn what_can_be_known_before_it_is_read() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("stream");
    fs::write(&path, [0; 1234]).unwrap();
    let (directory, nowhere) = (here.path().to_owned(), here.path().join("nowhere"));
    let by_path = |path: &PathBuf| StreamArgument::Path(path.clone());
    let shown = path.display().to_string();
    for (input, name, length_bytes, is_pipe) in [
        (by_path(&path), shown.as_str(), Some(1234), false),
        (by_path(&directory), directory.to_str().unwrap(), None, true),
        (by_path(&nowhere), nowhere.to_str().unwrap(), None, true),
        (file(&path), "opened", Some(1234), false),
        (pipe(), "piped", None, true),
        (sized(pipe()), "piped", Some(77), true),
        (sized(file(&path)), "opened", Some(77), false),
    ] {
        assert_eq!(input.name(), name);
        assert_eq!((input.length_bytes(), input.is_pipe()), (length_bytes, is_pipe), "{name}");
    }
}

#[test]
fn a_stream_is_known_to_be_the_file_that_it_is_read_from_by_whichever_name() {
    let here = tempfile::tempdir().unwrap();
    let of = |name: &str| here.path().join(name);
    ["one", "other"].iter().for_each(|name| fs::write(of(name), "").unwrap());
    fs::hard_link(of("one"), of("link")).unwrap();
    let target = File::open(of("one")).unwrap();
    for (input, expected) in [
        (StreamArgument::Path(of("one")), true),
        (StreamArgument::Path(of("link")), true),
        (StreamArgument::Path(of("other")), false),
        (StreamArgument::Path(of("nowhere")), false),
        (file(&of("link")), true),
        (file(&of("other")), false),
        (pipe(), false),
        (sized(file(&of("one"))), true),
        (sized(pipe()), false),
    ] {
        assert_eq!(input.is_also(&target), expected, "{input:?}");
    }
}

#[test]
fn a_file_says_what_its_streams_are_and_a_pipe_only_once() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("streams");
    let volumes = vec![VolumeHeader { size: Some(ByteCount::new(4096)), ..Default::default() }];
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes };
    let mut bytes = Vec::new();
    native::Encoder::new(&mut bytes, &header, Default::default()).unwrap().finish(true).unwrap();
    fs::write(&path, bytes).unwrap();
    let headers = StreamArgument::Path(path.clone()).headers(None, pool()).unwrap();
    assert_eq!(headers.len(), 1);
    assert_eq!(headers[0].volumes, header.volumes);
    for once in [pipe(), file(&path), sized(file(&path))] {
        assert_eq!(once.headers(None, pool()).unwrap_err().kind(), ErrorKind::Usage);
    }
}

#[test]
fn pipes_sockets_and_terminals_are_read_once() {
    let here = tempfile::tempdir().unwrap();
    let of = |name: &str| here.path().join(name);
    fs::write(of("file"), "").unwrap();
    nix::unistd::mkfifo(&of("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _listener = UnixListener::bind(of("socket")).unwrap();
    for (path, expected) in [
        (of("file"), false),
        (of("nowhere"), false),
        (of("pipe"), true),
        (of("socket"), true),
        (PathBuf::from("/dev/null"), true),
    ] {
        assert_eq!(is_read_once(&path), expected, "{}", path.display());
        if expected {
            let headers = StreamArgument::Path(path).headers(None, pool());
            assert_eq!(headers.unwrap_err().kind(), ErrorKind::Usage);
        }
    }
}

#[test]
fn a_file_does_not_know_its_size_as_a_disk_does() {
    let mut file = tempfile::tempfile().unwrap();
    file.set_len(4096).unwrap();
    assert_eq!(size_of_disk(&mut file).unwrap(), None);
}
