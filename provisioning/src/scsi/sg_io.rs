//! Asks a SCSI device for a VPD page or for its provisioned blocks through the SG_IO ioctl. `vpd`
//! and `lba_status` decode the answers. The caller opens the device; nothing here opens anything.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `SG_IO` of <scsi/sg.h>.
const SG_IO: libc::Ioctl = 0x2285;
/// `SG_DXFER_FROM_DEV` of <scsi/sg.h>.
const FROM_DEVICE: libc::c_int = -3;
/// Operation code of INQUIRY (SPC-5 6.7).
const INQUIRY: u8 = 0x12;
/// The bit of INQUIRY that asks for a VPD page.
const ENABLE_VPD: u8 = 1;
/// Operation code and service action of GET LBA STATUS (SBC-4 5.6).
const GET_LBA_STATUS: [u8; 2] = [0x9e, 0x12];
/// Allocation length for GET LBA STATUS: room for 255 descriptors.
const LBA_STATUS_LEN: u16 = 8 + 255 * 16;
/// How long a device may take. For a path that is gone, the kernel answers much earlier.
const TIMEOUT_MS: libc::c_uint = 10_000;
/// Length of the first request: the largest that fits the one-byte length of SCSI-2, word aligned.
/// Some old devices do not tolerate more.
const FIRST_LEN: u16 = 252;
const SENSE_LEN: u8 = 32;
const HEADER_LEN: usize = 4;

/// `sg_io_hdr_t` of <scsi/sg.h>, interface version 3.
#[repr(C)]
struct Request {
    interface_id: libc::c_int,
    transfer_direction: libc::c_int,
    command_len: libc::c_uchar,
    sense_len_max: libc::c_uchar,
    iovec_count: libc::c_ushort,
    transfer_len: libc::c_uint,
    transfer: *mut libc::c_void,
    command: *mut libc::c_uchar,
    sense: *mut libc::c_uchar,
    timeout_ms: libc::c_uint,
    flags: libc::c_uint,
    pack_id: libc::c_int,
    user: *mut libc::c_void,
    status: libc::c_uchar,
    masked_status: libc::c_uchar,
    message_status: libc::c_uchar,
    sense_len: libc::c_uchar,
    host_status: libc::c_ushort,
    driver_status: libc::c_ushort,
    residual: libc::c_int,
    duration_ms: libc::c_uint,
    info: libc::c_uint,
}

/// What the kernel reports about a command that it has carried out.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    status: u8,
    host_status: u16,
    driver_status: u16,
    /// Number of bytes of the buffer that were not filled.
    residual: i32,
}

/// Reads the VPD page `page` of the SCSI device open at `device`. Returns exactly the page,
/// including its header, without anything the device sent after it.
///
/// Requires a device opened for reading; the kernel permits INQUIRY without privileges. The content
/// of the page is not examined: [`super::VpdPage83::parse`] does that.
///
/// # Errors
///
/// Returns the kernel's error if the device does not support SG_IO (`ENOTTY`, `EINVAL`) or is gone;
/// [`io::ErrorKind::Other`] with the statuses if the command failed, which is how a device reports
/// that it has no such page; [`io::ErrorKind::InvalidData`] if it sent another page, or less than
/// it announced.
pub(crate) fn inquire_vpd(device: BorrowedFd<'_>, page: u8) -> io::Result<Vec<u8>> {
    let bytes = inquire(device, page, FIRST_LEN)?;
    let page_len = page_len(page, &bytes)?;
    if page_len <= usize::from(FIRST_LEN) {
        return exactly(page_len, bytes);
    }
    let whole_len = u16::try_from(page_len).unwrap_or(u16::MAX);
    exactly(page_len, inquire(device, page, whole_len)?)
}

/// The length of a page, from the header in its first bytes.
fn page_len(page: u8, bytes: &[u8]) -> io::Result<usize> {
    match bytes.first_chunk::<HEADER_LEN>() {
        Some(&[_, found, high, low]) if found == page => {
            Ok(HEADER_LEN + usize::from(u16::from_be_bytes([high, low])))
        }
        Some(&[_, found, ..]) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("requested VPD page {page:#04x}, got {found:#04x}"),
        )),
        None => Err(short(HEADER_LEN, bytes.len())),
    }
}

fn exactly(page_len: usize, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    if bytes.len() < page_len {
        return Err(short(page_len, bytes.len()));
    }
    bytes.truncate(page_len);
    Ok(bytes)
}

fn short(expected: usize, found: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the device sent {found} of the {expected} bytes of a VPD page"),
    )
}

/// Returns the parameter data of GET LBA STATUS, starting with the block `first`, of the SCSI
/// device open at `device`. The data is not examined: [`super::lba_status`] does that.
///
/// # Errors
///
/// As for [`inquire_vpd`]; a device that does not support the command fails it.
pub(crate) fn get_lba_status(device: BorrowedFd<'_>, first: u64) -> io::Result<Vec<u8>> {
    let mut command = [0; 16];
    command[..2].copy_from_slice(&GET_LBA_STATUS);
    command[2..10].copy_from_slice(&first.to_be_bytes());
    command[10..14].copy_from_slice(&u32::from(LBA_STATUS_LEN).to_be_bytes());
    let mut bytes = vec![0; usize::from(LBA_STATUS_LEN)];
    let outcome = read_command(device, command, LBA_STATUS_LEN, &mut bytes)?;
    bytes.truncate(transferred("GET LBA STATUS", outcome, LBA_STATUS_LEN)?);
    Ok(bytes)
}

/// Sends one INQUIRY for at most `allocation_len` bytes of a VPD page and returns what was
/// transferred.
fn inquire(device: BorrowedFd<'_>, page: u8, allocation_len: u16) -> io::Result<Vec<u8>> {
    let [high, low] = allocation_len.to_be_bytes();
    let command = [INQUIRY, ENABLE_VPD, page, high, low, 0];
    let mut bytes = vec![0; usize::from(allocation_len)];
    let outcome = read_command(device, command, allocation_len, &mut bytes)?;
    bytes.truncate(transferred("INQUIRY", outcome, allocation_len)?);
    Ok(bytes)
}

/// How much of the buffer was filled, if the command succeeded at every level.
fn transferred(name: &str, outcome: Outcome, asked: u16) -> io::Result<usize> {
    let Outcome { status, host_status, driver_status, residual } = outcome;
    if status != 0 || host_status != 0 || driver_status != 0 {
        return Err(io::Error::other(format!(
            "{name} failed with SCSI status {status:#04x}, host status {host_status:#04x}, \
             driver status {driver_status:#04x}"
        )));
    }
    let missing = usize::try_from(residual).unwrap_or(0);
    Ok(usize::from(asked).saturating_sub(missing))
}

/// Carries out a command that reads into a buffer of exactly `len` bytes.
fn read_command<const COMMAND_LEN: usize>(
    device: BorrowedFd<'_>,
    mut command: [u8; COMMAND_LEN],
    len: u16,
    bytes: &mut [u8],
) -> io::Result<Outcome> {
    assert_eq!(bytes.len(), usize::from(len), "invariant: the buffer is as long as is said");
    let mut sense = [0; SENSE_LEN as usize];
    let mut request = Request {
        interface_id: libc::c_int::from(b'S'),
        transfer_direction: FROM_DEVICE,
        command_len: u8::try_from(COMMAND_LEN).expect("invariant: commands are short"),
        sense_len_max: SENSE_LEN,
        iovec_count: 0,
        transfer_len: libc::c_uint::from(len),
        transfer: bytes.as_mut_ptr().cast(),
        command: command.as_mut_ptr(),
        sense: sense.as_mut_ptr(),
        timeout_ms: TIMEOUT_MS,
        flags: 0,
        pack_id: 0,
        user: std::ptr::null_mut(),
        status: 0,
        masked_status: 0,
        message_status: 0,
        sense_len: 0,
        host_status: 0,
        driver_status: 0,
        residual: 0,
        duration_ms: 0,
        info: 0,
    };
    // SAFETY: `device` is an open descriptor for the duration of the call. `request` has the layout
    // of sg_io_hdr_t, and its three pointers point to `bytes`, `command` and `sense`, which outlive
    // the call, are not borrowed elsewhere meanwhile, and have the lengths given beside them. The
    // call is synchronous: the kernel keeps none of the pointers. A descriptor that is not a SCSI
    // device refuses this request number without writing anything.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), SG_IO, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Outcome {
        status: request.status,
        host_status: request.host_status,
        driver_status: request.driver_status,
        residual: request.residual,
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    const GOOD: Outcome = Outcome { status: 0, host_status: 0, driver_status: 0, residual: 0 };

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_request_has_the_layout_of_the_kernels_header_on_64_bit() {
        assert_eq!(size_of::<Request>(), 88);
        assert_eq!(std::mem::offset_of!(Request, transfer), 16);
        assert_eq!(std::mem::offset_of!(Request, status), 64);
        assert_eq!(std::mem::offset_of!(Request, residual), 72);
    }

    #[test]
    fn a_descriptor_that_is_no_scsi_device_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        let (socket, _other) = UnixStream::pair().unwrap();
        for device in [file.as_fd(), socket.as_fd()] {
            let error = inquire_vpd(device, 0x83).unwrap_err();
            assert!(error.raw_os_error().is_some(), "{error}");
        }
    }

    #[test]
    fn a_status_at_any_level_is_an_error() {
        let bad = [
            Outcome { status: 2, ..GOOD },
            Outcome { host_status: 1, ..GOOD },
            Outcome { driver_status: 8, ..GOOD },
        ];
        for outcome in bad {
            let error = transferred("INQUIRY", outcome, 252).unwrap_err();
            assert!(error.to_string().starts_with("INQUIRY failed"), "{error}");
        }
    }

    #[test]
    fn the_residual_is_taken_off_and_never_more_than_was_asked() {
        let filled = |residual| transferred("INQUIRY", Outcome { residual, ..GOOD }, 252).unwrap();
        assert_eq!(filled(0), 252);
        assert_eq!(filled(200), 52);
        assert_eq!(filled(300), 0);
        assert_eq!(filled(-4), 252);
    }

    #[test]
    fn the_length_comes_from_the_header_of_the_page_asked_for() {
        assert_eq!(page_len(0x83, &[0, 0x83, 1, 2]).unwrap(), 4 + 0x102);
        assert_eq!(page_len(0x83, &[0, 0x83, 0xff, 0xff]).unwrap(), 65_539);
        for bytes in [&[0, 0x80, 0, 8][..], &[0, 0x83, 0][..], &[][..]] {
            let error = page_len(0x83, bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn what_follows_the_page_is_cut_off_and_a_shorter_page_is_an_error() {
        assert_eq!(exactly(5, vec![0; 252]).unwrap().len(), 5);
        assert!(exactly(5, vec![0; 4]).is_err());
    }
}
