//! The end of a kickstart file: /etc/hosts, root's key, the mtctl program, and the unit that runs
//! `mtctl prepare` once. The work of prepare is not here, and nothing here writes to a disk.

use super::Request;
use super::origin::MtctlBinary;

/// Where the unit expects the program.
const PROGRAM: &str = "/usr/local/bin/mtctl";
/// Exists once the first-boot unit need not run again.
const DONE: &str = "/var/lib/mtctl/first-boot-done";

pub(super) fn render(request: &Request) -> String {
    let account = account_script(request);
    if !request.release.runs_mtctl() {
        return format!("{account}\n{BY_HAND}");
    }
    let program = match &request.mtctl {
        Some(binary) => fetch_script(binary),
        None => COPY_SCRIPT.to_owned(),
    };
    format!("{account}\n{program}\n{}", unit_script(request))
}

/// Quotes `text` as one word of the shell, whatever its contents.
pub(super) fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn account_script(request: &Request) -> String {
    let hosts_line =
        format!("{} {}", request.network.addressing.address(), request.hostname.with_alias());
    let mut text = format!(
        "\
%post --erroronfail --log=/root/mtctl-kickstart-post.log
set -eu
# The host's own name, with its address.
printf '%s\\n' {} >> /etc/hosts
",
        shell_word(&hosts_line)
    );
    if let Some(key) = &request.ssh_key {
        if !request.release.has_sshkey_command() {
            text.push_str(&key_script(key.line()));
        }
    }
    text.push_str("%end\n");
    text
}

fn key_script(line: &str) -> String {
    format!(
        "\
mkdir -p /root/.ssh
chmod 0700 /root/.ssh
printf '%s\\n' {} >> /root/.ssh/authorized_keys
chmod 0600 /root/.ssh/authorized_keys
restorecon -R /root/.ssh || :
",
        shell_word(line)
    )
}

fn fetch_script(binary: &MtctlBinary) -> String {
    format!(
        "\
# The mtctl program, kept only if its checksum is right. If this fails the installation goes on, and
# mtctl-first-boot.service fails: systemctl --failed shows it.
%post --log=/root/mtctl-kickstart-program.log
set -eu
new={PROGRAM}.new
trap 'rm -f \"$new\"' EXIT
curl --fail --silent --show-error --location --connect-timeout 30 --retry 5 \\
    --output \"$new\" {url}
sha256={sha256}
printf '%s  %s\\n' \"$sha256\" \"$new\" | sha256sum --check -
chmod 0755 \"$new\"
mv \"$new\" {PROGRAM}
restorecon {PROGRAM} || :
%end
",
        url = shell_word(binary.url.as_str()),
        sha256 = shell_word(&binary.sha256)
    )
}

const COPY_SCRIPT: &str = "\
# The mtctl program, if somebody put it at the top of the installation medium. If not, nothing is
# copied, and mtctl-first-boot.service fails: systemctl --failed shows it.
%post --nochroot --log=/mnt/sysimage/root/mtctl-kickstart-program.log
set -eu
for program in /run/install/repo/mtctl /run/install/sources/*/mtctl; do
    if [ -f \"$program\" ]; then
        mkdir -p /mnt/sysimage/usr/local/bin
        cp \"$program\" /mnt/sysimage/usr/local/bin/mtctl
        chmod 0755 /mnt/sysimage/usr/local/bin/mtctl
        chroot /mnt/sysimage restorecon /usr/local/bin/mtctl || :
        exit 0
    fi
done
echo 'no mtctl on the installation medium: copy it to /usr/local/bin/mtctl, then run mtctl prepare'
%end
";

/// With a named retention disk, a retry at a later boot can only ever take that disk. Without one,
/// prepare is tried at the first boot only: later, the one blank disk may be a customer's.
fn unit_script(request: &Request) -> String {
    let (when, command) = match &request.retention_disk {
        Some(disk) => (
            "\
# mtctl prepare, at the first boot and at every boot until it has succeeded once.
",
            format!(
                "\
ExecStart={PROGRAM} prepare --yes --retention-disk {}
ExecStartPost=/usr/bin/touch {DONE}
",
                disk.in_kickstart()
            ),
        ),
        None => (
            "\
# mtctl prepare, once, at the first boot. It takes a retention disk only if exactly one blank disk
# is attached at that time; if it fails, run mtctl prepare by hand.
",
            format!(
                "\
ExecStartPre=/usr/bin/touch {DONE}
ExecStart={PROGRAM} prepare --yes
"
            ),
        ),
    };
    format!(
        "\
{when}# It alone makes the retention volume, by its own rules. To see what it did:
# journalctl -u mtctl-first-boot
%post --erroronfail --log=/root/mtctl-kickstart-unit.log
set -eu
mkdir -p /var/lib/mtctl
cat > /etc/systemd/system/mtctl-first-boot.service <<'UNIT'
[Unit]
Description=Make this host a master target (mtctl prepare)
ConditionPathExists=!{DONE}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
{command}StandardOutput=journal+console

[Install]
WantedBy=multi-user.target
UNIT
systemctl enable mtctl-first-boot.service
restorecon -R /etc/systemd/system/mtctl-first-boot.service /var/lib/mtctl || :
%end
"
    )
}

const BY_HAND: &str = "\
# Nothing of mtctl runs on release 6: its kernel is 2.6.32, and mtctl needs 3.2 or later.
# After the installation, on a newer host where mtctl runs:
#   1. power this VM off, and attach its root disk and its retention disk to the newer host;
#   2. mount its / there:          mount /dev/disk/by-id/ROOT-DISK-partN /mnt/image
#   3. see what would be done:     mtctl prepare --root /mnt/image \\
#                                      --retention-disk /dev/disk/by-id/RETENTION-DISK --dry-run
#   4. do it:                      the same with --yes instead of --dry-run
#   5. umount /mnt/image, give both disks back to this VM, and start it.
";
