//! Builds test VMs from Debian's packages and boots them in QEMU; nothing here ships in the
//! product. The files in `cases` say what is tested in them.

pub mod case;
pub mod hardware;
pub mod image;
pub mod kernel;
pub mod log_writes;
pub mod machine;
pub mod modules;
pub mod monitor;
pub mod packages;
pub mod runner;
pub mod servers;
mod tool;
