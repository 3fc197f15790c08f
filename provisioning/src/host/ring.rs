//! Whether the kernel lets this process use io_uring.

/// Whether this kernel lets this process set up an io_uring.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RingProbe {
    /// A ring was set up.
    Available,
    /// Setting one up failed with this errno (1 EPERM: forbidden; 38 ENOSYS: not supported).
    Refused(i32),
    /// Not tried: the host is recorded or an image.
    Unknown,
}

impl RingProbe {
    /// Sets up a small ring and takes it down again.
    pub(super) fn of_this_kernel() -> Self {
        match io_uring::IoUring::new(2) {
            Ok(_ring) => Self::Available,
            Err(error) => Self::Refused(error.raw_os_error().unwrap_or(0)),
        }
    }
}
