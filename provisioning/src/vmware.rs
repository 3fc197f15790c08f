//! VMware's files around a virtual machine: what its .vmx, its VMDK descriptors and its .vmsd say,
//! and turning disk.EnableUUID on. SCSI identities as the guest reads them are not here (`scsi`).
//!
//! [`dictionary`] is the text format, [`encoding`] what its bytes say; [`vmx`], [`vmdk`] and
//! [`snapshot`] are pure readers of it; [`devices`] and [`identity`] give it meaning. [`image`] and
//! [`machine`] read the files around one .vmx, [`survey`] those of several and which disks share a
//! UUID, [`fix`] edits. [`ovf`] writes the package of a machine's disks.

pub mod devices;
pub mod dictionary;
pub mod encoding;
pub mod fix;
pub mod identity;
pub mod image;
pub mod machine;
pub mod ovf;
pub mod snapshot;
pub mod survey;
pub mod vmdk;
pub mod vmx;
