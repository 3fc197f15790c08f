//! The table of a machine's controllers and disks, for people.

use comfy_table::{ContentArrangement, Table, presets};
use system::size;

use super::{Report, printable};

/// One less than a line may have, because the caller indents.
const WIDTH_COLUMNS: u16 = 99;

/// One row for each disk, and one for each controller without disks; at most [`WIDTH_COLUMNS`]
/// wide.
pub(super) fn of(report: &Report<'_>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH_COLUMNS);
    table.set_header(["SLOT", "CONTROLLER", "SIZE", "UUID", "THIS HOST", "FILE"]);
    for controller in &report.controllers {
        let slots = format!("{}:", controller.name);
        let disks = report.disks.iter().filter(|disk| disk.slot.starts_with(&slots));
        let mut is_empty = true;
        for disk in disks {
            is_empty = false;
            table.add_row([
                disk.slot.to_owned(),
                printable(controller.kind),
                disk.size_bytes.map_or("-".to_owned(), size::binary),
                disk.uuid.unwrap_or(if disk.uuid_unknown { "unknown" } else { "-" }).to_owned(),
                disk.wwid_matches.clone().unwrap_or("-".to_owned()),
                printable(disk.file),
            ]);
        }
        if is_empty {
            table.add_row([
                &controller.name,
                &printable(controller.kind),
                "-",
                "-",
                "-",
                "no disk",
            ]);
        }
    }
    table
}
