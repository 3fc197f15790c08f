//! The verbs, one file each: arguments (what was typed) and `run` (calls the library and prints).

pub(crate) mod apply;
pub(crate) mod certificate;
pub(crate) mod check;
pub(crate) mod commit;
pub(crate) mod digest;
pub(crate) mod disks;
pub(crate) mod export;
pub(crate) mod group;
pub(crate) mod history;
pub(crate) mod journal;
pub(crate) mod kickstart;
pub(crate) mod points;
pub(crate) mod prepare;
pub(crate) mod recover;
pub(crate) mod restore;
pub(crate) mod rollback;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod stream;
pub(crate) mod verify;
pub(crate) mod vmx;
