//! When a checkpoint is due, and which points are made.

use super::*;
use crate::apply::session::point::{of_end, of_mark};
use crate::volume_name::VolumeName;

#[test]
fn a_checkpoint_is_due_after_256_mib() {
    plain_session(ApplyOptions::default(), |session, told| {
        feed(session, begin(header(&["db"])));
        feed(session, batch(100, 1));
        assert_eq!(told.durable(), [0], "that it is begun");
        session.checkpointed = in_an_hour();
        session.written_since = CHECKPOINT_BYTES - 513;
        feed(session, batch(200, 2));
        assert!(told.durable().is_empty(), "a byte is missing");
        session.written_since = CHECKPOINT_BYTES - 512;
        feed(session, batch(300, 3));
        assert_eq!((told.durable(), session.written_since), (vec![300], 0));
    });
}

#[test]
fn a_checkpoint_is_due_after_a_second() {
    plain_session(ApplyOptions::default(), |session, told| {
        feed(session, begin(header(&["db"])));
        feed(session, batch(100, 1));
        session.checkpointed = a_second_ago();
        let _ = told.durable();
        feed(session, batch(200, 2));
        assert_eq!(told.durable(), [200]);
    });
}

/// A session with a disk whose flushes take until they were asked for three times.
fn session_beside(steps: impl FnOnce(&mut Session<'_>, &Told)) {
    let directory = tempfile::tempdir().unwrap();
    let volumes = vec![on("db", disk().flushing_beside(3))];
    session(volumes, without_history(&directory), ApplyOptions::default(), |session, told| {
        feed(session, begin(header(&["db"])));
        feed(session, batch(100, 1));
        session.checkpointed = a_second_ago();
        let _ = told.durable();
        steps(session, told);
    });
}

#[test]
fn a_checkpoint_is_of_where_it_was_begun_and_the_run_continues_beside_it() {
    session_beside(|session, told| {
        feed(session, batch(200, 2));
        feed(session, batch(300, 3));
        assert!(told.durable().is_empty(), "the disk is at it");
        feed(session, batch(400, 4));
        assert_eq!(told.durable(), [200], "and not what was written since");
        assert_eq!(session.durable.extents, 2);
        feed(session, batch(500, 5));
        assert!(told.durable().is_empty(), "none is due");
    });
}

#[test]
fn a_checkpoint_that_is_due_before_the_last_one_is_done_waits_for_it() {
    session_beside(|session, told| {
        feed(session, batch(200, 2));
        session.checkpointed = a_second_ago();
        feed(session, batch(300, 3));
        assert_eq!(told.durable(), [200]);
        session.idle().unwrap();
        session.idle().unwrap();
        assert_eq!(told.durable(), [300], "also while nothing comes");
    });
}

#[test]
fn what_everything_waits_for_includes_the_checkpoint_beside_it() {
    session_beside(|session, told| {
        feed(session, batch(200, 2));
        feed(session, batch(300, 3));
        session.checkpoint(When::AtTheEnd).unwrap();
        assert_eq!(told.durable(), [300]);
        session.idle().unwrap();
        assert!(told.durable().is_empty(), "it is not recorded a second time");
    });
}

#[test]
fn of_a_disk_whose_flush_beside_the_run_fails_nothing_is_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let failing = disk().flushing_beside(1).failing_flushes(1, libc::EIO);
    let volumes = vec![on("db", failing)];
    session(volumes, without_history(&directory), ApplyOptions::default(), |session, told| {
        feed(session, begin(header(&["db"])));
        feed(session, batch(100, 1));
        assert_eq!(told.durable(), [0]);
        session.checkpointed = a_second_ago();
        feed(session, batch(200, 2));
        assert!(session.volumes.have_all_failed());
        let recorded = &session.group.view().state().volumes[&VolumeName::from("db")];
        assert_eq!(recorded.in_between.as_ref().map(|between| between.position), Some(0));
    });
}

#[test]
fn without_a_group_no_checkpoint_is_due_and_passed_marks_are_counted() {
    session(vec![on("db", disk())], Group::default(), ApplyOptions::default(), |session, told| {
        feed(session, begin(header(&["db"])));
        feed(session, mark(20));
        feed(session, mark(30));
        feed(session, batch(100, 1));
        assert_eq!(session.summary.recovery_points, 2, "the first write records");
        feed(session, mark(120));
        session.checkpointed = a_second_ago();
        feed(session, batch(200, 2));
        assert!(session.checkpointed.elapsed() >= CHECKPOINT_AFTER, "nothing remembers it");
        session.checkpoint(When::AtTheEnd).unwrap();
        assert_eq!((session.summary.recovery_points, told.durable()), (3, vec![]));
    });
}

#[test]
fn while_a_pipe_is_silent_what_it_sent_becomes_durable_after_a_second() {
    plain_session(ApplyOptions::default(), |session, told| {
        feed(session, begin(header(&["db"])));
        feed(session, batch(100, 1));
        let _ = told.durable();
        session.checkpointed = a_second_ago();
        session.idle().unwrap();
        assert_eq!(told.durable(), [100], "something was written");
        session.checkpointed = a_second_ago();
        session.idle().unwrap();
        assert!(told.durable().is_empty(), "there is nothing new");
        for (written_since, points) in [(512, vec![]), (0, vec![point()])] {
            (session.written_since, session.points) = (written_since, points.clone());
            session.checkpointed = in_an_hour();
            session.idle().unwrap();
            assert!(told.durable().is_empty(), "it was just done");
            session.checkpointed = a_second_ago();
            session.idle().unwrap();
            assert_eq!(told.durable(), [100]);
        }
    });
}

#[test]
fn marks_with_nothing_between_them_wait_until_there_are_256_of_them() {
    plain_session(ApplyOptions::default(), |session, told| {
        feed(session, begin(header(&["db"])));
        feed(session, batch(100, 1));
        session.checkpointed = in_an_hour();
        let _ = told.durable();
        let max = POINTS_WAITING_MAX as u64;
        (1..=max).for_each(|number| feed(session, mark(100 + number)));
        assert_eq!((session.points.len(), told.durable()), (POINTS_WAITING_MAX, vec![]));
        // Another one at the same position: a run that resumes between them would miss it.
        feed(session, mark(100 + max));
        assert_eq!((session.points.len(), told.durable()), (POINTS_WAITING_MAX + 1, vec![]));
        feed(session, mark(101 + max));
        assert_eq!((session.points.len(), told.durable()), (1, vec![100 + max]));
        assert_eq!(session.summary.recovery_points, max + 1);
        session.checkpoint(When::AtTheEnd).unwrap();
        assert_eq!(session.summary.recovery_points, max + 2);
    });
}

#[test]
fn points_by_the_clock_only_where_batches_come_in_the_order_of_the_writes() {
    const EVERY: Option<Duration> = Some(CHECKPOINT_AFTER);
    let due = |session: &mut Session<'_>, change: fn(&mut Session<'_>)| {
        session.points.clear();
        session.point_made = a_second_ago();
        session.options.point_every = EVERY;
        session.input.iter_mut().for_each(|input| {
            (input.is_marked, input.header.is_in_write_order) = (true, true);
        });
        change(session);
        session.point_by_timer();
        session.points.len()
    };
    plain_session(ApplyOptions::default(), |session, _| {
        assert_eq!(due(session, |_| {}), 0, "no stream has begun");
        feed(session, begin(header(&["db"])));
        assert_eq!(due(session, |_| {}), 1);
        assert_eq!(due(session, |one| one.point_made = in_an_hour()), 0);
        assert_eq!(due(session, |one| one.options.point_every = None), 0);
        let unmarked = |one: &mut Session<'_>| one.input.as_mut().unwrap().is_marked = false;
        assert_eq!(due(session, unmarked), 0, "nothing was written");
        let unordered = |one: &mut Session<'_>| {
            one.input.as_mut().unwrap().header.is_in_write_order = false;
        };
        assert_eq!(due(session, unordered), 0);
        assert_eq!(due(session, |one| one.points.push(point())), 1, "there is one already");
    });
}

#[test]
fn a_stream_without_marks_makes_a_point_at_its_end() {
    for (byte, marks, expected) in [(100, 0, 1), (100, 1, 0), (50, 0, 0)] {
        plain_session(ApplyOptions::default(), |session, _| {
            feed(session, begin(header(&["db"])));
            session.input.as_mut().unwrap().resumed = 50;
            feed(session, end(byte, marks));
            assert_eq!(session.points.len(), expected, "at byte {byte}, {marks} marks");
        });
    }
}

#[test]
fn a_pipe_that_is_cut_is_incomplete_only_where_that_is_announced() {
    for resume in [true, false] {
        plain_session(ApplyOptions { resume, ..ApplyOptions::default() }, |session, _| {
            let error = Error::new(ErrorKind::Failed, "cut");
            let ended = session.take(Fed::Failed { error, is_cut_pipe: true });
            match resume {
                true => assert!(matches!(ended, Ok(Next::End(Ending::Incomplete)))),
                false => assert!(ended.is_err()),
            }
        });
    }
}

#[test]
fn an_input_that_came_again_is_left_out_unless_there_is_more_of_it_now() {
    for (consumed, is_left_out) in [(49, true), (50, true), (51, false)] {
        plain_session(ApplyOptions::default(), |session, told| {
            for count in 1..=2 {
                feed(session, begin(header(&["db"])));
                let Some(input) = &mut session.input else { break };
                (input.is_again, input.resumed, input.consumed) = (true, 50, consumed);
                feed(session, Fed::InputEnd { is_last: false });
                assert!(session.input.is_none());
                let left_out = if is_left_out { count } else { count - 1 };
                assert_eq!(session.summary.inputs_left_out, left_out);
                assert_eq!(told.durable().is_empty(), left_out > 0);
            }
        });
    }
}

#[test]
fn an_input_that_came_for_the_first_time_is_not_left_out() {
    plain_session(ApplyOptions::default(), |session, told| {
        feed(session, begin(header(&["db"])));
        feed(session, Fed::InputEnd { is_last: true });
        assert_eq!((session.summary.inputs_left_out, told.durable()), (0, vec![0]));
        // It changed nothing, and the volume is at its end.
        assert_eq!(session.group.view().state().volumes["db"].applied.len(), 1);
    });
}

#[test]
fn a_volume_that_has_a_batch_is_not_written_by_it() {
    let disk = disk();
    let look = disk.clone();
    session(vec![on("db", disk)], Group::default(), ApplyOptions::default(), |session, _| {
        feed(session, begin(header(&["db"])));
        session.volumes.get(0).applied = Applied::UpTo(100);
        feed(session, batch(100, 1));
        assert_eq!(look.contents()[0], 0);
        feed(session, batch(101, 2));
        assert_eq!(look.contents()[0], 2);
        assert_eq!((session.summary.bytes, session.summary.extents), (1024, 2));
    });
}

#[test]
fn a_point_is_named_as_the_snapshot_of_all_volumes_is() {
    let ends = |names: &[&str]| {
        let mut header = header(names);
        for (volume, name) in header.volumes.iter_mut().zip(names) {
            volume.to = Name::new(name.as_bytes());
        }
        of_end(&header, 5)
    };
    assert_eq!(ends(&["s"]).name.as_deref(), Some("s"));
    assert_eq!(ends(&["s", "s"]).name.as_deref(), Some("s"));
    assert_eq!(ends(&["s", "t"]).name, None);
    assert_eq!(of_end(&header(&["db"]), 5), NewPoint { time: 5, ..point() });
}

#[test]
fn a_mark_has_the_time_of_its_source_or_this_one() {
    let of = |time| {
        let kind = MarkKind::ApplicationConsistent;
        of_mark(Mark { time: Timestamp(time), kind, name: None, group: None })
    };
    assert_eq!((of(5).time, of(5).kind), (5, PointKind::App));
    assert!(of(0).time > 5, "nobody knew it");
}

#[test]
fn the_clock_for_points_begins_anew_only_with_a_point_that_is_kept() {
    let (directory, long_ago) = (tempfile::tempdir().unwrap(), a_second_ago());
    for (group, has_point, is_renewed) in [
        (with_history(), true, true),
        (with_history(), false, false),
        (without_history(&directory), true, false),
    ] {
        session(vec![on("db", disk())], group, ApplyOptions::default(), |session, _| {
            feed(session, begin(header(&["db"])));
            feed(session, batch(100, 1));
            session.point_made = long_ago;
            session.points.extend(has_point.then(point));
            session.checkpoint(When::OnTheWay).unwrap();
            assert_eq!(session.point_made != long_ago, is_renewed);
            assert_eq!(session.summary.recovery_points, u64::from(has_point));
        });
    }
}
