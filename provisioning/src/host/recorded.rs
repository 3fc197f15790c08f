//! A host recorded as one JSON document: the files that were read and the commands that were run.
//! Support can replay a customer's host from it; tests do nothing else.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::command::{CommandOutput, CommandRunner, Invocation, RealRunner};
use super::file::io_failed;
use super::memory::{MemoryTree, Node};
use super::ring::RingProbe;
use crate::blank::{Content, Proof};
use system::error::Result;

/// Binary files are recorded as hexadecimal digits; paths, link targets and the output of commands
/// are `lossless_text`, which JSON can hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RecordedNode {
    Text(String),
    Hex(#[serde(with = "hex")] Vec<u8>),
    Directory,
    Link(PathBuf),
    Block { device_number: (u32, u32), blank: RecordedContent, busy: bool },
}

/// The content of a device. Older versions recorded only whether both ends are zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum RecordedContent {
    Said(bool),
    Looked(Content),
}

impl From<Content> for RecordedContent {
    fn from(content: Content) -> Self {
        match content {
            Content::Untold => Self::Said(false),
            Content::Blank(Proof::Ends) => Self::Said(true),
            content => Self::Looked(content),
        }
    }
}

impl From<RecordedContent> for Content {
    fn from(recorded: RecordedContent) -> Self {
        match recorded {
            RecordedContent::Said(blank) => blank.into(),
            RecordedContent::Looked(content) => content,
        }
    }
}

/// One command and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedCommand {
    /// The command line.
    pub command: String,
    /// Its exit status.
    pub status: Option<i32>,
    /// What it printed on stdout.
    #[serde(default)]
    pub stdout: String,
    /// What it printed on stderr.
    #[serde(default)]
    pub stderr: String,
}

/// A recorded host: serialisable, and accepted by [`super::Host::recorded`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedHost {
    /// Where the record comes from, in words.
    #[serde(default)]
    pub about: String,
    /// The result of probing io_uring.
    #[serde(default = "unknown_ring")]
    pub(super) io_uring: RingProbe,
    files: BTreeMap<PathBuf, RecordedNode>,
    commands: Vec<RecordedCommand>,
}

fn unknown_ring() -> RingProbe {
    RingProbe::Unknown
}

impl RecordedHost {
    /// A record made by hand from `tree` and `commands`.
    pub fn new(about: &str, tree: &MemoryTree, commands: Vec<RecordedCommand>) -> Self {
        let files = tree.nodes().into_iter().map(|(path, node)| (path, written(node))).collect();
        Self { about: about.to_owned(), io_uring: RingProbe::Unknown, files, commands }
    }

    /// Sets the result of probing io_uring.
    #[must_use]
    pub fn with_io_uring(self, io_uring: RingProbe) -> Self {
        Self { io_uring, ..self }
    }

    /// The tree in memory, and the runner that answers from the record.
    pub(super) fn into_parts(self) -> (MemoryTree, RecordedRunner) {
        let tree = MemoryTree::new();
        for (path, node) in self.files {
            tree.put(path, replayed(node));
        }
        (tree, RecordedRunner { commands: self.commands })
    }
}

fn written(node: Node) -> RecordedNode {
    match node {
        Node::File(bytes) => match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => RecordedNode::Text(text),
            Ok(text) => RecordedNode::Hex(text.into_bytes()),
            Err(error) => RecordedNode::Hex(error.into_bytes()),
        },
        Node::Directory => RecordedNode::Directory,
        Node::Link(target) => RecordedNode::Link(target),
        Node::BlockDevice { device_number, blank, busy } => {
            RecordedNode::Block { device_number, blank: blank.into(), busy }
        }
    }
}

fn replayed(node: RecordedNode) -> Node {
    match node {
        RecordedNode::Text(text) => Node::File(text.into_bytes()),
        RecordedNode::Hex(bytes) => Node::File(bytes),
        RecordedNode::Directory => Node::Directory,
        RecordedNode::Link(target) => Node::Link(target),
        RecordedNode::Block { device_number, blank, busy } => {
            Node::BlockDevice { device_number, blank: blank.into(), busy }
        }
    }
}

/// Answers from the record; a command that was not recorded behaves as if it were not installed.
pub(super) struct RecordedRunner {
    commands: Vec<RecordedCommand>,
}

impl CommandRunner for RecordedRunner {
    fn run(&self, invocation: &Invocation, watch: &mut dyn FnMut(&str)) -> Result<CommandOutput> {
        let typed = invocation.to_string();
        let Some(found) = self.commands.iter().find(|recorded| recorded.command == typed) else {
            let cause = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(io_failed("starting (not in the record)", Path::new(&typed), cause));
        };
        found.stdout.lines().for_each(watch);
        Ok(CommandOutput {
            status: found.status,
            stdout: found.stdout.clone(),
            stderr: found.stderr.clone(),
        })
    }
}

/// Runs commands and records their results.
pub(super) struct RecordingRunner(pub(super) Rc<RefCell<Vec<RecordedCommand>>>);

impl CommandRunner for RecordingRunner {
    fn run(&self, invocation: &Invocation, watch: &mut dyn FnMut(&str)) -> Result<CommandOutput> {
        let output = RealRunner.run(invocation, watch)?;
        self.0.borrow_mut().push(RecordedCommand {
            command: invocation.to_string(),
            status: output.status,
            stdout: output.stdout.clone(),
            stderr: output.stderr.clone(),
        });
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Host;
    use super::*;

    #[test]
    fn a_record_survives_json_with_binary_files_and_links() {
        let tree = MemoryTree::new();
        tree.put("/sys/page", Node::File(vec![0, 0x83, 0, 0xff]));
        tree.put("/sys/link", Node::Link("page".into()));
        tree.put_text("/etc/fstab", "# empty\n");
        let record = RecordedHost::new("a test", &tree, Vec::new());
        let json = serde_json::to_string(&record).unwrap();
        let read: RecordedHost = serde_json::from_str(&json).unwrap();
        assert_eq!(read, record);
        let host = Host::recorded(read);
        assert_eq!(host.machine().read("/sys/link").unwrap(), [0, 0x83, 0, 0xff]);
    }

    #[test]
    fn what_lies_on_a_device_is_replayed_also_from_a_record_that_only_says_blank() {
        let looked = Content::Blank(Proof::Whole { bytes: 512 });
        for (blank, text) in [
            (Content::from(true), r#""blank":true"#),
            (Content::from(false), r#""blank":false"#),
            (looked, r#""blank":{"blank":{"whole":{"bytes":512}}}"#),
        ] {
            let tree = MemoryTree::new();
            let device_number = (8, 0);
            tree.put(
                "/dev/sda",
                Node::BlockDevice { device_number, blank: blank.clone(), busy: false },
            );
            let json = serde_json::to_string(&RecordedHost::new("", &tree, Vec::new())).unwrap();
            assert!(json.contains(text), "{json}");
            let host = Host::recorded(serde_json::from_str(&json).unwrap());
            assert_eq!(host.content(Path::new("/dev/sda")).unwrap(), blank);
        }
    }

    #[test]
    fn a_command_that_was_not_recorded_is_an_error() {
        let commands = vec![RecordedCommand {
            command: "lsblk --json".into(),
            status: Some(0),
            stdout: "{}\n".into(),
            stderr: String::new(),
        }];
        let host = Host::recorded(RecordedHost::new("", &MemoryTree::new(), commands));
        let known = Invocation::new("lsblk").argument("--json");
        assert_eq!(host.ask_checked(&known).unwrap(), "{}\n");
        assert!(host.ask(&Invocation::new("lsblk")).is_err());
    }
}
