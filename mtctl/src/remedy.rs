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
                "{}; if it cannot be had: back to a point with `mtctl recover`, or replace all \
                 with a raw image: --format raw --accept-unfinished",
                again(files)
            );
        }
        StreamRemedy::FinishOrGiveUp { files } => {
            return format!(
                "{}; if it is not to be finished, and this one goes on from there, say so: \
                 --accept-unfinished",
                again(files)
            );
        }
        StreamRemedy::FinishOrGoBack => {
            "apply the one that was begun; or go back to where it begins (mtctl points list, mtctl \
             rollback), and apply this one there; a raw image replaces all"
        }
        StreamRemedy::AcceptOlder => "if that is what is wanted, say so: --accept-older",
        StreamRemedy::AcceptBase { since: None } => "if it is there, say so: --accept-base",
        StreamRemedy::AcceptBase { since: Some(since) } => {
            return format!(
                "apply an rbd diff that begins at {since}; or if it is there, say so: --accept-base"
            );
        }
        StreamRemedy::AcceptResize => "if it was resized on purpose, say so: --accept-resize",
        StreamRemedy::MakePointsAtMarks { group } => {
            return format!(
                "let marks alone make points: mtctl group set --group {group} --point-every none"
            );
        }
        StreamRemedy::NameVolume { volumes } => {
            return format!("say which one it is of: --volume NAME, of {volumes}");
        }
        StreamRemedy::NameVolumeOf { input } => {
            return format!("say what it is called: VOLUME={input}");
        }
        StreamRemedy::NameDisk { volume } => {
            return format!("name its disk: --map {volume}=DEVICE");
        }
        StreamRemedy::NameDisks => {
            "name the disk of each volume: --map SOURCE=DEVICE, once for each"
        }
        StreamRemedy::NameSize => "say it: --size SIZE",
        StreamRemedy::NameMark => {
            "merge streams that end at one moment; if these do, say what that is called: --mark \
             NAME"
        }
        StreamRemedy::NameFormat => {
            "a raw image is taken for one only when it is named: add --format raw"
        }
    };
    text.to_owned()
}

fn again(files: &[String]) -> String {
    let files = match files {
        [] => String::new(),
        files => format!(" ({})", files.join(", ")),
    };
    format!("apply that stream again{files}: it goes on where it stopped")
}

fn of_disk(remedy: &DiskRemedy) -> String {
    let text = match remedy {
        DiskRemedy::Choose => "name another disk: mtctl disks lists them",
        DiskRemedy::ChooseOrMakeImage => {
            "mtctl disks lists the disks; an image file has to be there: truncate --size SIZE FILE"
        }
        DiskRemedy::LookAgain => "see what it is now with: mtctl disks --all; then start again",
        DiskRemedy::SeeUsers { path, is_read } => {
            let otherwise = match is_read {
                true => "read a recovery point of it: --group GROUP --to POINT",
                false => "name another disk",
            };
            return format!("see who uses it with: lsblk {path}; fuser -v {path}; or {otherwise}");
        }
        DiskRemedy::OpenAsRoot => "run it as root: sudo mtctl …; or see who may: lsattr, ls -l",
        DiskRemedy::NameMap { map } => {
            return format!("name the map instead: /dev/mapper/{map}; {SECOND_PATH}");
        }
        DiskRemedy::RemovePartitions { path } => {
            return format!(
                "take the mappings of its partitions away: kpartx -d {path}; {SECOND_PATH}"
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
            "copy it anew, while nothing writes to either; `mtctl verify` says what differs"
        }
        DiskRemedy::HashAlike => "make them anew with leaves of one size: mtctl digest --leaf",
        DiskRemedy::HashPoint { group, point } => {
            return format!(
                "take one that was made of this point and volume: mtctl digest --group {group} \
                 --to id:{point} --output FILE; or attach the disk"
            );
        }
        DiskRemedy::RollBackAgain => {
            "something else wrote to it; roll back again (--accept-target), and keep others from \
             the disk"
        }
    };
    text.to_owned()
}

const SECOND_PATH: &str =
    "where no second path leads to the disk, mtctl check says how to get it back";

fn accept(group: &str) -> String {
    format!(
        "name the disk that has been written so far, or begin another group; if it is the one \
         (`mtctl group show --group {group}` has what is known), say so: --accept-target"
    )
}

fn name_as_before(group: &str, volume: Option<&str>, is_named_by_stream: bool) -> String {
    let typed = match volume {
        None => "--target DEVICE".to_owned(),
        Some(volume) if is_named_by_stream => format!("--map {volume}=DEVICE"),
        Some(volume) => format!("--volume {volume} --target DEVICE"),
    };
    format!(
        "name it as it was named before: {typed}; to begin anew, first give it up: mtctl group \
         release --group {group}"
    )
}

fn of_point(remedy: &PointRemedy) -> String {
    let text = match remedy {
        PointRemedy::List => "see which are kept with: mtctl points list",
        PointRemedy::ListBetween { first, last } => {
            return format!("kept are {first} to {last}; `mtctl points list` shows them all");
        }
        PointRemedy::ListLost => {
            "points before it cannot be reached; see which with: mtctl journal check"
        }
        PointRemedy::Unpin { group, point } => return unpin(group, point),
        PointRemedy::UnpinOrKeepOverwritten { group, point } => {
            return format!("{}; or keep what is overwritten", unpin(group, point));
        }
        PointRemedy::UnpinForRoom { group, point } => {
            return format!(
                "unpin it (mtctl points unpin id:{point} --group {group}), enlarge the volume, or \
                 {KEEP_NOTHING}"
            );
        }
        PointRemedy::GiveUpForRoom => {
            return format!(
                "enlarge the volume, let them go (--give-up-points), or {KEEP_NOTHING}"
            );
        }
        PointRemedy::MakeRoom => {
            "enlarge the volume, end what exports points of the group, or raise its limit (mtctl \
             group set --retention-bytes); --without-undo keeps nothing of what is overwritten, \
             and cannot be taken back; --give-up-points tries all the same, and where it stops for \
             want of room the same command goes on"
        }
        PointRemedy::RaiseLimit { group } => {
            return format!(
                "allow more: mtctl group set --group {group} --retention-bytes SIZE|none; then run \
                 the same command again"
            );
        }
        PointRemedy::GoToLatest { group } => {
            return format!(
                "go to one: mtctl rollback --group {group} --to latest; or apply the stream to its \
                 end"
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
    "keep nothing of what is overwritten (--without-undo: it cannot be taken back)";

fn unpin(group: &str, point: &str) -> String {
    format!("unpin it: mtctl points unpin {point} --group {group}")
}

fn of_group(remedy: &GroupRemedy) -> String {
    let text = match remedy {
        GroupRemedy::List => "see what is there: mtctl group list",
        GroupRemedy::SeeOrChooseName { group } => {
            return format!("see it with `mtctl group show --group {group}`, or take another name");
        }
        GroupRemedy::ApplyAgainOrRecover { group } => {
            return format!(
                "apply the same stream to its end, or go back: mtctl recover --group {group}"
            );
        }
        GroupRemedy::KeepHistory => {
            "apply a stream with --retention, and there is one from then on"
        }
        GroupRemedy::NameHistory => "name the directory that the history is in: --retention DIR",
        GroupRemedy::CheckJournal => {
            "see how much is damaged with `mtctl journal check`; the disks are as they were left, \
             and nothing was written"
        }
        GroupRemedy::CheckOrRelease => {
            "see with `mtctl journal check`; `mtctl group release` lets go of what is not there \
             any more"
        }
        GroupRemedy::RebuildState { group, is_untouched } => {
            return rebuild(group.as_deref(), *is_untouched);
        }
    };
    text.to_owned()
}

/// A group that `blockio` does not know at that place is added as to every text
/// ([`crate::attention::with_group`]).
fn rebuild(group: Option<&str>, is_untouched: bool) -> String {
    let first = if is_untouched { "nothing was written or removed; " } else { "" };
    let group = group.map_or_else(String::new, |group| format!(" --group {group}"));
    format!(
        "{first}put back the newest state there was, or make it anew from the journal: mtctl \
         journal rebuild{group}"
    )
}
