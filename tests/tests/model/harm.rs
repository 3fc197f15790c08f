//! Harm that somebody does to a group behind the program's back and then undoes: an earlier state,
//! a byte that rots, another disk. Meanwhile, every answer is right or refused.

use std::fs;
use std::path::{Path, PathBuf};

use mt_tests::program::mtctl;

use crate::story::{Counts, GROUP, Listed, Story, Target};

const COPIES: [&str; 2] = ["state", "state.copy"];
/// A byte that rots is within this distance of the beginning of a segment, because these bytes are
/// used.
const ROTS_WITHIN_BYTES: u64 = 256 << 10;

/// Both copies of a state, as far as they exist.
pub(crate) type Copies = [Option<Vec<u8>>; 2];

/// The current copies.
pub(crate) fn copies() -> Copies {
    COPIES.map(|name| fs::read(Path::new(GROUP).join(name)).ok())
}

fn put_back(copies: &Copies) {
    for (name, bytes) in COPIES.iter().zip(copies) {
        let path = Path::new(GROUP).join(name);
        match bytes {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => drop(fs::remove_file(path)),
        }
    }
}

impl Story<'_> {
    /// Asserts that every listed point reads as it was or is refused; any other answer fails.
    #[track_caller]
    fn what_is_told_is_right(&mut self, told: &str) {
        let run = self.machine.mtctl(&["points", "list", "--group", "g", "--json"]);
        assert!(matches!(run.code, Some(0 | 5)), "{told}: {run:#?}");
        if run.code == Some(5) {
            self.counts.refused += 1;
            return;
        }
        for point in Listed::all(&run) {
            for at in 0..self.sizes.len() {
                let run = self.begin_digest(&point, at).wait_with_output().unwrap();
                match run.status.code() {
                    Some(5) => self.counts.refused += 1,
                    Some(0) => {
                        let expected = blake3::hash(&self.model.images(&point.name)[at]).to_hex();
                        let found = String::from_utf8_lossy(&run.stdout);
                        assert!(found.starts_with(expected.as_str()), "{told}: {point:?}");
                        self.counts.views += 1;
                    }
                    _ => panic!("{told}: {point:?}: {run:?}"),
                }
            }
        }
    }

    /// Replaces both copies of the state by those of an earlier step.
    pub(crate) fn put_an_earlier_state_back(&mut self) {
        let now = copies();
        let at = self.random.below(self.earlier.len() as u64) as usize;
        put_back(&self.earlier[at]);
        self.told.push(format!("the state of step {at} is put back, and taken away again"));
        self.what_is_told_is_right(&format!("with the state of step {at}"));
        put_back(&now);
    }

    /// Changes a byte of a segment.
    pub(crate) fn let_a_byte_rot(&mut self) {
        let is_segment = |path: &PathBuf| path.to_string_lossy().contains("/segment-");
        let entries = fs::read_dir(GROUP).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> = entries.filter(is_segment).collect();
        segments.sort();
        let path = segments.swap_remove(self.random.below(segments.len() as u64) as usize);
        let mut bytes = fs::read(&path).unwrap();
        let at = self.random.below(ROTS_WITHIN_BYTES.min(bytes.len() as u64)) as usize;
        let told = format!("byte {at} of {} rots, and heals", path.display());
        self.told.push(told.clone());
        bytes[at] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        self.what_is_told_is_right(&told);
        bytes[at] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
    }

    /// Replaces a disk that was just written by another one: its contents must not be mistaken.
    pub(crate) fn exchange_a_disk(&mut self) {
        let point = self.any_point();
        self.go_to(&point);
        let at = self.random.below(self.sizes.len() as u64) as usize;
        let other = self.random.bytes(self.sizes[at] as usize);
        self.overwrite(at, &other);
        self.told.push(format!("disk {at} is another one, and the same again"));
        let run = self.machine.mtctl(&["points", "create", "--group", "g", "--name", "other"]);
        run.exits(4);
        let before = self.model.images(&point.name)[at].clone();
        self.overwrite(at, &before);
        self.counts.refused += 1;
    }

    fn overwrite(&self, at: usize, bytes: &[u8]) {
        match &self.targets[at] {
            Target::File(path) => fs::write(path, bytes).unwrap(),
            Target::Loop(device) => device.write(0, bytes),
        }
    }

    /// Applies the next stream through a pipe.
    pub(crate) fn apply_from_a_pipe(&mut self) {
        let Some(stream) = self.next_stream() else { return self.recover() };
        let mut words = self.words_of_apply(stream);
        let path = std::mem::replace(&mut words[1], "-".to_owned());
        let script = format!("cat {path} | {} {}", mtctl().display(), words.join(" "));
        let run =
            mt_tests::program::finish(&mut mt_tests::program::command("sh", &["-c", &script]));
        self.told.push(format!("{script} -> {:?}", run.code));
        run.exits(0);
        self.stream_is_done(stream);
    }
}

impl Counts {
    /// What a run of stories must have reached, because otherwise it has shown too little.
    pub(crate) fn are_enough(&self) -> bool {
        let Self { killed, rebuilt, views, points, refused, .. } = *self;
        [killed, rebuilt, views, points, refused].iter().all(|count| *count > 0)
    }
}
