//! Verbs that read documents: digests, and recorded hosts.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::streams::{SIZE, sparse};
use crate::{Row, all_are_small};

/// A host with the most disks that one master target takes.
const HOST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/hosts/sixty-disks.json");

/// A digest of `leaves` leaves with an invented root; returns its path. All of it is read before
/// the root is checked, at a hundred bytes for each leaf: a million take 117 MiB.
fn digest(machine: &ScratchMachine, leaves: u64) -> String {
    let path = machine.file("forged.digest");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    let hash = "0".repeat(64);
    let length = leaves << 16;
    write!(file, r#"{{"mtctl_digest":1,"algorithm":"blake3","of":"sdb","leaf_bytes":65536,"#)
        .unwrap();
    write!(file, r#""length_bytes":{length},"root":"{hash}","check":"{hash}","leaves":["#).unwrap();
    for number in 1..=leaves {
        let end = if number == leaves { "]}" } else { "," };
        write!(file, "\"{number:064x}\"{end}").unwrap();
    }
    file.flush().unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn verbs_that_read_documents_stay_below_128_mib_whatever_is_in_them() {
    on_a_scratch_machine(|machine| {
        let disk = sparse(machine, "disk", SIZE);
        let forged = digest(machine, 500_000);
        let input = "sixty disks";
        assert!(Path::new(HOST).is_file());
        let mut table = vec![
            Row::new(5, "a forged digest", "verify {} --against {}", &[&disk, &forged]),
            Row::new(0, "64 MiB of zeros", "digest --leaf 64K {}", &[&disk]),
        ];
        table.push(Row::new(3, input, "check --recorded {}", &[HOST]));
        table.push(Row::new(0, input, "disks --recorded {}", &[HOST]));
        table.push(Row::new(0, input, "disks --json --recorded {}", &[HOST]));
        all_are_small(machine, &table);
    });
}
