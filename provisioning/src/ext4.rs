//! What the kernel reports about a mounted ext4: what it does on an error, and how many errors it
//! has seen. `retention` and `check` judge that; docs/adr/0010 says why it matters.

use serde::Serialize;

use crate::host::Host;

/// The mount option that makes an ext4 refuse writes after its first error.
pub(crate) const ERRORS_REMOUNT_RO: &str = "errors=remount-ro";

/// A mounted ext4, as the kernel reports it; anything this kernel does not report is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ext4 {
    /// What it does on an error: `continue`, `remount-ro` or `panic` (ext4(5)).
    pub on_error: Option<String>,
    /// The number of errors since it was last checked (kernel ABI, sysfs-fs-ext4: `errors_count`).
    pub errors: Option<u64>,
}

impl Ext4 {
    /// Reads the state of the ext4 that is mounted from the device with the sysfs name `name`.
    pub fn observe(host: &Host, name: &str) -> Self {
        let machine = host.machine();
        let options = machine.attribute(format!("/proc/fs/ext4/{name}/options"));
        let errors = machine.attribute(format!("/sys/fs/ext4/{name}/errors_count"));
        Self {
            on_error: options.and_then(|options| on_error(&options)),
            errors: errors.and_then(|count| count.parse().ok()),
        }
    }

    /// Whether it is known to continue writing after an error.
    pub fn goes_on(&self) -> bool {
        self.on_error.as_deref() == Some("continue")
    }
}

/// The kernel prints every option there, one a line, including defaults; mountinfo, by contrast,
/// leaves out what the superblock already says.
fn on_error(options: &str) -> Option<String> {
    options.lines().find_map(|line| line.strip_prefix("errors=")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{MemoryTree, RecordedHost};

    #[test]
    fn what_the_kernel_says_is_read_and_what_it_leaves_out_is_unknown() {
        let tree = MemoryTree::new();
        tree.put_text("/proc/fs/ext4/sdb/options", "rw\nbsddf\nerrors=continue\ncommit=5\n");
        tree.put_text("/sys/fs/ext4/sdb/errors_count", "3\n");
        tree.put_text("/proc/fs/ext4/dm-0/options", "rw\nerrors=remount-ro\n");
        let host = Host::recorded(RecordedHost::new("", &tree, Vec::new()));
        let sdb = Ext4::observe(&host, "sdb");
        assert_eq!((sdb.goes_on(), sdb.errors), (true, Some(3)));
        let map = Ext4::observe(&host, "dm-0");
        assert_eq!((map.goes_on(), map.errors), (false, None));
        assert_eq!(Ext4::observe(&host, "sdc"), Ext4::default());
    }
}
