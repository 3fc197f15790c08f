//! A flush of everything that was begun up to now, beside which the next plans are read, preserved
//! and written: nothing stands still for it.

use super::Volumes;
use super::pending::{FlushBehind, OfVolume};
use crate::Result;
use crate::barrier::AllFlushed;
use crate::device::Flushing;
use crate::group::Group;

impl Volumes {
    /// Begins to make everything durable that was begun so far, beside what is begun from now on.
    pub(crate) fn begin_flush(&mut self) {
        let plans = self.plans_done + self.pending.len() as u64;
        let volumes = self.volumes.iter().map(|_| OfVolume::NotBegun).collect();
        self.behind = Some(FlushBehind { plans, volumes });
    }

    /// The proof that everything that was begun before [`begin_flush`](Self::begin_flush) is
    /// durable, if it is by now; if `waiting`, as soon as it is. `None` also if no flush is under
    /// way. A volume that cannot be flushed fails.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub(crate) fn finish_flush(
        &mut self,
        waiting: bool,
        group: &mut Group,
    ) -> Result<Option<AllFlushed>> {
        let Some(mut behind) = self.behind.take() else { return Ok(None) };
        while self.plans_done < behind.plans && !planted!(FlushBeforeWhatItIncludes) {
            if !waiting {
                self.behind = Some(behind);
                return Ok(None);
            }
            if !self.wait_for_history(group)? {
                break;
            }
        }
        self.require_history()?;
        // All are begun before one is waited for.
        let rounds = if waiting { &[false, true][..] } else { &[false] };
        for waiting in rounds {
            for index in 0..behind.volumes.len() {
                self.advance_flush(index, *waiting, &mut behind.volumes[index]);
            }
        }
        let is_done = behind.volumes.iter().all(|one| matches!(one, OfVolume::Done(_)));
        if !is_done && !planted!(FlushBehindNotAwaited) {
            self.behind = Some(behind);
            return Ok(None);
        }
        Ok(Some(AllFlushed::flush(behind.volumes, |one| match one {
            OfVolume::Done(flushed) => flushed,
            OfVolume::NotBegun | OfVolume::UnderWay => None,
        })))
    }

    /// Advances the flush of a volume: every plan that it includes was written.
    fn advance_flush(&mut self, index: usize, waiting: bool, flush: &mut OfVolume) {
        if matches!(flush, OfVolume::NotBegun) {
            let begun = self.volumes[index].writer().map(|writer| writer.begin_flush());
            *flush = match begun {
                Some(Ok(Flushing::UnderWay)) => OfVolume::UnderWay,
                Some(Ok(Flushing::Done(flushed))) => OfVolume::Done(Some(flushed)),
                Some(Err(error)) => {
                    self.note(index, Err(error));
                    OfVolume::Done(None)
                }
                None => OfVolume::Done(None),
            };
        }
        if !matches!(flush, OfVolume::UnderWay) {
            return;
        }
        let Some(writer) = self.volumes[index].writer() else {
            // It has failed meanwhile.
            *flush = OfVolume::Done(None);
            return;
        };
        if waiting || writer.is_flushed() {
            *flush = OfVolume::Done(match writer.finish_flush() {
                Ok(flushed) => Some(flushed),
                Err(_) if planted!(FailedWriteIgnored) => None,
                Err(error) => {
                    self.note(index, Err(error));
                    None
                }
            });
        }
    }
}
