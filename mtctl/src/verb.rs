//! The verbs, one file each: arguments (what was typed) and `run` (call the library, print).

pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod disks;
pub(crate) mod kickstart;
pub(crate) mod prepare;
pub(crate) mod vmx;
