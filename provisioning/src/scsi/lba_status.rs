//! Which blocks a thin disk has allocated: the parameter data of GET LBA STATUS (SBC-4 5.6),
//! combined into ranges. `sg_io` sends the command.

use std::io;
use std::ops::Range;

/// The most times one disk is asked: the map of a more fragmented disk is not worth the time.
const CALLS_MAX: usize = 4096;
/// The most ranges that are kept.
const RANGES_MAX: usize = 1 << 20;
const HEADER_LEN: usize = 8;
const DESCRIPTOR_LEN: usize = 16;
/// The one provisioning status which says that a block is not allocated and holds nothing. Mapped,
/// anchored, unknown and values of a later standard may hold something.
const DEALLOCATED: u8 = 1;

/// The status of a sequence of blocks in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Descriptor {
    first: u64,
    count: u64,
    is_mapped: bool,
}

/// The blocks below `blocks` that may hold something, ascending. `ask` gets the first block to
/// report and returns parameter data. `None` if the disk does not report all of them.
pub fn mapped(
    blocks: u64,
    ask: &mut dyn FnMut(u64) -> io::Result<Vec<u8>>,
) -> Option<Vec<Range<u64>>> {
    let mut mapped: Vec<Range<u64>> = Vec::new();
    let mut next = 0;
    for _ in 0..CALLS_MAX {
        if next >= blocks {
            return Some(mapped);
        }
        let answer = ask(next).ok()?;
        let before = next;
        for descriptor in descriptors(&answer) {
            // The first may begin before the requested block.
            let end = descriptor.first.checked_add(descriptor.count)?.min(blocks);
            if descriptor.first > next || end <= next {
                return None;
            }
            if descriptor.is_mapped {
                match mapped.last_mut().filter(|last| last.end == next) {
                    Some(last) => last.end = end,
                    None => mapped.push(next..end),
                }
            }
            next = end;
        }
        if next == before || mapped.len() > RANGES_MAX {
            return None;
        }
    }
    None
}

fn descriptors(data: &[u8]) -> Vec<Descriptor> {
    let Some(length) = data.first_chunk().map(|length| u32::from_be_bytes(*length)) else {
        return Vec::new();
    };
    // The length does not include its own four bytes.
    let told = usize::try_from(length).unwrap_or(0).saturating_add(4).min(data.len());
    let body = data.get(HEADER_LEN..told).unwrap_or_default();
    body.chunks_exact(DESCRIPTOR_LEN).filter_map(descriptor).collect()
}

fn descriptor(bytes: &[u8]) -> Option<Descriptor> {
    let first = u64::from_be_bytes(*bytes.first_chunk()?);
    let count = u32::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
    let status = bytes.get(12)? & 0x0f;
    Some(Descriptor { first, count: u64::from(count), is_mapped: status != DEALLOCATED })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(descriptors: &[(u64, u32, u8)]) -> Vec<u8> {
        let length = 4 + descriptors.len() * DESCRIPTOR_LEN;
        let mut data = u32::try_from(length).unwrap().to_be_bytes().to_vec();
        data.extend([0; 4]);
        for (first, count, status) in descriptors {
            data.extend(first.to_be_bytes());
            data.extend(count.to_be_bytes());
            data.extend([*status, 0, 0, 0]);
        }
        data
    }

    fn of(blocks: u64, answers: &[Vec<u8>]) -> (Option<Vec<Range<u64>>>, Vec<u64>) {
        let mut asked = Vec::new();
        let mut answers = answers.iter();
        let mapped = mapped(blocks, &mut |at| {
            asked.push(at);
            answers.next().cloned().ok_or_else(|| io::Error::other("nothing more"))
        });
        (mapped, asked)
    }

    #[test]
    fn ranges_are_put_together_over_answers_and_cut_at_the_end_of_the_disk() {
        let answers =
            [answer(&[(0, 8, 0), (8, 8, 2), (16, 100, 1)]), answer(&[(100, 20, 1), (120, 900, 3)])];
        assert_eq!(of(200, &answers), (Some(vec![0..16, 120..200]), vec![0, 116]));
    }

    #[test]
    fn a_disk_that_has_given_room_to_nothing_says_so() {
        assert_eq!(of(200, &[answer(&[(0, 4_000_000_000, 1)])]).0, Some(Vec::new()));
    }

    #[test]
    fn an_answer_that_leaves_something_out_or_leads_nowhere_tells_nothing() {
        let bad = [
            vec![],
            vec![0; 3],
            answer(&[]),
            answer(&[(5, 10, 1)]),
            answer(&[(0, 0, 1)]),
            answer(&[(0, 10, 1), (20, 10, 0)]),
            answer(&[(0, 10, 1)])[..20].to_vec(),
        ];
        for data in bad {
            assert_eq!(of(200, std::slice::from_ref(&data)).0, None, "{data:?}");
        }
    }
}
