//! What mtctl prints, file by file in tests/golden: help, usage errors, tables, JSON and exit codes
//! on recorded hosts. TRYCMD=overwrite writes it anew.

#[test]
fn the_command_prints_what_it_printed_before() {
    // A UUID is drawn for each plan; [..] stands for it, as for what other tests measure.
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .env("NO_COLOR", "")
        .case("tests/golden/*.trycmd");
}
