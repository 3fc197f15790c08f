//! What to do about an error or a notice of `blockio`, in words: its remedies with the verbs and
//! options that carry them out (ADR 22). One exhaustive match for each subject.

use std::borrow::Cow;

use blockio::notice::Notice;
use blockio::remedy::{DiskRemedy, GroupRemedy, PointRemedy, Remedy, StreamRemedy};

/// The hint of `error`, if there is anything to do.
pub(crate) fn hint(error: &system::Error) -> Option<Cow<'_, str>> {
    let text = error.hint().map(Cow::Borrowed);
    text.or_else(|| Remedy::of(error).map(|remedy| Cow::Owned(in_words(remedy))))
}

/// `notice` with what to do about it.
pub(crate) fn told(notice: &Notice) -> String {
    match notice.remedy() {
        Some(remedy) => format!("{notice}; {}", in_words(&remedy)),
        None => notice.to_string(),
    }
}

fn in_words(remedy: &Remedy) -> String {
    match remedy {
        Remedy::Stream(remedy) => of_stream(remedy),
        Remedy::Disk(remedy) => of_disk(remedy),
        Remedy::Point(remedy) => of_point(remedy),
        Remedy::Group(remedy) => of_group(remedy),
    }
}

fn of_stream(remedy: &StreamRemedy) -> String {
    let text = match remedy {
        StreamRemedy::FinishOrReplace { files } => {
            return format!(
                "{}; if that stream is lost: go back to a point with `mtctl recover`, or replace \
                 everything with a raw image: --format raw --accept-unfinished",
                again(files)
            );
        }
        StreamRemedy::FinishOrGiveUp { files } => {
            return format!(
                "{}; if it will never be finished and this one continues from there: \
                 --accept-unfinished",
                again(files)
            );
        }
        StreamRemedy::FinishOrGoBack => {
            "apply the unfinished stream to its end; or roll back to where it begins (mtctl \
             points list, mtctl rollback) and apply this one there; a raw image replaces \
             everything"
        }
        StreamRemedy::AcceptOlder => "if that is intended: --accept-older",
        StreamRemedy::AcceptBase { since: None } => "if the volume is there: --accept-base",
        StreamRemedy::AcceptBase { since: Some(since) } => {
            return format!(
                "apply an rbd diff that begins at {since}; or if the volume is there: --accept-base"
            );
        }
        StreamRemedy::AcceptResize => "if the source was resized on purpose: --accept-resize",
        StreamRemedy::MakePointsAtMarks { group } => {
            return format!(
                "create points at marks only: mtctl group set --group {group} --point-every none"
            );
        }
        StreamRemedy::NameVolume { volumes } => {
            return format!("name its volume: --volume NAME, one of {volumes}");
        }
        StreamRemedy::NameVolumeOf { input } => {
            return format!("name its volume: VOLUME={input}");
        }
        StreamRemedy::NameDisk { volume } => {
            return format!("name its disk: --map {volume}=DEVICE");
        }
        StreamRemedy::NameDisks => {
            "name the disk of each volume: --map SOURCE=DEVICE, once for each volume"
        }
        StreamRemedy::NameSize => "give the size: --size SIZE",
        StreamRemedy::NameMark => {
            "merge only streams that end at the same moment; if these do, name that moment: \
             --mark NAME"
        }
        StreamRemedy::NameFormat => "for a raw image, add --format raw",
    };
    text.to_owned()
}

fn again(files: &[String]) -> String {
    let files = match files {
        [] => String::new(),
        files => format!(" ({})", files.join(", ")),
    };
    format!("apply that stream again{files}: it continues where it stopped")
}

fn of_disk(remedy: &DiskRemedy) -> String {
    let text = match remedy {
        DiskRemedy::Choose => "name another disk: mtctl disks lists them",
        DiskRemedy::ChooseOrMakeImage => {
            "mtctl disks lists the disks; create an image file first: truncate --size SIZE FILE"
        }
        DiskRemedy::LookAgain => "see what it is now: mtctl disks --all; then start again",
        DiskRemedy::SeeUsers { path, is_read } => {
            let otherwise = match is_read {
                true => "read one of its recovery points instead: --group GROUP --to POINT",
                false => "name another disk",
            };
            return format!("see who uses it: lsblk {path}; fuser -v {path}; or {otherwise}");
        }
        DiskRemedy::OpenAsRoot => {
            "run it as root: sudo mtctl …; or check its permissions: lsattr, ls -l"
        }
        DiskRemedy::NameMap { map } => {
            return format!("name the map instead: /dev/mapper/{map}; {SECOND_PATH}");
        }
        DiskRemedy::RemovePartitions { path } => {
            return format!(
                "remove the mappings of its partitions: kpartx -d {path}; {SECOND_PATH}"
            );
        }
        DiskRemedy::GrowImage => "--accept-resize grows the image file",
        DiskRemedy::Accept { group } => return accept(group),
        DiskRemedy::NameAsBefore { group, volume, is_named_by_stream } => {
            return name_as_before(group, volume.as_deref(), *is_named_by_stream);
        }
        DiskRemedy::AllowRing => {
            "io_uring is refused by the sysctl kernel.io_uring_disabled, by a container's seccomp \
             profile, or by a kernel before 5.6: allow it, or use --engine blocking"
        }
        DiskRemedy::CopyAgain => {
            "copy it again while nothing writes to either disk; `mtctl verify` shows what differs"
        }
        DiskRemedy::HashAlike => "make both digests with the same leaf size: mtctl digest --leaf",
        DiskRemedy::HashPoint { group, point } => {
            return format!(
                "use a digest of this point and volume: mtctl digest --group {group} --to \
                 id:{point} --output FILE; or attach the disk"
            );
        }
        DiskRemedy::RollBackAgain => {
            "something else wrote to it: keep others from the disk, and roll back again \
             (--accept-target)"
        }
    };
    text.to_owned()
}

const SECOND_PATH: &str = "if the disk has only one path, mtctl check says how to get it back";

fn accept(group: &str) -> String {
    format!(
        "name the disk that was written so far, or start another group; if it is the right disk \
         (compare with `mtctl group show --group {group}`): --accept-target"
    )
}

fn name_as_before(group: &str, volume: Option<&str>, is_named_by_stream: bool) -> String {
    let typed = match volume {
        None => "--target DEVICE".to_owned(),
        Some(volume) if is_named_by_stream => format!("--map {volume}=DEVICE"),
        Some(volume) => format!("--volume {volume} --target DEVICE"),
    };
    format!(
        "name it as before: {typed}; to start again, first release it: mtctl group release \
         --group {group}"
    )
}

fn of_point(remedy: &PointRemedy) -> String {
    let text = match remedy {
        PointRemedy::List => "see which points are kept: mtctl points list",
        PointRemedy::ListBetween { first, last } => {
            return format!("points {first} to {last} are kept; `mtctl points list` shows them");
        }
        PointRemedy::ListLost => {
            "points before it cannot be reached; see which: mtctl journal check"
        }
        PointRemedy::Unpin { group, point } => return unpin(group, point),
        PointRemedy::UnpinOrKeepOverwritten { group, point } => {
            return format!("{}; or keep what gets overwritten", unpin(group, point));
        }
        PointRemedy::UnpinForRoom { group, point } => {
            return format!(
                "unpin it (mtctl points unpin id:{point} --group {group}), enlarge the volume, or \
                 {KEEP_NOTHING}"
            );
        }
        PointRemedy::GiveUpForRoom => {
            return format!(
                "enlarge the volume, give up those points (--give-up-points), or {KEEP_NOTHING}"
            );
        }
        PointRemedy::MakeRoom => {
            "enlarge the volume, stop any exports of the group's points, or raise its limit (mtctl \
             group set --retention-bytes); --without-undo keeps nothing of what gets overwritten \
             and cannot be undone; --give-up-points tries anyway, and if it runs out of room, \
             the same command continues"
        }
        PointRemedy::RaiseLimit { group } => {
            return format!(
                "allow more: mtctl group set --group {group} --retention-bytes SIZE|none; then run \
                 the same command again"
            );
        }
        PointRemedy::GoToLatest { group } => {
            return format!(
                "roll back to a point: mtctl rollback --group {group} --to latest; or apply the \
                 stream to its end"
            );
        }
        PointRemedy::FinishRollback { group, to } => {
            return format!(
                "finish it: mtctl rollback --group {group} --to {to}; or go to another point"
            );
        }
    };
    text.to_owned()
}

const KEEP_NOTHING: &str =
    "keep nothing of what gets overwritten (--without-undo: this cannot be undone)";

fn unpin(group: &str, point: &str) -> String {
    format!("unpin it: mtctl points unpin {point} --group {group}")
}

fn of_group(remedy: &GroupRemedy) -> String {
    let text = match remedy {
        GroupRemedy::List => "see what is there: mtctl group list",
        GroupRemedy::SeeOrChooseName { group } => {
            return format!("see `mtctl group show --group {group}`, or choose another name");
        }
        GroupRemedy::ApplyAgainOrRecover { group } => {
            return format!(
                "apply the same stream to its end, or go back: mtctl recover --group {group}"
            );
        }
        GroupRemedy::KeepHistory => "apply a stream with --retention; history is kept from then on",
        GroupRemedy::NameHistory => "name the directory of the history: --retention DIR",
        GroupRemedy::CheckJournal => {
            "`mtctl journal check` shows the damage; the disks are unchanged, and nothing was \
             written"
        }
        GroupRemedy::CheckOrRelease => {
            "see `mtctl journal check`; `mtctl group release` gives up what no longer exists"
        }
        GroupRemedy::PutNewerStateBack => {
            "nothing was written or removed; if the state file was put back from a copy, put the \
             newer one back, or rebuild it from the journal: mtctl journal rebuild"
        }
        GroupRemedy::RebuildState { group, is_untouched } => {
            return rebuild(group, *is_untouched);
        }
    };
    text.to_owned()
}

fn rebuild(group: &str, is_untouched: bool) -> String {
    let first = if is_untouched { "nothing was written or removed; " } else { "" };
    format!(
        "{first}put back the newest state, or rebuild it from the journal: mtctl journal \
         rebuild --group {group}"
    )
}
