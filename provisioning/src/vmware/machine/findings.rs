//! Problems of one virtual machine, and other things worth knowing: a sentence, and what to do
//! about it.

use std::path::Path;

use super::described::Machine;
use crate::finding::Finding;
use crate::vmware::vmx::{ENABLE_UUID, EnableUuid};

/// The findings about `machine` that do not come from the files of its disks or its .vmsd.
pub(super) fn of(machine: &Machine) -> Vec<Finding> {
    let mut findings: Vec<Finding> = enable_uuid(machine).into_iter().collect();
    for duplicate in &machine.duplicate_keys {
        let lines: Vec<String> = duplicate.lines.iter().map(usize::to_string).collect();
        let lines = lines.join(", ");
        let message = format!("set on lines {lines}: VMware refuses to start the machine");
        let hint = match duplicate.key.eq_ignore_ascii_case(ENABLE_UUID) {
            true => fix_command(&machine.path),
            false => {
                format!("with the VM off, keep one of these lines of {}", machine.path.display())
            }
        };
        findings.push(Finding::fail("duplicate-key", &duplicate.key, message).hint(hint));
    }
    if let Some(file) = &machine.suspended_to {
        let message = format!("the VM is suspended to {file}: its settings cannot be edited");
        let hint = "resume it and shut it down".to_owned();
        findings.push(Finding::warn("suspended", file, message).hint(hint));
    }
    for name in &machine.snapshots {
        let message = "there is a snapshot: a master target must have none".to_owned();
        let hint = "delete it in VMware's snapshot manager, or consolidate the disks".to_owned();
        findings.push(Finding::warn("snapshot", name, message).hint(hint));
    }
    if machine.needs_consolidation {
        let name = machine.path.file_stem().unwrap_or_default();
        let subject = system::lossless_text::of_path(name.as_ref());
        let message =
            "VMware could not merge deleted snapshots: writes still go to difference disks";
        let hint = "consolidate the disks in VMware's snapshot manager".to_owned();
        findings.push(Finding::warn("consolidate", &subject, message).hint(hint));
    }
    findings
}

fn enable_uuid(machine: &Machine) -> Option<Finding> {
    let (message, id) = match &machine.enable_uuid {
        EnableUuid::On => return None,
        EnableUuid::Absent if machine.is_encrypted => {
            let message = "the settings are encrypted, so its value cannot be read here";
            (message.to_owned(), "encrypted")
        }
        EnableUuid::Absent => ("it is not set, which means off".to_owned(), "enable-uuid"),
        EnableUuid::Off(value) => (format!("it is off: its value is \"{value}\""), "enable-uuid"),
    };
    let hint = match (machine.is_encrypted, machine.is_running()) {
        (true, _) => "set disk.EnableUUID to TRUE in the VM's configuration parameters".to_owned(),
        (false, true) => format!("shut the VM down, then: {}", fix_command(&machine.path)),
        (false, false) => fix_command(&machine.path),
    };
    Some(Finding::fail(id, ENABLE_UUID, message).hint(hint))
}

fn fix_command(path: &Path) -> String {
    format!("mtctl vmx --fix {}", shell_word(path))
}

/// Quotes `path` as one word of a POSIX shell.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_hint_can_be_copied_into_a_shell() {
        assert_eq!(shell_word(Path::new("/vm/mt-1.vmx")), "/vm/mt-1.vmx");
        assert_eq!(shell_word(Path::new("/vm/it's $1.vmx")), "'/vm/it'\\''s $1.vmx'");
    }
}
