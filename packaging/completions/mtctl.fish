# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mtctl_global_optspecs
    string join \n h/help V/version
end

function __fish_mtctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mtctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mtctl_using_subcommand
    set -l cmd (__fish_mtctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mtctl -n "__fish_mtctl_needs_command" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_needs_command" -s V -l version -d 'Print version'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "disks" -d 'List disks: SCSI id, WWID, controller, size, who uses it, what it could be used for'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "check" -d 'Tell whether this host is a master target, and what to do if not; changes nothing'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "prepare" -d 'Make this host a master target'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "apply" -d 'Apply change streams to disks'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "group" -d 'List protection groups, where their disks are, and how they are kept; create and set them'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "points" -d 'List, make, pin and forget the recovery points of a group'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "export" -d 'Serve a recovery point over NBD, to look inside before rolling back'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "rollback" -d 'Bring the disks of a group back to a recovery point'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "restore" -d 'Copy a recovery point onto other disks, or into new image files'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "recover" -d 'Bring disks that are in-between, after a crash, back to where their group knows them'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "commit" -d 'Accept the disks of a group as they are, and drop its history'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "journal" -d 'Tell whether the history of a group is whole, and look into it'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "digest" -d 'Hash a disk: the BLAKE3 of all of it, and of its parts'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "verify" -d 'Tell whether a disk is what a digest or another disk says, and where it differs'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "stream" -d 'Look into change streams, and convert them'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "kickstart" -d 'Print an unattended installation for a master target'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "vmx" -d 'Check or fix disk.EnableUUID of VMs; map their disks to this host\'s'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "demo" -d 'See it work on loop devices that nobody else sees: disks, check, prepare, apply'
complete -c mtctl -n "__fish_mtctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mtctl -n "__fish_mtctl_using_subcommand disks" -l recorded -d 'Look at a host recorded in FILE instead of this one' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand disks" -l record -d 'Also write what was read of this host into FILE, for support to look at' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand disks" -l all -d 'Also loop devices, logical volumes, crypt mappings and software RAID arrays'
complete -c mtctl -n "__fish_mtctl_using_subcommand disks" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand disks" -s v -l verbose -d 'Say on stderr what is run'
complete -c mtctl -n "__fish_mtctl_using_subcommand disks" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand check" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand check" -l multipath -d 'What multipathing is wanted [default: auto]' -r -f -a "off\t'No disk is claimed but those the host itself runs on'
auto\t'What is a map stays one; nothing new is claimed'
require\t'Every attached disk is used through a map'"
complete -c mtctl -n "__fish_mtctl_using_subcommand check" -l profile -d 'Which rules: what replication needs, or also what the vendor\'s procedure demands [default: generic]' -r -f -a "generic\t'What replication needs'
asr\t'Also a VMware machine, 6 GiB, 4 cores, kernel updates held'"
complete -c mtctl -n "__fish_mtctl_using_subcommand check" -l root -d 'Check the system mounted at DIR, with the disks of this machine' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand check" -l recorded -d 'Look at a host recorded in FILE instead of this one' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand check" -l record -d 'Also write what was read of this host into FILE, for support to look at' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand check" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand check" -s v -l verbose -d 'Say on stderr what is run'
complete -c mtctl -n "__fish_mtctl_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -l retention-disk -d 'The disk that becomes the retention volume; without it, the one blank disk is proposed' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -l filesystem -d 'Filesystem of a new retention volume [default: ext4]' -r -f -a "ext4\t'The default'
xfs\t'XFS'"
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -l destroy -d 'Destroy the content of this disk, which must be the retention disk, named again' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -l multipath -d 'What multipathing is wanted [default: auto]' -r -f -a "off\t'No disk is claimed but those the host itself runs on'
auto\t'What is a map stays one; nothing new is claimed'
require\t'Every attached disk is used through a map'"
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -l profile -d 'Which rules: what replication needs, or also what the vendor\'s procedure demands [default: generic]' -r -f -a "generic\t'What replication needs'
asr\t'Also a VMware machine, 6 GiB, 4 cores, kernel updates held'"
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -l root -d 'Prepare the system mounted at DIR: files are edited there, and nothing is mounted' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -l only -d 'Only these steps' -r -f -a "platform\t''
scsi-ids\t''
enable-uuid\t''
packages\t''
filesystems\t''
multipath\t''
lvm\t''
retention\t''
tuning\t''
custom-changes\t''
reboot\t''"
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -l skip -d 'Not these steps' -r -f -a "platform\t''
scsi-ids\t''
enable-uuid\t''
packages\t''
filesystems\t''
multipath\t''
lvm\t''
retention\t''
tuning\t''
custom-changes\t''
reboot\t''"
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -l vmx -d 'The .vmx of this machine, where it can be reached: disk.EnableUUID is set in it' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -l recorded -d 'Look at a host recorded in FILE instead of this one' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -l record -d 'Also write what was read of this host into FILE, for support to look at' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -l dry-run -d 'Show the plan and change nothing'
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -s y -l yes -d 'Do not ask'
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -s v -l verbose -d 'Say on stderr what is run'
complete -c mtctl -n "__fish_mtctl_using_subcommand prepare" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l target -d 'The disk or image file of streams with one volume: a path, or wwid:ID' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l map -d 'The disk of the stream\'s volume SOURCE; once for each volume' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l group -d 'The protection group: remembers what was applied, so that it is resumed, and checked' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l volume -d 'What the volume is called: of streams that have one and do not name it' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l format -d 'The format; a raw image has to be named' -r -f -a "auto\t'told by the first bytes'
native\t'our own'
rbd-diff\t'rbd diff v1 or v2, or an rbd export of format 2'
svd\t'the disk filter driver\'s'
raw\t'a raw image; its holes become zeros'"
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l size -d 'The size of a raw image that comes through a pipe: one that ends before it was cut' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l engine -d 'How disks are written [default of a new group: auto]' -r -f -a "auto\t'io_uring, or blocking where it is refused'
uring\t'io_uring or nothing'
blocking\t'one write after the other'"
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l retention-window -d 'How far back recovery points are kept [default of a new group: 24h]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l keep-all -d 'Up to this age all of them are kept; of older ones, one an hour [default of a new group: 2h]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l retention-bytes -d 'The most that the history of the group may take [default of a new group: what the volume has]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l keep-last -d 'Keep the last N points, however old they are [default of a new group: none]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l keep-hourly -d 'Of each of the last N hours that have points, keep the newest, however old it is [default of a new group: none]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l keep-daily -d 'Likewise of the last N days, in UTC' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l keep-weekly -d 'Likewise of the last N weeks, from Monday on, in UTC' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l point-every -d 'Make a crash-consistent point so often, in native streams whose batches come in the order of the writes' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l resume -d 'A pipe that ends before its stream does is no failure: the rest comes another time'
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l verify -d 'Read back what was written and compare checksums'
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l accept-resize -d 'Take it that the source has another size than before; grow an image file that is too small'
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l accept-target -d 'Take the target though it is not known to be the one, or not as the group left it'
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l accept-older -d 'Apply an svd stream that the source made before the last one, or a native stream that may have been applied long ago'
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l accept-base -d 'Take it that the volume is where the stream begins, where that cannot be known'
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l accept-unfinished -d 'Give up the stream that was begun and not finished, and apply this one'
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l dry-run -d 'Read, verify and plan; write nothing: exit 3 if something is to be applied'
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -s v -l verbose -d 'Say on stderr what is done'
complete -c mtctl -n "__fish_mtctl_using_subcommand apply" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and not __fish_seen_subcommand_from list show create set rename retarget release forget help" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and not __fish_seen_subcommand_from list show create set rename retarget release forget help" -f -a "list" -d 'List the groups of this host: where their disks are, points, window, alarms'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and not __fish_seen_subcommand_from list show create set rename retarget release forget help" -f -a "show" -d 'Show one group: its volumes, where they are, and how it is kept'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and not __fish_seen_subcommand_from list show create set rename retarget release forget help" -f -a "create" -d 'Create a group before anything is applied to it'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and not __fish_seen_subcommand_from list show create set rename retarget release forget help" -f -a "set" -d 'Change how a group is kept'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and not __fish_seen_subcommand_from list show create set rename retarget release forget help" -f -a "rename" -d 'Give a group another name'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and not __fish_seen_subcommand_from list show create set rename retarget release forget help" -f -a "retarget" -d 'Go on with other disks that hold the same'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and not __fish_seen_subcommand_from list show create set rename retarget release forget help" -f -a "release" -d 'Give the disks of a group up, and its history'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and not __fish_seen_subcommand_from list show create set rename retarget release forget help" -f -a "forget" -d 'Give the disks of a group up, and remove all else of it'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and not __fish_seen_subcommand_from list show create set rename retarget release forget help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from list" -l retention -d 'The retention volume, or none [default: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from list" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from list" -l retention-unmounted -d 'Take --retention though nothing is mounted there'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from list" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from show" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from show" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from show" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from show" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from show" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from show" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l target -d 'The disk or image file of streams with one volume: a path, or wwid:ID' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l map -d 'The disk of the stream\'s volume SOURCE; once for each volume' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l retention-window -d 'How far back recovery points are kept [default of a new group: 24h]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l keep-all -d 'Up to this age all of them are kept; of older ones, one an hour [default of a new group: 2h]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l retention-bytes -d 'The most that the history of the group may take [default of a new group: what the volume has]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l keep-last -d 'Keep the last N points, however old they are [default of a new group: none]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l keep-hourly -d 'Of each of the last N hours that have points, keep the newest, however old it is [default of a new group: none]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l keep-daily -d 'Likewise of the last N days, in UTC' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l keep-weekly -d 'Likewise of the last N weeks, from Monday on, in UTC' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l point-every -d 'Make a crash-consistent point so often, in native streams whose batches come in the order of the writes' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l engine -d 'How its disks are written' -r -f -a "auto\t'io_uring, or blocking where it is refused'
uring\t'io_uring or nothing'
blocking\t'one write after the other'"
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l dry-run -d 'Show what would change, and change nothing: exit 3 if something would'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l retention-window -d 'How far back recovery points are kept [default of a new group: 24h]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l keep-all -d 'Up to this age all of them are kept; of older ones, one an hour [default of a new group: 2h]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l retention-bytes -d 'The most that the history of the group may take [default of a new group: what the volume has]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l keep-last -d 'Keep the last N points, however old they are [default of a new group: none]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l keep-hourly -d 'Of each of the last N hours that have points, keep the newest, however old it is [default of a new group: none]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l keep-daily -d 'Likewise of the last N days, in UTC' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l keep-weekly -d 'Likewise of the last N weeks, from Monday on, in UTC' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l point-every -d 'Make a crash-consistent point so often, in native streams whose batches come in the order of the writes' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l engine -d 'How its disks are written' -r -f -a "auto\t'io_uring, or blocking where it is refused'
uring\t'io_uring or nothing'
blocking\t'one write after the other'"
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l dry-run -d 'Show what would change, and change nothing: exit 3 if something would'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from rename" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from rename" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from rename" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from rename" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from rename" -l to -d 'The new name' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from rename" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from rename" -l dry-run -d 'Show what would be moved, and move nothing: exit 3'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from rename" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from rename" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from retarget" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from retarget" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from retarget" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from retarget" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from retarget" -l target -d 'The disk or image file of streams with one volume: a path, or wwid:ID' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from retarget" -l map -d 'The disk of the stream\'s volume SOURCE; once for each volume' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from retarget" -l digest -d 'Where the old disk is gone: the digest that was made of it at the recovery point that the group is at' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from retarget" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from retarget" -l yes -d 'Do not ask'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from retarget" -l dry-run -d 'Compare, and change nothing: exit 3 if it would be changed'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from retarget" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from retarget" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from release" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from release" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from release" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from release" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from release" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from release" -l yes -d 'Do not ask'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from release" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from release" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from forget" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from forget" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from forget" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from forget" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from forget" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from forget" -l yes -d 'Do not ask'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from forget" -l dry-run -d 'Show what would go, and remove nothing: exit 3'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from forget" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from forget" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the groups of this host: where their disks are, points, window, alarms'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show one group: its volumes, where they are, and how it is kept'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from help" -f -a "create" -d 'Create a group before anything is applied to it'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from help" -f -a "set" -d 'Change how a group is kept'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from help" -f -a "rename" -d 'Give a group another name'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from help" -f -a "retarget" -d 'Go on with other disks that hold the same'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from help" -f -a "release" -d 'Give the disks of a group up, and its history'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from help" -f -a "forget" -d 'Give the disks of a group up, and remove all else of it'
complete -c mtctl -n "__fish_mtctl_using_subcommand group; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and not __fish_seen_subcommand_from list show create pin unpin forget help" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and not __fish_seen_subcommand_from list show create pin unpin forget help" -f -a "list" -d 'List the points that are kept'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and not __fish_seen_subcommand_from list show create pin unpin forget help" -f -a "show" -d 'Show one point'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and not __fish_seen_subcommand_from list show create pin unpin forget help" -f -a "create" -d 'Make a point of what the disks hold now'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and not __fish_seen_subcommand_from list show create pin unpin forget help" -f -a "pin" -d 'Keep a point: it does not expire'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and not __fish_seen_subcommand_from list show create pin unpin forget help" -f -a "unpin" -d 'Let a point expire like all others'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and not __fish_seen_subcommand_from list show create pin unpin forget help" -f -a "forget" -d 'Let points go now: by how the group is kept, or by name'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and not __fish_seen_subcommand_from list show create pin unpin forget help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from list" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from list" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from list" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from list" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from list" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from list" -l local -d 'Show times by the clock of this host\'s zone; JSON is in UTC always'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from list" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from show" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from show" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from show" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from show" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from show" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from show" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from show" -l local -d 'Show times by the clock of this host\'s zone; JSON is in UTC always'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from create" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from create" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from create" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from create" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from create" -l kind -d 'What the disks hold' -r -f -a "crash\t'As after a power cut of the source'
app\t'As the application made it consistent'"
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from create" -l name -d 'A name for it: no number, nor latest, latest-app or start; at most 200 bytes' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from create" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from create" -l accept-target -d 'Take the disks though one does not hold what the group left there'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from create" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from pin" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from pin" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from pin" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from pin" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from pin" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from pin" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from pin" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from unpin" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from unpin" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from unpin" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from unpin" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from unpin" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from unpin" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from unpin" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from forget" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from forget" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from forget" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from forget" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from forget" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from forget" -l yes -d 'Do not ask'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from forget" -l dry-run -d 'Show what would go, and change nothing: exit 3 if something would'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from forget" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from forget" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the points that are kept'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show one point'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from help" -f -a "create" -d 'Make a point of what the disks hold now'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from help" -f -a "pin" -d 'Keep a point: it does not expire'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from help" -f -a "unpin" -d 'Let a point expire like all others'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from help" -f -a "forget" -d 'Let points go now: by how the group is kept, or by name'
complete -c mtctl -n "__fish_mtctl_using_subcommand points; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mtctl -n "__fish_mtctl_using_subcommand export" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand export" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand export" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand export" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand export" -l to -d 'Which point: a number, a name, a time, latest, latest-app, or start' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand export" -l volume -d 'Only this volume' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand export" -l socket -d 'Serve on a unix socket at PATH' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand export" -l listen -d 'Serve on a TCP address' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand export" -l scratch-dir -d 'Where the throw-away layer is kept meanwhile' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand export" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand export" -l insecure -d 'Serve beyond this host: there is no TLS, so everybody who reaches the address can read all'
complete -c mtctl -n "__fish_mtctl_using_subcommand export" -l scratch -d 'Let clients write, into a layer that is thrown away at the end'
complete -c mtctl -n "__fish_mtctl_using_subcommand export" -l json -d 'Print JSON: one line, when clients can connect'
complete -c mtctl -n "__fish_mtctl_using_subcommand export" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l to -d 'Where to: a number, a name, a time, latest, latest-app, or start' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l retention-window -d 'How far back recovery points are kept [default of a new group: 24h]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l keep-all -d 'Up to this age all of them are kept; of older ones, one an hour [default of a new group: 2h]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l retention-bytes -d 'The most that the history of the group may take [default of a new group: what the volume has]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l keep-last -d 'Keep the last N points, however old they are [default of a new group: none]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l keep-hourly -d 'Of each of the last N hours that have points, keep the newest, however old it is [default of a new group: none]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l keep-daily -d 'Likewise of the last N days, in UTC' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l keep-weekly -d 'Likewise of the last N weeks, from Monday on, in UTC' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l point-every -d 'Make a crash-consistent point so often, in native streams whose batches come in the order of the writes' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l accept-target -d 'Take the disks though one is not known to be the one, not as the group left it, or another group\'s as well'
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l give-up-points -d 'Let the oldest points go, if there is no room else to keep what is overwritten'
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l without-undo -d 'Keep nothing of what is overwritten: faster, and takes no room; it cannot be taken back, and the points after the one gone to are given up'
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l yes -d 'Do not ask'
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l dry-run -d 'Show what would be written, and write nothing: exit 3 if something would be'
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand rollback" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -l to -d 'Which point: a number, a name, a time, latest, latest-app, or start' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -l onto -d 'Where a volume goes: a disk (a path, or wwid:ID) or an image file, as large or larger; once for each volume that is wanted. A group with one volume needs no name' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -l output-format -d 'The format of image files that are made; qcow2 and vmdk need qemu-img' -r -f -a "raw\t'the bytes of the disk, sparse'
qcow2\t'as QEMU has its disks'
vmdk\t'as OVF packages have their disks (streamOptimized)'"
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -l ovf -d 'Write an OVF that names the VMDKs, in the order of --onto, and its manifest (.mf); both are new files beside them' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -l controller -d 'What controls the disks of the machine in the OVF: what its system has a driver for' -r -f -a "lsilogic\t'LSI Logic Parallel'
lsilogic-sas\t'LSI Logic SAS'
pvscsi\t'VMware Paravirtual'"
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -l create -d 'Make image files that are not there'
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -l yes -d 'Do not ask before something that is there is overwritten'
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -l dry-run -d 'Show what would be written where, and write nothing; the exit code is 3'
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l retention-window -d 'How far back recovery points are kept [default of a new group: 24h]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l keep-all -d 'Up to this age all of them are kept; of older ones, one an hour [default of a new group: 2h]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l retention-bytes -d 'The most that the history of the group may take [default of a new group: what the volume has]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l keep-last -d 'Keep the last N points, however old they are [default of a new group: none]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l keep-hourly -d 'Of each of the last N hours that have points, keep the newest, however old it is [default of a new group: none]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l keep-daily -d 'Likewise of the last N days, in UTC' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l keep-weekly -d 'Likewise of the last N weeks, from Monday on, in UTC' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l point-every -d 'Make a crash-consistent point so often, in native streams whose batches come in the order of the writes' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l accept-target -d 'Take the disks though one is not known to be the one, or another group\'s as well'
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l give-up-points -d 'Let the oldest points go, if there is no room else to keep what is overwritten'
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l without-undo -d 'Keep nothing of what is overwritten: faster, and takes no room; it cannot be taken back, and the points after the one gone to are given up'
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l yes -d 'Do not ask'
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand recover" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l retention-window -d 'How far back recovery points are kept [default of a new group: 24h]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l keep-all -d 'Up to this age all of them are kept; of older ones, one an hour [default of a new group: 2h]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l retention-bytes -d 'The most that the history of the group may take [default of a new group: what the volume has]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l keep-last -d 'Keep the last N points, however old they are [default of a new group: none]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l keep-hourly -d 'Of each of the last N hours that have points, keep the newest, however old it is [default of a new group: none]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l keep-daily -d 'Likewise of the last N days, in UTC' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l keep-weekly -d 'Likewise of the last N weeks, from Monday on, in UTC' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l point-every -d 'Make a crash-consistent point so often, in native streams whose batches come in the order of the writes' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l accept-target -d 'Take the disks though one is not known to be the one, not as the group left it, or another group\'s as well'
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l yes -d 'Do not ask'
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand commit" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and not __fish_seen_subcommand_from check dump rebuild help" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and not __fish_seen_subcommand_from check dump rebuild help" -f -a "check" -d 'Tell whether all that the recovery points need is there and whole; changes nothing'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and not __fish_seen_subcommand_from check dump rebuild help" -f -a "dump" -d 'Print the history, a line a record'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and not __fish_seen_subcommand_from check dump rebuild help" -f -a "rebuild" -d 'Make the state of the group anew from its segments, when it is lost or older than they are'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and not __fish_seen_subcommand_from check dump rebuild help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from check" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from check" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from check" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from check" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from check" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from check" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from dump" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from dump" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from dump" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from dump" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from dump" -l point -d 'Only what leads back to this point: a number, a name, a time, latest, latest-app, or start' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from dump" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from dump" -l extents -d 'Print a line for each range too'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from dump" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from rebuild" -l group -d 'The protection group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from rebuild" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from rebuild" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from rebuild" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from rebuild" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from rebuild" -l yes -d 'Do not ask'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from rebuild" -l dry-run -d 'Show what would be had back, and change nothing'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from rebuild" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from rebuild" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from help" -f -a "check" -d 'Tell whether all that the recovery points need is there and whole; changes nothing'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from help" -f -a "dump" -d 'Print the history, a line a record'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from help" -f -a "rebuild" -d 'Make the state of the group anew from its segments, when it is lost or older than they are'
complete -c mtctl -n "__fish_mtctl_using_subcommand journal; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mtctl -n "__fish_mtctl_using_subcommand digest" -l to -d 'A recovery point of a group, instead of a disk; replication may go on meanwhile' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand digest" -l volume -d 'Which volume of the group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand digest" -l group -d 'The protection group of the recovery point' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand digest" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand digest" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand digest" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand digest" -l leaf -d 'How much one hash of the document stands for: a power of two from 64K to 64M' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand digest" -s o -l output -d 'Write the document with all hashes to FILE; a digest that is there is replaced' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand digest" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand digest" -l json -d 'Print the document'
complete -c mtctl -n "__fish_mtctl_using_subcommand digest" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand verify" -l to -d 'A recovery point of a group, instead of a disk; replication may go on meanwhile' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand verify" -l volume -d 'Which volume of the group' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand verify" -l group -d 'The protection group of the recovery point' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand verify" -l retention -d 'The retention volume for this run, or none [default with --group: what is mounted where --retention-mount says]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand verify" -l retention-mount -d 'Where the retention volume is mounted [default: where fstab has the one that prepare made, else /mnt/retention]' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand verify" -l state-dir -d 'Where the group\'s state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand verify" -l against -d 'A digest file, or another disk or image file: a path, or wwid:ID' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand verify" -l retention-unmounted -d 'Take --retention though nothing is mounted there: for tests, on a disk that is no other\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand verify" -l json -d 'Print JSON, with all ranges'
complete -c mtctl -n "__fish_mtctl_using_subcommand verify" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and not __fish_seen_subcommand_from inspect convert merge help" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and not __fish_seen_subcommand_from inspect convert merge help" -f -a "inspect" -d 'Tell what is in a stream, and the first thing that is wrong with it'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and not __fish_seen_subcommand_from inspect convert merge help" -f -a "convert" -d 'Write streams as one of another format'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and not __fish_seen_subcommand_from inspect convert merge help" -f -a "merge" -d 'Write streams of several volumes as one, with one mark at its end'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and not __fish_seen_subcommand_from inspect convert merge help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from inspect" -l format -d 'The format; a raw image has to be named' -r -f -a "auto\t'told by the first bytes'
native\t'our own'
rbd-diff\t'rbd diff v1 or v2, or an rbd export of format 2'
svd\t'the disk filter driver\'s'
raw\t'a raw image; its holes become zeros'"
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from inspect" -l size -d 'The size of a raw image that comes through a pipe: one that ends before it was cut' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from inspect" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from convert" -l to -d 'The format to write' -r -f -a "native\t'our own'
rbd-diff-v1\t'rbd diff v1, as `rbd import-diff` reads it'
rbd-diff-v2\t'rbd diff v2'"
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from convert" -s o -l output -d 'The file to write; - is standard output' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from convert" -l format -d 'The format of the inputs; a raw image has to be named' -r -f -a "auto\t'told by the first bytes'
native\t'our own'
rbd-diff\t'rbd diff v1 or v2, or an rbd export of format 2'
svd\t'the disk filter driver\'s'
raw\t'a raw image; its holes become zeros'"
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from convert" -l volume -d 'What the volume is called: of inputs that have one and do not name it' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from convert" -l size -d 'The size of the disk, where the inputs do not say it' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from convert" -l compression -d 'Compress each batch of a native stream' -r -f -a "none\t'as it is'
lz4\t'fast'
zstd\t'small'"
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from convert" -l json -d 'Print JSON, on stderr if the stream goes to stdout'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from convert" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from merge" -s o -l output -d 'The file to write; - is standard output' -r -F
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from merge" -l format -d 'The format of the inputs; a raw image has to be named' -r -f -a "auto\t'told by the first bytes'
native\t'our own'
rbd-diff\t'rbd diff v1 or v2, or an rbd export of format 2'
svd\t'the disk filter driver\'s'
raw\t'a raw image; its holes become zeros'"
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from merge" -l mark -d 'The name of the mark [default: what all inputs end at]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from merge" -l kind -d 'What the mark is [default: app if all inputs end so, else crash]' -r -f -a "app\t'application-consistent'
crash\t'crash-consistent'"
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from merge" -l compression -d 'Compress each batch' -r -f -a "none\t'as it is'
lz4\t'fast'
zstd\t'small'"
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from merge" -l json -d 'Print JSON, on stderr if the stream goes to stdout'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from merge" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from help" -f -a "inspect" -d 'Tell what is in a stream, and the first thing that is wrong with it'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from help" -f -a "convert" -d 'Write streams as one of another format'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from help" -f -a "merge" -d 'Write streams of several volumes as one, with one mark at its end'
complete -c mtctl -n "__fish_mtctl_using_subcommand stream; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l release -d 'Release of CentOS, RHEL or a rebuild' -r -f -a "6\t''
7\t''
8\t''
9\t''
10\t''"
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l hostname -d 'Host name, short or fully qualified (RFC 1123)' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l disk -d 'Disk to install on; its content is lost: /dev/disk/by-id/wwn-… (best), or sda' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l address -d 'Static address with its prefix length, IPv4 or IPv6' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l gateway -d 'Default gateway, in the network of the address' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l dns -d 'Name server; may be given up to three times' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l timezone -d 'Time zone, as in Europe/Berlin' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l interface -d 'Network interface: name, MAC address, link (first with a carrier) or bootif [default: link; on release 6 the first interface]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l root-password-hash -d 'Root\'s password as a crypt(3) hash: $6$…, $5$…, since release 9 also $y$… [this, --ssh-key or both]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l ssh-key -d 'Root\'s OpenSSH public key, the whole line' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l install-from -d 'Where packages come from: cdrom, or the URL of an installation tree [default: cdrom]' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l retention-disk -d 'Retention disk that the first boot names to mtctl prepare; the installer does not touch it' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l mtctl-url -d 'Where the installation fetches the mtctl program' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l mtctl-sha256 -d 'SHA-256 of that program' -r
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -l json -d 'Print {"release","kickstart","warnings"} as JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand kickstart" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand vmx" -l fix -d 'Write disk.EnableUUID = "TRUE" where it is off; every other byte, mode and owner stay'
complete -c mtctl -n "__fish_mtctl_using_subcommand vmx" -l allow-unknown-uuids -d 'With --fix on several VMs: go on where the UUID of a disk cannot be read, so that it is not known whether another one is its clone'
complete -c mtctl -n "__fish_mtctl_using_subcommand vmx" -l json -d 'Print JSON'
complete -c mtctl -n "__fish_mtctl_using_subcommand vmx" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand demo" -l json -d 'Print JSON instead of the story: the chapters, their commands and exit codes'
complete -c mtctl -n "__fish_mtctl_using_subcommand demo" -s h -l help -d 'Print help'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "disks" -d 'List disks: SCSI id, WWID, controller, size, who uses it, what it could be used for'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "check" -d 'Tell whether this host is a master target, and what to do if not; changes nothing'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "prepare" -d 'Make this host a master target'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "apply" -d 'Apply change streams to disks'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "group" -d 'List protection groups, where their disks are, and how they are kept; create and set them'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "points" -d 'List, make, pin and forget the recovery points of a group'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "export" -d 'Serve a recovery point over NBD, to look inside before rolling back'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "rollback" -d 'Bring the disks of a group back to a recovery point'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "restore" -d 'Copy a recovery point onto other disks, or into new image files'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "recover" -d 'Bring disks that are in-between, after a crash, back to where their group knows them'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "commit" -d 'Accept the disks of a group as they are, and drop its history'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "journal" -d 'Tell whether the history of a group is whole, and look into it'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "digest" -d 'Hash a disk: the BLAKE3 of all of it, and of its parts'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "verify" -d 'Tell whether a disk is what a digest or another disk says, and where it differs'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "stream" -d 'Look into change streams, and convert them'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "kickstart" -d 'Print an unattended installation for a master target'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "vmx" -d 'Check or fix disk.EnableUUID of VMs; map their disks to this host\'s'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "demo" -d 'See it work on loop devices that nobody else sees: disks, check, prepare, apply'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and not __fish_seen_subcommand_from disks check prepare apply group points export rollback restore recover commit journal digest verify stream kickstart vmx demo help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from group" -f -a "list" -d 'List the groups of this host: where their disks are, points, window, alarms'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from group" -f -a "show" -d 'Show one group: its volumes, where they are, and how it is kept'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from group" -f -a "create" -d 'Create a group before anything is applied to it'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from group" -f -a "set" -d 'Change how a group is kept'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from group" -f -a "rename" -d 'Give a group another name'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from group" -f -a "retarget" -d 'Go on with other disks that hold the same'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from group" -f -a "release" -d 'Give the disks of a group up, and its history'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from group" -f -a "forget" -d 'Give the disks of a group up, and remove all else of it'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from points" -f -a "list" -d 'List the points that are kept'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from points" -f -a "show" -d 'Show one point'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from points" -f -a "create" -d 'Make a point of what the disks hold now'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from points" -f -a "pin" -d 'Keep a point: it does not expire'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from points" -f -a "unpin" -d 'Let a point expire like all others'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from points" -f -a "forget" -d 'Let points go now: by how the group is kept, or by name'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from journal" -f -a "check" -d 'Tell whether all that the recovery points need is there and whole; changes nothing'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from journal" -f -a "dump" -d 'Print the history, a line a record'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from journal" -f -a "rebuild" -d 'Make the state of the group anew from its segments, when it is lost or older than they are'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from stream" -f -a "inspect" -d 'Tell what is in a stream, and the first thing that is wrong with it'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from stream" -f -a "convert" -d 'Write streams as one of another format'
complete -c mtctl -n "__fish_mtctl_using_subcommand help; and __fish_seen_subcommand_from stream" -f -a "merge" -d 'Write streams of several volumes as one, with one mark at its end'
