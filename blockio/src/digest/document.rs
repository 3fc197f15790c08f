//! The digest as a JSON document, written and read strictly: docs/format/digest-v1.md. A document
//! is believed only if its root follows from its leaves.

use std::io::{self, BufWriter, Write};

use blake3::Hash;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{LeafSize, TreeDigest};
use crate::units::ByteCount;
use crate::{Error, ErrorKind, Result};

/// The version that is written, and the only one accepted.
const VERSION: u64 = 1;
/// The key that a document begins with.
const MAGIC: &str = "\"mtctl_digest\"";
const BLAKE3: &str = "blake3";
/// The key context of the check: no other hash of ours can be mistaken for one.
const CHECK_CONTEXT: &str = "mtctl digest-v1 2026 check of length, leaf size and root";

/// A digest, and a description of its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it was made of, for people.
    pub of: String,
    /// The digest.
    pub digest: TreeDigest,
}

/// Whether a file that begins with `bytes` is meant as a digest: a JSON object whose first key is
/// ours. A few dozen bytes are enough.
#[must_use]
pub fn is_document(bytes: &[u8]) -> bool {
    let after = |bytes: &[u8]| bytes.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::to_vec);
    after(bytes).is_some_and(|rest| rest.trim_ascii_start().starts_with(MAGIC.as_bytes()))
}

impl Document {
    /// Writes the document, followed by a line end.
    ///
    /// # Errors
    ///
    /// The error of `output`.
    pub fn write(&self, output: impl Write) -> io::Result<()> {
        let mut output = BufWriter::new(output);
        let digest = &self.digest;
        let fields = DocumentText {
            mtctl_digest: VERSION,
            algorithm: BLAKE3.to_owned(),
            of: self.of.clone(),
            length_bytes: digest.length().get(),
            leaf_bytes: digest.leaf_size().bytes(),
            root: Hex(digest.root()),
            check: Hex(check(digest)),
            leaves: digest.leaves().iter().copied().map(Hex).collect(),
        };
        serde_json::to_writer_pretty(&mut output, &fields)?;
        output.write_all(b"\n")?;
        output.flush()
    }

    /// Parses `text` as a document.
    ///
    /// # Errors
    ///
    /// `Refused`: it has another version. `Integrity`: it is not a document, or was changed.
    pub fn read(text: &[u8]) -> Result<Self> {
        let Version { mtctl_digest } = serde_json::from_slice(text)
            .map_err(|cause| Error::integrity("reading a digest", cause))?;
        if mtctl_digest != VERSION {
            let context = format!("reading a digest: its version is {mtctl_digest}");
            return Err(Error::refused(context)
                .with_hint("this program reads version 1 only: use the program that made it"));
        }
        let fields: DocumentText = serde_json::from_slice(text)
            .map_err(|cause| Error::integrity("reading a digest", cause))?;
        fields.checked()
    }
}

#[derive(Deserialize)]
struct Version {
    mtctl_digest: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentText {
    mtctl_digest: u64,
    algorithm: String,
    of: String,
    length_bytes: u64,
    leaf_bytes: u64,
    root: Hex,
    check: Hex,
    leaves: Vec<Hex>,
}

impl DocumentText {
    fn checked(self) -> Result<Document> {
        if self.algorithm != BLAKE3 {
            return Err(wrong(format!("its algorithm is {:?}", self.algorithm)));
        }
        let leaf_size = LeafSize::new(self.leaf_bytes).map_err(|error| wrong(error.chain()))?;
        let leaves = self.leaves.into_iter().map(|Hex(leaf)| leaf).collect();
        let digest = TreeDigest::of_leaves(ByteCount::new(self.length_bytes), leaf_size, leaves)
            .map_err(|error| wrong(error.chain()))?;
        if digest.root() != self.root.0 {
            return Err(wrong("its root does not match its leaves".to_owned()));
        }
        if check(&digest) != self.check.0 {
            return Err(wrong("its check value does not match its length and root".to_owned()));
        }
        Ok(Document { of: self.of, digest })
    }
}

/// The leaves do not determine the length of the last one; this does.
fn check(digest: &TreeDigest) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(CHECK_CONTEXT);
    hasher.update(&digest.length().get().to_le_bytes());
    hasher.update(&digest.leaf_size().bytes().to_le_bytes());
    hasher.update(digest.root().as_bytes());
    hasher.finalize()
}

fn wrong(what: String) -> Error {
    Error::new(ErrorKind::Integrity, format!("reading a digest: {what}"))
        .with_hint("the file was damaged or edited: fetch it again, or make a new one")
}

/// A hash as 64 hexadecimal digits.
struct Hex(Hash);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_hex())
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        Hash::from_hex(text.as_bytes()).map(Hex).map_err(serde::de::Error::custom)
    }
}
