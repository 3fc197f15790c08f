//! Opens a file of whole sectors with an engine twice, writes a sector of `m` and reads it back.
//! Prints the engine that was chosen; warnings and errors go to stderr.
//!
//! `open_device auto|uring|blocking FILE`

use std::fs::OpenOptions;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;

use blockio::device::Engine;
use blockio::device::buffer::ArenaPool;
use blockio::device::open::open;
use blockio::device::{Geometry, ReadBatch, Transfer, WriteBatch};
use blockio::remedy::Remedy;
use blockio::units::{ByteCount, ByteOffset, SectorSize};

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [engine, path] = arguments.as_slice() else { return ExitCode::from(2) };
    let engine = match engine.as_str() {
        "uring" => Engine::Uring,
        "blocking" => Engine::Blocking,
        _ => Engine::Auto,
    };
    for _ in 0..2 {
        match write_and_read(path, engine) {
            Ok(name) => println!("{name}"),
            Err(error) => {
                eprintln!("{}", error.chain());
                eprintln!("remedy: {:?}", Remedy::of(&error));
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn write_and_read(path: &str, engine: Engine) -> system::Result<&'static str> {
    let failed = |error| system::Error::failed("opening the file", error);
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let capacity = ByteCount::new(file.metadata().map_err(failed)?.len());
    let geometry = Geometry { capacity, sector_size: SectorSize::Bytes512 };
    let length = NonZeroUsize::new(4096).expect("not zero");
    let pool = ArenaPool::new(1, length).map_err(failed)?;
    let mut device = open(file, geometry, engine)?;

    let device_failed = |error| system::Error::failed("using the device", error);
    let transfer = Transfer { at: ByteOffset::ZERO, position: 0, length: 512 };
    let mut arena = pool.take()?;
    arena.as_mut_slice().fill(b'm');
    let batch = WriteBatch { arena: Arc::new(arena), writes: vec![transfer], clears: Vec::new() };
    device.write_batch(batch).map_err(device_failed)?;
    let settled = device.settle().map_err(device_failed)?;
    let _ = device.flush(settled).map_err(device_failed)?;
    let mut arena = pool.take()?;
    arena.as_mut_slice().fill(0);
    let batch = ReadBatch { arena, reads: vec![transfer] };
    let arena = device.read_batch(batch).map_err(device_failed)?;
    assert!(arena.as_slice()[..512].iter().all(|&byte| byte == b'm'));
    Ok(device.engine_name())
}
