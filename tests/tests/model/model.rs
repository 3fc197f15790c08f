//! What should be: what the volumes held at each mark, and where the disks are.

use std::collections::BTreeMap;

/// What the volumes hold, one after the other.
pub(crate) type Images = Vec<Vec<u8>>;

/// A stream, and what it makes of the volumes.
pub(crate) struct Stream {
    /// Where it is.
    pub(crate) path: String,
    /// The snapshot that it leads to.
    pub(crate) to: String,
    /// The names of its marks, the last at its end.
    pub(crate) marks: Vec<String>,
}

/// Where the disks are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At this mark, or point, and nothing else was written.
    At(String),
    /// Somewhere in the stream of this number: it can be gone on with.
    Within(usize),
    /// Somewhere: a rollback comes first.
    Lost,
}

/// The model.
#[derive(Default)]
pub(crate) struct Model {
    /// By the name of a mark, or of a point that was made by hand.
    images: BTreeMap<String, Images>,
    /// The stream that it is of, and whether it is its end; none before all streams.
    streams: BTreeMap<String, Option<(usize, bool)>>,
}

impl Model {
    /// The volumes hold `images` at `name`: in a stream, and whether at its end; or before any.
    pub(crate) fn holds(&mut self, name: &str, images: &Images, stream: Option<(usize, bool)>) {
        self.images.insert(name.to_owned(), images.clone());
        self.streams.insert(name.to_owned(), stream);
    }

    /// What they hold at `name`.
    #[track_caller]
    pub(crate) fn images(&self, name: &str) -> &Images {
        self.images.get(name).unwrap_or_else(|| panic!("{name:?} is none of our points"))
    }

    /// The stream that `name` is of, and whether it is its end.
    #[track_caller]
    pub(crate) fn stream(&self, name: &str) -> Option<(usize, bool)> {
        self.streams[name]
    }
}
