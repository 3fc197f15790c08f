//! VMware's files for a virtual machine: reading its .vmx, its VMDK descriptors and its .vmsd, and
//! turning disk.EnableUUID on. SCSI identities as the guest reads them are elsewhere (`scsi`).
//!
//! [`dictionary`] is the text format, [`encoding`] decodes its bytes; [`vmx`], [`vmdk`] and
//! [`snapshot`] are pure readers of it; [`devices`] and [`identity`] interpret it. [`image`] and
//! [`machine`] read the files around one .vmx, [`survey`] those of several and finds disks that
//! share a UUID, [`fix`] edits. [`ovf`] writes the package of a machine's disks.

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
