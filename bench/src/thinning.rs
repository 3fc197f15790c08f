//! Contenders that apply a day of changes to 60 volumes, with a point every five minutes: with all
//! points kept, which is the reference, and with those that are older than two hours thinned to one
//! an hour meanwhile. What thinning costs the apply is the difference.

use anyhow::{Context, Result};

use crate::contender::{Contender, Leaves, Role};
use crate::history::RetentionVolume;
use crate::representation::Representations;
use crate::representation::native::slice_name;
use crate::tools::Tools;

/// Applying to the slices of the target, with thinning and without.
///
/// # Errors
///
/// There is no stream.
pub(crate) fn beside(
    volume: &RetentionVolume<'_>,
    files: &Representations,
    tools: &Tools,
) -> Result<Vec<Contender>> {
    let stream = files.native.as_deref().context("there is no stream")?;
    let maps: Vec<String> = (0..)
        .zip(volume.target().slices())
        .map(|(number, slice)| format!(" --map {}={}", slice_name(number), slice.display()))
        .collect();
    let apply = |name: &str, role, keep_all: &str| {
        let options = format!("--retention-window 48h --keep-all {keep_all}{}", maps.concat());
        let apply = volume.apply_to(name, role, stream, &options, &tools.mtctl);
        Contender { leaves: Leaves::Slices, ..apply }
    };
    let all = apply("mtctl apply, all points kept", Role::Reference, "48h");
    let thinned = apply("mtctl apply, thinned meanwhile", Role::Subject, "2h");
    let again = thinned.again();
    Ok(vec![all, thinned, again])
}
