//! What a SCSI device reports about itself: VPD pages 0x80 and 0x83, and the identity chosen from
//! them. The crate's `host` reads the pages from sysfs and opens devices.

pub mod designator;
pub mod lba_status;
mod recorded;
pub mod sg_io;
pub mod vpd;
pub mod world_wide_name;
pub mod wwid;

pub(crate) use sg_io::{get_lba_status, inquire_vpd};
pub use vpd::{VpdPage80, VpdPage83};
pub use wwid::Wwid;
