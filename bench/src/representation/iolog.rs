//! A workload as fio's I/O log, version 2: offsets and lengths, no payload, no times.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workload::{ByteRange, Workload};

/// Any name will do, because fio is told to write to the target instead.
const NAME: &str = "/dev/null";

/// Writes the log to `path`.
pub(super) fn write(workload: &Workload, path: &Path) -> Result<PathBuf> {
    let file = File::create(path).context("creating an I/O log")?;
    let mut output = BufWriter::new(file);
    encode(&workload.data, &mut output).context("writing an I/O log")?;
    Ok(path.to_owned())
}

fn encode(data: &[ByteRange], output: &mut impl Write) -> std::io::Result<()> {
    write!(output, "fio version 2 iolog\n{NAME} add\n{NAME} open\n")?;
    for range in data {
        writeln!(output, "{NAME} write {} {}", range.offset, range.length)?;
    }
    writeln!(output, "{NAME} close")?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_every_write_in_order_between_open_and_close() {
        let data =
            vec![ByteRange { offset: 8192, length: 4096 }, ByteRange { offset: 0, length: 65_536 }];
        let mut text = Vec::new();
        encode(&data, &mut text).unwrap();
        let wanted = "fio version 2 iolog\n/dev/null add\n/dev/null open\n\
                      /dev/null write 8192 4096\n/dev/null write 0 65536\n/dev/null close\n";
        assert_eq!(String::from_utf8(text).unwrap(), wanted);
    }
}
