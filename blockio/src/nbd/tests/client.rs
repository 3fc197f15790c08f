//! A client that sends what it is given, including wrong messages.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

pub(super) const ACKNOWLEDGED: u32 = 1;
pub(super) const SERVER: u32 = 2;
pub(super) const INFO: u32 = 3;
pub(super) const META_CONTEXT: u32 = 4;
pub(super) const UNSUPPORTED: u32 = 0x8000_0001;
pub(super) const INVALID: u32 = 0x8000_0003;
pub(super) const UNKNOWN: u32 = 0x8000_0006;
pub(super) const TOO_BIG: u32 = 0x8000_0009;

pub(super) const READ: u16 = 0;
pub(super) const WRITE: u16 = 1;
pub(super) const DISCONNECT: u16 = 2;
pub(super) const FLUSH: u16 = 3;
pub(super) const TRIM: u16 = 4;
pub(super) const WRITE_ZEROES: u16 = 6;
pub(super) const BLOCK_STATUS: u16 = 7;

pub(super) const EPERM: u32 = 1;
pub(super) const EIO: u32 = 5;
pub(super) const EINVAL: u32 = 22;
pub(super) const ENOSPC: u32 = 28;
pub(super) const EOVERFLOW: u32 = 75;
pub(super) const ENOTSUP: u32 = 95;

/// The cookie of every request in the tests.
pub(super) const COOKIE: u64 = 0x1122_3344_5566_7788;

/// A part of a structured reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    Nothing,
    Data(u64, Vec<u8>),
    Hole(u64, u32),
    Status(Vec<(u32, u32)>),
    Error(u32),
}

pub(super) struct Client {
    pub stream: UnixStream,
}

pub(super) fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

/// The data of GO and INFO.
pub(super) fn info(name: &str, wanted: &[u16]) -> Vec<u8> {
    let mut data = string(name);
    data.extend((wanted.len() as u16).to_be_bytes());
    wanted.iter().for_each(|one| data.extend(one.to_be_bytes()));
    data
}

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT.
pub(super) fn contexts(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = string(name);
    data.extend((queries.len() as u32).to_be_bytes());
    queries.iter().for_each(|query| data.extend(string(query)));
    data
}

pub(super) fn request(flags: u16, command: u16, offset: u64, length: u32) -> Vec<u8> {
    let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend(command.to_be_bytes());
    bytes.extend(COOKIE.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

impl Client {
    pub(super) fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        // A server that does not answer fails the test instead of blocking it.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(super) fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take(8).try_into().unwrap())
    }

    /// Fails unless the server closes the connection without another byte.
    #[track_caller]
    pub(super) fn is_ended(&mut self) {
        match self.stream.read(&mut [0; 1]) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("the connection goes on: {other:?}"),
        }
    }

    pub(super) fn greet(&mut self, flags: u32) {
        assert_eq!(self.take(8), b"NBDMAGIC");
        assert_eq!(self.take(8), b"IHAVEOPT");
        assert_eq!(self.u16(), 3);
        self.send(&flags.to_be_bytes());
    }

    pub(super) fn send_option(&mut self, number: u32, data: &[u8]) {
        let mut bytes = b"IHAVEOPT".to_vec();
        bytes.extend(number.to_be_bytes());
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(data);
        self.send(&bytes);
    }

    /// All replies to an option, including the last: their types and data.
    pub(super) fn option(&mut self, number: u32, data: &[u8]) -> Vec<(u32, Vec<u8>)> {
        self.send_option(number, data);
        let mut replies = Vec::new();
        loop {
            assert_eq!(self.u64(), 0x0003_e889_0455_65a9);
            assert_eq!(self.u32(), number);
            let (reply, length) = (self.u32(), self.u32());
            replies.push((reply, self.take(length as usize)));
            if reply == ACKNOWLEDGED || reply & 1 << 31 != 0 {
                return replies;
            }
        }
    }

    /// The type of the only reply to an option.
    #[track_caller]
    pub(super) fn only_answer(&mut self, number: u32, data: &[u8]) -> u32 {
        let replies = self.option(number, data);
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies[0].0
    }

    pub(super) fn agree_on_structure(&mut self) {
        assert_eq!(self.only_answer(8, &[]), ACKNOWLEDGED);
    }

    pub(super) fn choose_allocation(&mut self, name: &str) {
        let replies = self.option(10, &contexts(name, &["base:allocation"]));
        let chosen = (META_CONTEXT, b"\0\0\0\x01base:allocation".to_vec());
        assert_eq!(replies, [chosen, (ACKNOWLEDGED, Vec::new())]);
    }

    pub(super) fn go(&mut self, name: &str) {
        let replies = self.option(7, &info(name, &[]));
        assert_eq!(replies.last().unwrap().0, ACKNOWLEDGED, "{replies:?}");
    }

    /// The error of a simple reply.
    #[track_caller]
    pub(super) fn simple_reply(&mut self) -> u32 {
        assert_eq!(self.u32(), 0x6744_6698, "no simple reply");
        let error = self.u32();
        assert_eq!(self.u64(), COOKIE);
        error
    }

    #[track_caller]
    pub(super) fn simple(&mut self, flags: u16, command: u16, offset: u64, length: u32) -> u32 {
        self.send(&request(flags, command, offset, length));
        self.simple_reply()
    }

    #[track_caller]
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> u32 {
        self.send(&request(0, WRITE, offset, data.len() as u32));
        self.send(data);
        self.simple_reply()
    }

    /// The chunks of a structured reply.
    #[track_caller]
    pub(super) fn chunks(
        &mut self,
        flags: u16,
        command: u16,
        offset: u64,
        length: u32,
    ) -> Vec<Chunk> {
        self.send(&request(flags, command, offset, length));
        let mut chunks = Vec::new();
        loop {
            assert_eq!(self.u32(), 0x668e_33ef, "no structured reply");
            let (flags, kind) = (self.u16(), self.u16());
            assert_eq!(self.u64(), COOKIE);
            let length = self.u32() as usize;
            chunks.push(self.chunk(kind, length));
            if flags & 1 != 0 {
                return chunks;
            }
        }
    }

    fn chunk(&mut self, kind: u16, length: usize) -> Chunk {
        match (kind, length) {
            (0, 0) => Chunk::Nothing,
            (1, 9..) => Chunk::Data(self.u64(), self.take(length - 8)),
            (2, 12) => Chunk::Hole(self.u64(), self.u32()),
            (5, 12..) => {
                assert_eq!((self.u32(), length % 8), (1, 4));
                Chunk::Status((0..length / 8).map(|_| (self.u32(), self.u32())).collect())
            }
            (0x8001, 6..) => {
                let error = self.u32();
                let message = self.u16();
                assert_eq!(length, 6 + usize::from(message));
                self.take(message.into());
                Chunk::Error(error)
            }
            other => panic!("chunk {other:?}"),
        }
    }

    /// The result of a structured read, holes filled in; every byte exactly once.
    #[track_caller]
    pub(super) fn read(&mut self, offset: u64, length: u32) -> Vec<u8> {
        let mut bytes = vec![None; length as usize];
        for chunk in self.chunks(0, READ, offset, length) {
            let (at, data) = match chunk {
                Chunk::Data(at, data) => (at, data),
                Chunk::Hole(at, length) => (at, vec![0; length as usize]),
                other @ (Chunk::Nothing | Chunk::Status(_) | Chunk::Error(_)) => {
                    panic!("{other:?}")
                }
            };
            let start = (at - offset) as usize;
            for (byte, value) in bytes[start..start + data.len()].iter_mut().zip(data) {
                assert_eq!(byte.replace(value), None, "a byte is given twice");
            }
        }
        bytes.into_iter().map(|byte| byte.expect("every byte is given")).collect()
    }
}
