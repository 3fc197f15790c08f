//! The verbs, one file each: arguments (what was typed) and `run` (call the library, print).

pub(crate) mod kickstart;
