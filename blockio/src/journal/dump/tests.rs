//! A line for each point, segment and record that counts, and one that says where a segment is
//! damaged.

use super::*;
use crate::journal::by_hand::{ByHand, Written, memo, state, volume};
use crate::journal::catalogue::{NewPoint, PointKind};

/// Two segments of the start, and two of the open epoch. Each has one more record than the state
/// knows.
fn segments() -> [Written; 4] {
    let first = Written::new(1, 0, 1).epoch(&memo(&[0], 1)).volume(&volume(0, "db"));
    let second = Written::new(2, 0, 3).image(0, 0);
    let third = Written::new(3, 1, 4).epoch(&memo(&[1], 4));
    [first, second, third, Written::new(4, 1, 5).image(0, 1)]
}

fn catalogue(segments: &[Written; 4]) -> Catalogue {
    let mut known = state(&[&segments[3]]).journal.unwrap();
    let [first, second, third, fourth] = segments.each_ref().map(Written::span);
    let new = NewPoint { time: 5, kind: PointKind::Crash, name: Some("now".to_owned()) };
    known.seal(vec![first, second], new, 5);
    Arc::make_mut(known.points.last_mut().unwrap()).spans = vec![third, fourth];
    known.volumes.push(volume(0, "db").is);
    known
}

fn lines(segments: &[&Written], known: &Catalogue, options: DumpOptions<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut print = |line: &str| {
        lines.push(line.to_owned());
        Ok(())
    };
    dump(&ByHand::with(segments).arc(), known, options, &mut print).unwrap();
    lines
}

/// The beginnings of these lines.
fn begins(lines: &[String]) -> Vec<String> {
    let words = |line: &String| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    lines.iter().map(words).collect()
}

#[test]
fn all_records_that_count_are_printed_and_of_the_last_segment_what_follows() {
    let known = segments();
    let catalogue = catalogue(&known);
    let more = known.clone().map(|segment| segment.image(0, 7));
    let printed = lines(&more.each_ref(), &catalogue, DumpOptions::default());
    assert_eq!(
        begins(&printed),
        [
            "point 0 (start)",
            "segment 1 epoch",
            "record 1 epoch-begins",
            "record 2 volume-begins",
            "segment 2 epoch",
            "record 3 images",
            "point 1 \"now\"",
            "segment 3 epoch",
            "record 4 epoch-begins",
            "segment 4 epoch",
            "record 5 images",
            "record 6 images",
        ]
    );
    assert!(
        printed[5].starts_with("  record 3  images  at 4096  entries 1  of 4096  payload 4096")
    );
    assert!(
        printed[2].starts_with("  record 1  epoch-begins  at 4096  payload "),
        "{}",
        printed[2]
    );
}

#[test]
fn entries_that_are_longer_together_than_a_volume_can_be_are_counted_all_the_same() {
    let known = segments();
    let catalogue = catalogue(&known);
    let [first, second, third, fourth] = known.clone();
    let most = (0, !0xfff);
    let fourth = fourth.zeros(0, &[most, most]);
    let printed = lines(&[&first, &second, &third, &fourth], &catalogue, DumpOptions::default());
    let both = 2 * u128::from(most.1);
    assert!(printed[11].contains(&format!("entries 2  of {both}  payload 0")), "{}", printed[11]);
}

#[test]
fn of_one_point_only_its_epoch_is_printed() {
    let known = segments();
    let catalogue = catalogue(&known);
    for (point, segments) in
        [(0, ["segment 1 epoch", "segment 2 epoch"]), (1, ["segment 3 epoch", "segment 4 epoch"])]
    {
        let options = DumpOptions { point: Some(&catalogue.points[point]), extents: true };
        let printed = begins(&lines(&known.each_ref(), &catalogue, options));
        let found: Vec<_> = printed.iter().filter(|line| line.starts_with("segment")).collect();
        assert_eq!(found, segments.iter().collect::<Vec<_>>());
        assert_eq!(printed.iter().filter(|line| line.starts_with("point")).count(), 1);
        assert!(printed.iter().any(|line| line.starts_with("\"db\" ")), "{printed:?}");
    }
}

#[test]
fn a_record_that_is_not_there_is_damage_and_the_end_of_what_was_written_is_none() {
    let known = segments();
    let catalogue = catalogue(&known);
    let damage = |lines: Vec<String>| -> Vec<String> {
        lines.into_iter().filter(|line| line.contains("DAMAGED")).collect()
    };
    assert_eq!(damage(lines(&known.each_ref(), &catalogue, DumpOptions::default())), [""; 0]);
    let short = Written::new(1, 0, 1).epoch(&memo(&[0], 1));
    let [_, second, third, fourth] = &known;
    let printed = lines(&[&short, second, third, fourth], &catalogue, DumpOptions::default());
    assert_eq!(
        damage(printed),
        ["  record 2 at 12288: DAMAGED: no header: it does not begin with a header"]
    );
}

#[test]
fn a_segment_that_cannot_be_read_has_a_line_that_says_why() {
    let known = segments();
    let catalogue = catalogue(&known);
    let [_, second, third, fourth] = &known;
    let other = second.clone().with(|header| header.journal = [8; 16]);
    let printed = lines(&[&other, third, fourth], &catalogue, DumpOptions::default());
    assert_eq!(printed[1], "segment 1: entity not found");
    assert_eq!(printed[2], "segment 2: it belongs to another journal");
}
