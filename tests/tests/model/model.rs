//! The expected state: the contents of the volumes at each mark, and the place of the disks.

use std::collections::BTreeMap;

/// The contents of the volumes, one after the other.
pub(crate) type Images = Vec<Vec<u8>>;

/// A stream, and the contents of the volumes that it produces.
pub(crate) struct Stream {
    /// The path of its file.
    pub(crate) path: String,
    /// The snapshot that it leads to.
    pub(crate) to: String,
    /// The names of its marks, the last at its end.
    pub(crate) marks: Vec<String>,
}

/// The place of the disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At this mark or point, with nothing else written.
    At(String),
    /// Within the stream of this number, which can be continued.
    Within(usize),
    /// Unknown: a rollback must come first.
    Lost,
}

/// The model.
#[derive(Default)]
pub(crate) struct Model {
    /// By the name of a mark, or of a manual point.
    images: BTreeMap<String, Images>,
    /// The stream that it belongs to, and whether it is its end; `None` before all streams.
    streams: BTreeMap<String, Option<(usize, bool)>>,
}

impl Model {
    /// Declares that the volumes hold `images` at `name`, within `stream` and possibly at its end,
    /// or before any stream.
    pub(crate) fn holds(&mut self, name: &str, images: &Images, stream: Option<(usize, bool)>) {
        self.images.insert(name.to_owned(), images.clone());
        self.streams.insert(name.to_owned(), stream);
    }

    /// The contents of the volumes at `name`.
    #[track_caller]
    pub(crate) fn images(&self, name: &str) -> &Images {
        self.images.get(name).unwrap_or_else(|| panic!("{name:?} is none of our points"))
    }

    /// The stream that `name` belongs to, and whether it is its end.
    #[track_caller]
    pub(crate) fn stream(&self, name: &str) -> Option<(usize, bool)> {
        self.streams[name]
    }
}
