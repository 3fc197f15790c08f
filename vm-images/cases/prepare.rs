//! `mtctl prepare` on a machine with systemd, dnf and an RPM database, after its first boot.

use std::collections::BTreeSet;

use anyhow::Result;
use vm_images::case::{Case, Lab};
use vm_images::hardware::{Backing, Controller, Disk, Hardware, Identity, vmware_uuid};
use vm_images::image::Kind;
use vm_images::machine::Machine;
use vm_images::runner::SHORT;
use vm_images::servers::ScsiTarget;

const fn case(name: &'static str, story: fn(&mut Lab) -> Result<()>) -> Case {
    Case { name, image: Kind::CentosLike, limit: SHORT, story }
}

pub(crate) const CASES: &[Case] = &[
    case("prepare::a_blank_disk_is_the_retention_volume_after_a_reboot_too", first_boot),
    case("prepare::an_image_that_is_mounted_is_prepared_and_the_host_is_not", image),
    case("prepare::a_volume_that_a_boot_refuses_is_checked_and_then_mounted", refused_at_boot),
    Case {
        limit: std::time::Duration::from_secs(900),
        ..case("prepare::a_volume_is_mounted_after_a_reboot_whatever_it_keeps", kept)
    },
    case("prepare::killed_in_every_step_and_without_packages_it_converges", killed),
];

/// The packages that must be there in the end; the repository has more.
const INSTALLED: &str = "rpm -q xfsprogs lsscsi rsync wget perl mdadm lvm2 kexec-tools";

fn with_retention(lab: &Lab, target: &mut ScsiTarget) -> Result<Hardware> {
    let mut hardware = Hardware::default();
    hardware.disks.push(lab.vmware_disk(target, "retention", 0, 64)?);
    Ok(hardware)
}

fn prepare() -> String {
    format!("mtctl prepare --yes --retention-disk naa.{}", vmware_uuid("retention"))
}

fn nothing_more_to_do(machine: &mut Machine) -> Result<()> {
    // Because of nofail nothing waits for it, and the agent is there before it is mounted.
    let mounted = "for _ in $(seq 300); do findmnt /mnt/retention && exit; sleep 0.1; done; \
                   ls -la /mnt/retention; systemctl --no-pager status mnt-retention.mount; exit 1";
    machine.must(mounted)?;
    machine.run(&prepare())?.exits(0).says("0 changed");
    machine.must(INSTALLED)?;
    machine.must("findmnt /mnt/retention").map(drop)
}

fn first_boot(lab: &mut Lab) -> Result<()> {
    let mut target = ScsiTarget::start()?;
    let hardware = with_retention(lab, &mut target)?;
    let mut machine = lab.boot(&hardware)?;
    machine.run(&prepare())?.exits(0);
    machine.must(INSTALLED)?;
    machine.must("grep -q regenerate-all /var/log/dracut-calls")?;
    machine.shut_down()?;

    let mut machine = lab.boot(&hardware)?;
    nothing_more_to_do(&mut machine)?;
    machine.shut_down()?;

    let mut machine = lab.boot(&Hardware::default())?;
    lab.tally.faults += 1;
    machine.run("findmnt /mnt/retention")?.exits(1);
    machine.run("mtctl check")?.exits(3).says("FAIL retention");
    machine.shut_down()
}

/// The device takes nothing while the kernel writes back, as in `retention`, and the machine is
/// shut down in order: only the journal has the file, and whoever mounts the volume drops it.
fn refused_at_boot(lab: &mut Lab) -> Result<()> {
    let mut target = ScsiTarget::start()?;
    let hardware = with_retention(lab, &mut target)?;
    let mut machine = lab.boot(&hardware)?;
    let prepare = format!("{} --only retention", prepare());
    machine.run(&prepare)?.exits(0);
    machine.must(
        "set -e; sysctl -qw vm.dirty_expire_centisecs=60000
         disk=$(findmnt -n -o SOURCE /mnt/retention); umount /mnt/retention
         linear=\"0 $(blockdev --getsz $disk) linear $disk 0\"
         table() {
             dmsetup suspend --noflush --nolockfs way; dmsetup load way --table \"$1\"
             dmsetup resume way
         }
         dmsetup create way --table \"$linear\"
         alone=no_prefetch_block_bitmaps,noinit_itable
         mount -o errors=remount-ro,$alone /dev/mapper/way /mnt/retention
         cd /mnt/retention; mkdir d; echo kept >d/file; sync d/file d .; cd /
         table \"0 $(blockdev --getsz $disk) error\"; ! sync /dev/mapper/way; table \"$linear\"
         umount /mnt/retention",
    )?;
    lab.tally.faults += 1;
    machine.shut_down()?;

    let mut machine = lab.boot(&hardware)?;
    machine.wait_until("systemctl is-failed -q 'systemd-fsck@*'")?;
    machine.run("mtctl check")?.exits(3).says("FAIL retention");
    machine
        .run(&prepare)?
        .exits(1)
        .says("fsck.ext4 -y /dev/sd")
        .says("then run the same command again");
    machine.run("findmnt /mnt/retention")?.exits(1);
    machine.run("mtctl points list --group g")?.exits(4).says("mtctl prepare");
    machine.run("fsck -y /mnt/retention")?.exits(1).says("recovering journal");
    machine.run(&prepare)?.exits(0);
    machine.must("grep kept /mnt/retention/d/file")?;
    machine.run(&prepare)?.exits(0).says("0 changed");
    machine.shut_down()
}

/// As `mtctl prepare` made it before there was a margin; filled with uberblocks of a ZFS pool.
const KEPT: &str = "set -e; cd /root; uuid=2c1e7d52-6f0b-4b8e-9a51-d3f17c3e90aa
    mkfs.ext4 -q -F -m 0 -L mt-retention -U $uuid $disk
    echo \"UUID=$uuid /mnt/retention ext4 defaults,nofail,x-mtctl 0 2\" >>/etc/fstab
    $prepare >/dev/null; findmnt /mnt/retention >/dev/null
    truncate -s 1M target.img; head -c 1M /dev/zero >stream.raw
    mtctl apply stream.raw --format raw --group g --target target.img >/dev/null
    printf '\\014\\261\\272\\0\\0\\0\\0\\0\\210\\023\\0\\0\\0\\0\\0\\0\\004' >u; truncate -s 1024 u
    for i in $(seq 10); do cat u u >v; mv v u; done
    while cat u; do :; done >/mnt/retention/brim 2>/dev/null || true
    sync; umount /mnt/retention";

/// The superblock of a RAID member, version 1.0, in a block that the brim has of the last ones.
const A_MEMBER: &str = "set -e; umount /mnt/retention; at=$(( (64 << 20) - 8192 ))
    put() { dd of=$disk bs=1 seek=$((at + $1)) conv=notrunc,fsync status=none; }
    printf '\\374\\116\\053\\251\\001\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\132\\132' | put 0
    printf '\\360\\377\\001\\0\\0\\0\\0\\0' | put 144";

fn kept(lab: &mut Lab) -> Result<()> {
    let mut target = ScsiTarget::start()?;
    let hardware = with_retention(lab, &mut target)?;
    let prepare = format!("{} --only retention", prepare());
    let with = |script: &str| {
        let uuid = vmware_uuid("retention");
        format!("disk=/dev/disk/by-id/wwn-0x{uuid}; prepare='{prepare}'; {script}")
    };
    let taken_for = with("blkid -p $disk || echo code $?");
    let found = |machine: &mut Machine| -> Result<()> {
        machine.wait_until("findmnt /mnt/retention")?;
        machine.run("mtctl check")?.says("pass retention");
        machine.must("umount /mnt/retention && mount -a && findmnt /mnt/retention")?;
        machine.run("mtctl points list --group g")?.exits(0).says("crash");
        machine.run(&prepare)?.exits(0).says("0 changed");
        machine.must("! grep ^md /proc/mdstat").map(drop)
    };
    let mut machine = lab.boot(&hardware)?;
    machine.must(&with(KEPT))?;
    machine.run(&taken_for)?.exits(0).says("code 8");
    machine.shut_down()?;

    let mut machine = lab.boot(&hardware)?;
    found(&mut machine)?;
    machine.must(&with(A_MEMBER))?;
    machine.run(&taken_for)?.exits(0).says("linux_raid_member");
    machine.shut_down()?;

    let mut machine = lab.boot(&hardware)?;
    found(&mut machine)?;
    // The sign that the fault is real: without the rule it is not there.
    machine.must("rm /etc/udev/rules.d/62-mtctl-retention.rules")?;
    machine.shut_down()?;
    let mut machine = lab.boot(&hardware)?;
    lab.tally.faults += 1;
    machine.wait_until("! systemctl is-system-running | grep -q starting")?;
    machine.run("findmnt /mnt/retention")?.exits(1);
    machine.run("mtctl points list --group g")?.exits(4);
    machine.run(&prepare)?.exits(0);
    found(&mut machine)?;
    machine.shut_down()
}

/// What the running system is made of, but for what is new in /run and /var.
const OWN: &str = "find /etc /boot /usr/bin /usr/share -xdev -type f -o -type l | sort | \
    xargs sha256sum 2>&1; rpm -qa | sort; ls /mnt /mnt/retention 2>&1; findmnt -n -o TARGET,SOURCE";

fn image(lab: &mut Lab) -> Result<()> {
    let mut target = ScsiTarget::start()?;
    let retention = with_retention(lab, &mut target)?;
    let second = lab.second_system()?;
    let mut hardware = retention.clone();
    hardware.controllers.push(Controller::VirtioBlk);
    hardware.disks.push(Disk {
        name: "image".to_owned(),
        controller: 1,
        slot: 0,
        backing: Backing::Qcow2(second.clone()),
        identity: Identity::Serial("image".to_owned()),
        sector_bytes: 512,
    });
    let mut machine = lab.boot(&hardware)?;
    machine.must("mount /dev/disk/by-id/virtio-image /mnt/image")?;
    let own = machine.must(OWN)?;
    machine.run(&format!("{} --root /mnt/image", prepare()))?.exits(0);
    assert_eq!(machine.must(OWN)?, own, "the running system is another one");
    machine.run(INSTALLED)?.exits(8);
    machine.must(&INSTALLED.replace("rpm", "rpm --root /mnt/image"))?;
    machine.run(&format!("{} --root /mnt/image", prepare()))?.exits(0).says("0 changed");
    machine.must("umount /mnt/image")?;
    machine.shut_down()?;

    // The image as a machine of its own: the retention volume is there.
    lab.start_from(second);
    let mut machine = lab.boot(&retention)?;
    machine.wait_until("findmnt /mnt/retention")?;
    machine.must(INSTALLED)?;
    machine.run("mtctl check")?.says("pass retention");
    machine.shut_down()
}

/// A script that kills `mtctl prepare`, and what it runs, in action number `action` of those that
/// it begins, or soon after. Prints the step.
fn killed_in(action: u32, tenths: u32) -> String {
    format!(
        "rm -f /run/said; mkfifo /run/said
         setsid {} --verbose >/dev/null 2>/run/said & pid=$!
         left={action}
         while read -r line; do
             case $line in *' doing '*)
                 left=$((left - 1)) step=${{line##*step=}}
                 [ $left != 0 ] || {{ [ {tenths} = 0 ] || sleep 0.{tenths}; kill -KILL -- -$pid; }}
             esac
         done </run/said
         echo ${{step%% *}}
         wait $pid",
        prepare()
    )
}

fn killed(lab: &mut Lab) -> Result<()> {
    let mut target = ScsiTarget::start()?;
    let hardware = with_retention(lab, &mut target)?;
    let mut machine = lab.boot(&hardware)?;
    machine.must("mv /srv/repo /srv/gone")?;
    machine.run(&prepare())?.exits(1).says("dnf");
    machine.run(INSTALLED)?.exits(8);
    machine.must("mv /srv/gone /srv/repo")?;

    let mut steps = BTreeSet::new();
    // The first action is the packages; in the second, so that each run comes one action further.
    let moments = [(2, 0), (2, 0), (2, 3)].into_iter().cycle().take(60);
    for (action, tenths) in std::iter::once((1, 5)).chain(moments) {
        let run = machine.run(&killed_in(action, tenths))?;
        if run.code != Some(137) {
            run.exits(0);
            break;
        }
        lab.tally.faults += 1;
        steps.insert(run.stdout.trim().to_owned());
    }
    let all = ["lvm", "multipath", "packages", "retention", "tuning"].map(str::to_owned);
    assert_eq!(steps, BTreeSet::from(all));
    machine.run(&prepare())?.exits(0).says("0 changed");
    machine.shut_down()?;
    let mut machine = lab.boot(&hardware)?;
    nothing_more_to_do(&mut machine)?;
    machine.shut_down()
}
