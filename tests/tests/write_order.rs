//! Writes become durable in the order of docs/format/retention-journal-v2.md, checked on the system
//! calls that the program really makes: no other test fails if a flush is missing, because the page
//! cache survives a kill.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use mt_tests::program::{command, finish, mtctl};
use mt_tests::random::Random;
use mt_tests::scratch_machine::on_a_scratch_machine;
use mt_tests::skip::{has_program, skipped};

/// Calls that write, make durable, or name.
const CALLS: &str = "trace=write,pwrite64,pwritev,pwritev2,fsync,fdatasync,rename,renameat,\
                     renameat2,fallocate";
const TARGET: &str = "target.img";

/// Something that happened to a file, given by the last component of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Written(String),
    Durable(String),
    Renamed(String, String),
}

/// The events of a trace for files of the group, its directory, and the target. A write counts from
/// its beginning, everything else from its end, because other threads make calls in between.
fn events(trace: &str) -> Vec<Event> {
    let mut begun = BTreeMap::new();
    let mut events = Vec::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(beginning) = call.strip_suffix("<unfinished ...>") {
            let event = event(beginning);
            let is_write = matches!(event, Some(Event::Written(_)));
            events.extend(event.clone().filter(|_| is_write));
            begun.insert(thread, event.filter(|_| !is_write));
        } else if call.starts_with("<... ") {
            let event = begun.remove(thread).flatten();
            events.extend(event.filter(|_| !call.contains(" = -1 ")));
        } else if !call.contains(" = -1 ") {
            events.extend(event(call));
        }
    }
    events
}

/// The event of a call.
fn event(call: &str) -> Option<Event> {
    let (name, arguments) = call.split_once('(')?;
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    if name.starts_with("rename") {
        let mut names = arguments.split('"').skip(1).step_by(2);
        return Some(Event::Renamed(last(names.next()?), last(names.next()?)));
    }
    let file = last(arguments.split_once('<')?.1.split_once('>')?.0);
    let is_ours = ["state", "segment"].iter().any(|name| file.starts_with(name));
    if !is_ours && file != TARGET && file != "g" {
        return None;
    }
    match name {
        "fsync" | "fdatasync" => Some(Event::Durable(file)),
        // Nobody reads the contents of space that was freed.
        "fallocate" if arguments.contains("PUNCH_HOLE") && file != TARGET => None,
        _ => Some(Event::Written(file)),
    }
}

fn is_state(file: &str) -> bool {
    file == "state" || file == "state.copy"
}

/// Where the order of `events` differs from the documented one.
fn wrong(events: &[Event]) -> Option<String> {
    let mut pending = BTreeSet::new();
    for (at, event) in events.iter().enumerate() {
        let of = |names: &dyn Fn(&str) -> bool| pending.iter().find(|file: &&String| names(file));
        match event {
            Event::Written(file) => {
                // Barrier 1: the images of overwritten data are durable.
                let images = of(&|name| name.starts_with("segment-")).filter(|_| file == TARGET);
                // Barriers 2 and 3: everything that a state says is true. One copy is written after
                // the other.
                let said = of(&|name| name != file).filter(|_| file.starts_with("state"));
                if let Some(earlier) = images.or(said) {
                    return Some(format!("{at}: {file} is written, and {earlier} is not durable"));
                }
                pending.insert(file.clone());
            }
            Event::Durable(file) => {
                pending.remove(file);
            }
            Event::Renamed(from, to) => {
                // A segment gets its name early: it is durable with its first record, before
                // anything relies on either.
                let is_pending = pending.remove(from);
                if is_pending && from == "segment.making" {
                    pending.insert(to.clone());
                } else if is_pending {
                    return Some(format!("{at}: {from} becomes {to} before it is durable"));
                }
                if events.get(at + 1) != Some(&Event::Durable("g".to_owned())) {
                    return Some(format!("{at}: the name {to} is not made durable"));
                }
            }
        }
    }
    let left: Vec<_> = pending.into_iter().collect();
    (!left.is_empty()).then(|| format!("at the end {left:?} are not durable"))
}

/// Whether the name of the group's new directory is durable before its first state gets its name.
fn is_the_group_durable_before_its_state(trace: &str) -> bool {
    let place = |is_it: &dyn Fn(&str) -> bool| trace.lines().position(is_it);
    let named = place(&|line| line.contains("fsync(") && line.contains("</mnt/retention>"));
    let state = place(&|line| line.contains("rename") && line.contains("/state\""));
    named.zip(state).is_some_and(|(named, state)| named < state)
}

#[test]
fn what_is_written_is_durable_before_what_relies_on_it() {
    if !has_program("strace") {
        return skipped("strace tells the calls");
    }
    on_a_scratch_machine(|machine| {
        let _retention = machine.retention(512);
        let file = |name: &str| machine.file(name).to_str().unwrap().to_owned();
        let mut random = Random::new(1);
        for name in ["one", "two", TARGET] {
            // One batch, one record: with several, the next ones are preserved while one is
            // written.
            fs::write(file(name), random.bytes(1 << 20)).unwrap();
        }
        let (one, two, target, trace) = (file("one"), file("two"), file(TARGET), file("trace"));
        let apply = |image| vec!["apply", image, "--format", "raw", "--target", &target];
        let verbs = [
            [apply(&one), vec!["--engine", "blocking"]].concat(),
            apply(&two),
            vec!["points", "create", "--name", "here"],
            vec!["rollback", "--to", "1", "--yes"],
            vec!["rollback", "--to", "here", "--yes", "--without-undo"],
            vec!["commit", "--yes"],
        ];
        let (mut renamed, mut seen, mut is_first) = (0, BTreeSet::new(), true);
        for verb in verbs {
            let mut words = vec!["-f", "-y", "-qq", "-o", &trace, "-e", CALLS];
            words.push(mtctl().to_str().unwrap());
            words.extend(&verb);
            words.extend(["--group", "g"]);
            finish(&mut command("strace", &words)).exits(0);
            let traced = fs::read_to_string(&trace).unwrap();
            if is_first {
                assert!(is_the_group_durable_before_its_state(&traced), "{traced}");
                is_first = false;
            }
            let events = events(&traced);
            let is_rename = |event: &&Event| matches!(event, Event::Renamed(_, to) if is_state(to));
            renamed += events.iter().filter(is_rename).count();
            let shown = || format!("{}\n{events:#?}", verb.join(" "));
            assert_eq!(wrong(&events), None, "{}", shown());
            seen.extend(events.into_iter().filter_map(|event| match event {
                Event::Written(file) => Some(file),
                Event::Durable(_) | Event::Renamed(..) => None,
            }));
        }
        let is_seen = |name: &str| seen.iter().any(|file| file.starts_with(name));
        assert!(renamed > 0 && is_seen(TARGET) && is_seen("segment-"), "{seen:?}");
    });
}

#[test]
fn an_order_that_is_wrong_is_told() {
    let written = |file: &str| Event::Written(file.to_owned());
    let durable = |file: &str| Event::Durable(file.to_owned());
    let renamed = |from: &str, to: &str| Event::Renamed(from.to_owned(), to.to_owned());
    let good = [
        written("segment-1"),
        durable("segment-1"),
        written(TARGET),
        durable(TARGET),
        written("state.abc"),
        durable("state.abc"),
        renamed("state.abc", "state"),
        durable("g"),
        written("state.copy"),
        durable("state.copy"),
    ];
    assert_eq!(wrong(&good), None);
    for without in [1, 3, 5, 7, 9] {
        let mut bad = good.to_vec();
        bad.remove(without);
        assert!(wrong(&bad).is_some(), "without {:?}", good[without]);
    }
    let named = [
        written("segment.making"),
        renamed("segment.making", "segment-1"),
        durable("g"),
        durable("segment-1"),
        written(TARGET),
        durable(TARGET),
    ];
    assert_eq!(wrong(&named), None);
    for without in [2, 3, 5] {
        let mut bad = named.to_vec();
        bad.remove(without);
        assert!(wrong(&bad).is_some(), "without {:?}", named[without]);
    }
}
