//! Merges the options of our row with those that an administrator added to it. Why we set ours is
//! explained where they are made (`RetentionRow`).

use super::mark::Mark;

/// Options that decide when a file's last access is recorded: an administrator who chose one does
/// not want ours.
const ACCESS_TIMES: [&str; 6] =
    ["atime", "relatime", "norelatime", "strictatime", "nostrictatime", "noatime"];

/// The existing options in their order, plus those of `ours` that are missing: before our mark, or
/// at the end. Of the existing options, only those that would undo ours are removed.
pub(super) fn merged(theirs: &[String], ours: &[String]) -> Vec<String> {
    let is_undone = |option: &&String| undoes(option, ours);
    let mut options: Vec<String> =
        theirs.iter().filter(|option| !is_undone(option)).cloned().collect();
    let has_mark = |option: &String| Mark::ALL.iter().any(|mark| mark.option() == option);
    let mut at = options.iter().position(has_mark).unwrap_or(options.len());
    for one in ours {
        if !options.iter().any(|option| says(option, one)) {
            options.insert(at, one.clone());
            at += 1;
        }
    }
    options
}

/// The volume is mounted writable at every boot and stops on an error; and a mount(8) that would
/// pass `x-` options to the kernel gets none.
fn undoes(option: &str, ours: &[String]) -> bool {
    let has = |name: &str| ours.iter().any(|one| one == name);
    let is_mark = Mark::ALL.iter().any(|mark| mark.option() == option);
    match option {
        "noauto" | "ro" | "errors=continue" => true,
        _ if is_mark => !has(option),
        _ => option.starts_with("x-") && has(Mark::Comment.option()),
    }
}

/// Whether `option` makes `ours` unnecessary: it is the same, or the same option with a value that
/// the administrator chose.
fn says(option: &str, ours: &str) -> bool {
    let name = |text: &str| text.split_once('=').map(|(name, _)| name.to_owned());
    let is_mark = Mark::ALL.iter().any(|mark| mark.option() == ours);
    match ours {
        // Stands for everything that the other options leave open.
        "defaults" => true,
        "noatime" => ACCESS_TIMES.contains(&option),
        _ if is_mark => option == ours,
        _ => option == ours || (name(ours).is_some() && name(option) == name(ours)),
    }
}

#[cfg(test)]
mod tests {
    use super::merged;

    const OURS: &str =
        "defaults,nofail,x-systemd.device-timeout=90s,noatime,errors=remount-ro,x-mtctl";

    fn split(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn theirs_stay_in_their_order_and_what_is_missing_is_added() {
        for (theirs, expected) in [
            (OURS, OURS),
            (
                "nofail,x-mtctl,discard",
                "nofail,x-systemd.device-timeout=90s,noatime,errors=remount-ro,x-mtctl,discard",
            ),
            (
                "rw,x-systemd.device-timeout=120s,relatime,errors=panic,nofail,x-mtctl",
                "rw,x-systemd.device-timeout=120s,relatime,errors=panic,nofail,x-mtctl",
            ),
        ] {
            assert_eq!(merged(&split(theirs), &split(OURS)).join(","), expected, "{theirs}");
            let once = merged(&split(theirs), &split(OURS));
            assert_eq!(merged(&once, &split(OURS)), once, "{theirs}");
        }
    }

    #[test]
    fn what_would_undo_ours_goes() {
        let theirs = "noauto,ro,errors=continue,nodiratime,x-mtctl";
        let expected = "nodiratime,nofail,x-systemd.device-timeout=90s,noatime,\
                        errors=remount-ro,x-mtctl";
        assert_eq!(merged(&split(theirs), &split(OURS)).join(","), expected);
        let old = "defaults,nofail,noatime,errors=remount-ro,comment=mtctl";
        let merged = merged(&split(&format!("{OURS},usrquota")), &split(old)).join(",");
        assert_eq!(merged, "defaults,nofail,noatime,errors=remount-ro,usrquota,comment=mtctl");
    }
}
