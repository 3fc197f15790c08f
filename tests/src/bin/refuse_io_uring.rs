//! Runs a program for which the kernel refuses io_uring, as a container's seccomp profile does.
//!
//! `refuse_io_uring EPERM|ENOSYS PROGRAM [ARGUMENT…]`. All programs that it starts inherit the
//! refusal.
#![expect(unsafe_code, reason = "a seccomp filter is a list of addresses and numbers")]

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use libc::{c_ulong, sock_filter, sock_fprog};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [errno, program, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: refuse_io_uring EPERM|ENOSYS PROGRAM [ARGUMENT…]");
        return ExitCode::from(2);
    };
    let errno = if errno == "ENOSYS" { libc::ENOSYS } else { libc::EPERM };
    if let Err(error) = refuse(errno) {
        eprintln!("installing the filter: {error}");
        return ExitCode::FAILURE;
    }
    eprintln!("starting {program}: {}", Command::new(program).args(rest).exec());
    ExitCode::FAILURE
}

/// Makes io_uring_setup(2) fail with `errno` from now on.
fn refuse(errno: i32) -> std::io::Result<()> {
    let load_number = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let jump_if_equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let answer = (libc::BPF_RET | libc::BPF_K) as u16;
    let refusal = libc::SECCOMP_RET_ERRNO | errno as u32;
    let number = libc::SYS_io_uring_setup as u32;
    let mut filter = [
        // The system call number is the first field of struct seccomp_data.
        sock_filter { code: load_number, jt: 0, jf: 0, k: 0 },
        sock_filter { code: jump_if_equal, jt: 0, jf: 1, k: number },
        sock_filter { code: answer, jt: 0, jf: 0, k: refusal },
        sock_filter { code: answer, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    let (yes, none): (c_ulong, c_ulong) = (1, 0);
    // SAFETY: takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, yes, none, none, none) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let mode = c_ulong::from(libc::SECCOMP_MODE_FILTER);
    // SAFETY: the kernel copies the program and its filter, which live until the call has returned.
    if unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}
