//! The chapters, in order. A new one is a function and a row here.

use anyhow::Result;

use crate::stage::Stage;
use crate::story::Story;
use crate::{homecoming, prepare, ransomware};

/// A title, and the function that tells the chapter.
type Chapter = (&'static str, fn(&mut Story, &mut Stage) -> Result<()>);

/// All chapters.
pub(crate) const CHAPTERS: [Chapter; 14] = [
    ("Three disks", prepare::three_disks),
    ("Is this host a master target?", prepare::not_ready),
    ("The wrong disk is refused", prepare::wrong_disk),
    ("What would be done", prepare::dry_run),
    ("Doing it", prepare::for_real),
    ("Doing it twice changes nothing", prepare::again),
    ("Data, and what survives a reboot", prepare::data),
    ("The result", prepare::result),
    ("A disk comes home", homecoming::all_of_it),
    ("What changed since, and a damaged copy", homecoming::what_changed),
    ("The proof", homecoming::proof),
    ("A week, and a Saturday", ransomware::a_week),
    ("A look at the day before", ransomware::a_look_inside),
    ("Back", ransomware::back),
];
