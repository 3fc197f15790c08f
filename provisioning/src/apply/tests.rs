//! Stopping, refusing and recording in the middle of a plan; complete runs are tested in `tests`.

use std::ops::ControlFlow;

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::host::{CommandOutput, CommandRunner, Invocation, MemoryTree, Node};
use crate::plan::Standing;

/// Every program succeeds and is recorded.
struct Succeeds(Rc<RefCell<Vec<String>>>);

impl CommandRunner for Succeeds {
    fn run(&self, invocation: &Invocation, _: &mut dyn FnMut(&str)) -> Result<CommandOutput> {
        self.0.borrow_mut().push(invocation.to_string());
        Ok(CommandOutput::success(""))
    }
}

fn host(tree: &MemoryTree) -> (Host, Rc<RefCell<Vec<String>>>) {
    let ran = Rc::new(RefCell::new(Vec::new()));
    (Host::scripted(tree.clone(), Box::new(Succeeds(Rc::clone(&ran)))), ran)
}

fn step(id: StepId, actions: Vec<Action>, needs_reboot: bool) -> PlannedStep {
    PlannedStep { id, standing: Standing::ToDo("x".into()), actions, needs_reboot, warning: None }
}

fn run_once(name: &str) -> Action {
    let path = format!("/etc/mtctl/custom-changes.d/{name}");
    Action::RunOnce { path: path.into(), sha256: "00".into() }
}

fn edit(path: &str, before: Option<&str>) -> Action {
    let before = before.map(str::to_owned);
    Action::WriteFile(FileChange { path: path.into(), before, after: "new\n".into() })
}

#[test]
fn a_change_that_ran_is_recorded_even_if_it_was_interrupted() {
    let (host, ran) = host(&MemoryTree::new());
    let steps = vec![step(StepId::CustomChanges, vec![run_once("10"), run_once("20")], false)];
    let carried = apply(&host, &Plan { steps }, &Desired::default(), &mut |event| match event {
        Event::Reached(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(carried.error.map(|error| error.to_string()).as_deref(), Some("interrupted"));
    assert_eq!(ran.borrow().len(), 1);
    let names: Vec<_> = record::load(&host).unwrap().ran_once;
    assert_eq!(names, [OnceRecord { name: "10".into(), sha256: "00".into() }]);
}

#[test]
fn a_restart_is_remembered_before_the_first_change_that_needs_one() {
    let tree = MemoryTree::new();
    tree.put_text("/proc/sys/kernel/random/boot_id", "this-boot\n");
    let (host, _) = host(&tree);
    let steps = vec![step(StepId::Tuning, vec![edit("/etc/a", None)], true)];
    let carried = apply(&host, &Plan { steps }, &Desired::default(), &mut |event| match event {
        Event::ActionStarted(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert!(carried.needs_reboot);
    let pending = record::load(&host).unwrap().reboot_pending;
    assert_eq!(pending.as_deref(), Some("this-boot"));
}

#[test]
fn a_refusal_after_a_change_is_a_failure() {
    let stale = edit("/etc/b", Some("not what is there"));
    let rows = [
        (vec![stale.clone()], ErrorKind::Refused),
        (vec![edit("/etc/a", None), stale], ErrorKind::Failed),
    ];
    for (actions, expected) in rows {
        let (host, _) = host(&MemoryTree::new());
        let steps = vec![step(StepId::Lvm, actions, false)];
        let carried =
            apply(&host, &Plan { steps }, &Desired::default(), &mut |_| ControlFlow::Continue(()));
        assert_eq!(carried.steps[0].outcome, Outcome::Refused);
        let error = carried.error.unwrap();
        assert_eq!(error.kind(), expected, "{}", error.chain());
        assert_eq!(error.hint(), Some("run mtctl prepare again"));
    }
}

#[test]
fn a_busy_disk_refuses_before_anything_is_changed() {
    let tree = MemoryTree::new();
    let device_number = (8, 16);
    tree.put("/dev/sdb", Node::BlockDevice { device_number, blank: true.into(), busy: true });
    let (host, ran) = host(&tree);
    let format = crate::step::Format {
        path: "/dev/sdb".into(),
        disk: crate::disk::DiskIdentity::Attachment { diskseq: 1, boot_id: "b".into() },
        device_number,
        diskseq: Some(1),
        size_bytes: 1 << 30,
        signature: crate::filesystem::Signature::default(),
        proof: None,
        consent: crate::step::Consent::Blank,
        filesystem: crate::filesystem::RetentionFilesystem::Ext4,
        features: crate::filesystem::Features::Current,
        uuid: uuid::Uuid::nil(),
    };
    let steps = vec![
        step(StepId::Lvm, vec![edit("/etc/a", None)], false),
        step(StepId::Retention, vec![Action::Format(Box::new(format))], false),
    ];
    let before = tree.nodes();
    let carried =
        apply(&host, &Plan { steps }, &Desired::default(), &mut |_| ControlFlow::Continue(()));
    assert_eq!(carried.error.unwrap().kind(), ErrorKind::Refused);
    assert_eq!(carried.steps[0].outcome, Outcome::Unchanged);
    assert_eq!(carried.steps[1].outcome, Outcome::Refused);
    assert!(tree.nodes() == before && ran.borrow().is_empty());
}

#[test]
fn planning_again_forgets_no_restart() {
    let not_needed = PlannedStep {
        standing: Standing::AsWanted("not needed".into()),
        ..step(StepId::Reboot, Vec::new(), false)
    };
    let needed = PlannedStep {
        standing: Standing::AsWanted("needed".into()),
        ..step(StepId::Reboot, Vec::new(), true)
    };
    for (before, after) in [(&needed, &not_needed), (&not_needed, &needed), (&needed, &needed)] {
        let again = Plan { steps: vec![after.clone()] };
        let rest = plan_again(&again, &[before.clone()].into()).unwrap();
        assert_eq!(rest[0], needed);
    }
}
