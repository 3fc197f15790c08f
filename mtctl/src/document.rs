//! The JSON document of a verb: its result, with the warnings and alarms of the run.

use std::io::Write;

use serde::Serialize;

use crate::{alarms, attention, output};

/// Prints `value` as the JSON document of a verb: with the warnings, and the alarms of the group
/// that the run is about.
pub(crate) fn print(out: &mut impl Write, value: &impl Serialize) -> anyhow::Result<()> {
    print_with(out, value, Some(alarms::of_this_run()))
}

/// The same with these `alarms`, or with those that `value` contains.
pub(crate) fn print_with(
    out: &mut impl Write,
    value: &impl Serialize,
    alarms: Option<Vec<String>>,
) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Document<'a, T> {
        #[serde(flatten)]
        value: &'a T,
        warnings: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        alarms: Option<Vec<String>>,
    }
    output::print_json(out, &Document { value, warnings: attention::warnings(), alarms })
}
