//! Every kickstart that this program prints, checked by the real validator of its release, and its
//! scripts run by the real shell. The contents of the files are tested beside the code that writes
//! them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use provisioning::kickstart::{Answers, Release, Request, render};

const HASH: &str = "$6$saltsalt$8RWsOfwR6M6PpnoeQiEiWzNTPo1f0HjVYjDnLZhGx16aBFRkeqiHAzfXP/\
                    LgrOWMBMXqiU2pLrXsSOHNUyUm91";
/// The hash of the four bytes `test`.
const SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const DISK: &str = "/dev/disk/by-id/wwn-0x6000c29a1b2c3d4e5f60718293a4b5c6";
const RETENTION: &str = "/dev/disk/by-id/wwn-0x6000c29ffffffffffffffffffffffff0";

/// A well-formed RSA key of 2048 bits whose private half nobody has.
fn rsa_key() -> String {
    let start = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDa";
    format!("{start}{} operator@example.org", "Wlpa".repeat(85))
}

fn ksvalidator() -> anyhow::Result<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([beside])
        .map(|folder| folder.join("ksvalidator"))
        .find(|program| program.is_file())
        .context("ksvalidator is neither in PATH nor in target/venv/bin: run `make setup`")
}

fn validate(release: Release, files: &[PathBuf]) -> anyhow::Result<Output> {
    let program = ksvalidator()?;
    Command::new(&program)
        .arg("-v")
        .arg(format!("RHEL{release}"))
        .args(files)
        .output()
        .with_context(|| format!("running {}", program.display()))
}

fn base(release: Release) -> Answers {
    Answers {
        release: release.to_string(),
        hostname: "mt1.example.org".into(),
        disk: DISK.into(),
        address: "192.0.2.10/24".into(),
        gateway: "192.0.2.1".into(),
        dns: vec!["192.0.2.53".into(), "198.51.100.53".into()],
        timezone: "Europe/Berlin".into(),
        root_password_hash: Some(HASH.into()),
        ..Answers::default()
    }
}

/// (hash | key | both) x (IPv4 | IPv6), and each value of the other options once.
fn variants(release: Release) -> Vec<(String, Answers)> {
    let mut variants = logins(release);
    variants.push((
        "names".into(),
        Answers {
            disk: "sda".into(),
            interface: Some("eth0".into()),
            install_from: Some("http://mirror.example.org/os/x86_64/?a=b&c=%20".into()),
            ..base(release)
        },
    ));
    if release.runs_mtctl() {
        variants.push((
            "first-boot".into(),
            Answers {
                interface: Some("00:50:56:ab:cd:ef".into()),
                retention_disk: Some(RETENTION.into()),
                mtctl_url: Some("https://mirror.example.org/mtctl".into()),
                mtctl_sha256: Some(SHA256.into()),
                ..base(release)
            },
        ));
    }
    variants
}

fn logins(release: Release) -> Vec<(String, Answers)> {
    let mut variants = Vec::new();
    for (login, hash, key) in [
        ("hash", Some(HASH), None),
        ("key", None, Some(rsa_key())),
        ("both", Some(HASH), Some(rsa_key())),
    ] {
        let v4 =
            Answers { root_password_hash: hash.map(Into::into), ssh_key: key, ..base(release) };
        let v6 = Answers {
            address: "2001:db8:0:1::10/64".into(),
            gateway: "2001:db8:0:1::1".into(),
            dns: vec!["2001:db8::53".into()],
            ..v4.clone()
        };
        variants.push((format!("{login}-ipv4"), v4));
        variants.push((format!("{login}-ipv6"), v6));
    }
    variants
}

fn text(answers: &Answers) -> anyhow::Result<String> {
    Ok(render(&Request::from_answers(answers)?))
}

fn write_variants(release: Release, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    variants(release)
        .into_iter()
        .map(|(name, answers)| {
            let path = folder.join(format!("rhel{release}-{name}.ks"));
            std::fs::write(&path, text(&answers)?)?;
            Ok(path)
        })
        .collect()
}

#[test]
fn the_real_validator_accepts_every_kickstart_for_its_release() -> anyhow::Result<()> {
    for release in Release::ALL {
        let folder = tempfile::tempdir()?;
        let files = write_variants(release, folder.path())?;
        let output = validate(release, &files)?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "release {release}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for file in &files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            ensure!(said.contains(&*name), "{name} was not read: {said}");
        }
    }
    Ok(())
}

/// Proves that the check above can fail.
#[test]
fn the_real_validator_refuses_a_kickstart_of_another_release() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for (written, read) in [
        (Release::El6, Release::El10),
        (Release::El7, Release::El9),
        (Release::El8, Release::El7),
        (Release::El9, Release::El6),
    ] {
        let answers = Answers { ssh_key: Some(rsa_key()), ..base(written) };
        let path = folder.path().join("other.ks");
        std::fs::write(&path, text(&answers)?)?;
        let output = validate(read, &[path])?;
        ensure!(!output.status.success(), "{written} passed as {read}");
    }
    Ok(())
}

/// The scripts of the %post sections.
fn scripts(kickstart: &str) -> Vec<String> {
    kickstart
        .split("\n%post")
        .skip(1)
        .filter_map(|section| section.split_once('\n')?.1.split("\n%end").next())
        .map(|script| format!("{script}\n"))
        .collect()
}

#[test]
fn the_shell_can_read_every_script() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("post.sh");
    for release in Release::ALL {
        for (name, answers) in variants(release) {
            let scripts = scripts(&text(&answers)?);
            ensure!(!scripts.is_empty(), "{release} {name} has no script");
            for script in scripts {
                std::fs::write(&path, &script)?;
                let output = Command::new("sh").arg("-n").arg(&path).output()?;
                ensure!(
                    output.status.success(),
                    "{release} {name}: {}\n{script}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
    }
    Ok(())
}

/// Runs a script with its absolute paths moved below `root`; it is not run unless all of them are
/// moved, because the test may run as root.
fn run_below(root: &Path, script: &str) -> anyhow::Result<Output> {
    const FOLDERS: [&str; 6] = ["/etc/", "/root/", "/usr/", "/var/", "/mnt/", "/run/"];
    let prefix = root.to_str().context("the folder's name is text")?;
    let mut moved = script.to_owned();
    for folder in FOLDERS {
        for before in [" ", "="] {
            let below = format!("{before}{prefix}{folder}");
            moved = moved.replace(&format!("{before}{folder}"), &below);
        }
    }
    let left = moved.replace(&format!("{prefix}/"), "");
    for folder in FOLDERS {
        // Within a moved path (mnt/sysimage/usr/) it is not absolute.
        let absolute = left.replace(&format!("mnt/sysimage{folder}"), "");
        ensure!(!absolute.contains(folder), "{folder} was not moved: {left}");
    }
    let quiet = "restorecon() { :; }\nchroot() { :; }\nsystemctl() { :; }\n";
    Ok(Command::new("sh").arg("-c").arg(format!("{quiet}{moved}")).output()?)
}

fn new_root() -> anyhow::Result<tempfile::TempDir> {
    let root = tempfile::tempdir()?;
    for folder in ["etc/systemd/system", "root", "usr/local/bin", "var/lib"] {
        std::fs::create_dir_all(root.path().join(folder))?;
    }
    Ok(root)
}

#[test]
fn the_account_script_writes_the_hosts_file_and_the_key() -> anyhow::Result<()> {
    let answers = Answers { ssh_key: Some(rsa_key()), ..base(Release::El7) };
    let root = new_root()?;
    let scripts = scripts(&text(&answers)?);
    let output = run_below(root.path(), &scripts[0])?;
    ensure!(output.status.success(), "{output:?}");
    let hosts = std::fs::read_to_string(root.path().join("etc/hosts"))?;
    assert_eq!(hosts, "192.0.2.10 mt1.example.org mt1\n");
    let keys = std::fs::read_to_string(root.path().join("root/.ssh/authorized_keys"))?;
    assert_eq!(keys, format!("{}\n", rsa_key()));
    Ok(())
}

#[test]
fn the_program_is_copied_from_the_medium_that_has_it() -> anyhow::Result<()> {
    for medium in ["run/install/repo", "run/install/sources/mount-0000-cdrom"] {
        let root = new_root()?;
        std::fs::create_dir_all(root.path().join(medium))?;
        std::fs::create_dir_all(root.path().join("mnt/sysimage"))?;
        let scripts = scripts(&text(&base(Release::El9))?);
        let output = run_below(root.path(), &scripts[1])?;
        ensure!(output.status.success(), "no program: {output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(said.contains("no mtctl on the installation medium"), "{said}");
        std::fs::write(root.path().join(medium).join("mtctl"), "a program")?;
        let output = run_below(root.path(), &scripts[1])?;
        ensure!(output.status.success(), "{output:?}");
        let copied = root.path().join("mnt/sysimage/usr/local/bin/mtctl");
        assert_eq!(std::fs::read_to_string(copied)?, "a program");
    }
    Ok(())
}

#[test]
fn a_fetched_program_is_kept_only_if_its_checksum_is_right() -> anyhow::Result<()> {
    let curl = "curl() { while [ \"$1\" != --output ]; do shift; done; printf test > \"$2\"; }\n";
    let wrong = SHA256.replace('9', "8");
    for (sha256, kept) in [(SHA256, true), (&wrong, false)] {
        let answers = Answers {
            mtctl_url: Some("https://mirror.example.org/mtctl".into()),
            mtctl_sha256: Some(sha256.into()),
            ..base(Release::El9)
        };
        let root = new_root()?;
        let script = format!("{curl}{}", scripts(&text(&answers)?)[1]);
        let output = run_below(root.path(), &script)?;
        assert_eq!(output.status.success(), kept, "{output:?}");
        let left = std::fs::read_dir(root.path().join("usr/local/bin"))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let expected: &[&str] = if kept { &["mtctl"] } else { &[] };
        assert_eq!(left, expected);
    }
    Ok(())
}
