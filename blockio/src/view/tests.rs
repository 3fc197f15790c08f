//! Parts of a view, and which are covered by images.

use super::*;
use crate::device::memory::MemoryDevice;
use crate::journal::index::{Image, ImageIndex};
use crate::units::SectorSize;

fn extent(start: u64, end: u64) -> Extent {
    Extent::between(ByteOffset::new(start), ByteOffset::new(end)).unwrap()
}

#[test]
fn parts_of_one_kind_that_follow_each_other_are_one_and_empty_ones_are_none() {
    let mut parts = Vec::new();
    for (from, until, is_hole) in [
        (0, 512, false),
        (512, 512, true),
        (512, 1024, false),
        (1024, 2048, true),
        (2048, 4096, true),
    ] {
        push(&mut parts, ByteOffset::new(from), ByteOffset::new(until), is_hole);
    }
    let expected = [(extent(0, 1024), false), (extent(1024, 4096), true)];
    let expected = expected.map(|(extent, is_hole)| Allocation { extent, is_hole });
    assert_eq!(parts, expected);
}

#[test]
fn a_part_is_covered_when_each_byte_of_it_has_an_image() {
    let mut index = ImageIndex::default();
    for (start, end) in [(512, 1024), (1024, 1536), (2048, 2560)] {
        index.add(Image { extent: extent(start, end), place: ImageLocation::Zeros });
    }
    for (start, end, expected) in [
        (512, 1536, true),
        (600, 601, true),
        (511, 1024, false),
        (1024, 2560, false),
        (0, 512, false),
    ] {
        let wanted = extent(start, end);
        let images = index.images_of(wanted);
        let parts = images.iter().map(|image| image.extent);
        assert_eq!(are_all_of(parts, wanted), expected, "{start}..{end}");
    }
}

#[test]
fn a_disk_as_it_is_has_its_name_and_no_holes_and_is_read_over_pieces() {
    let capacity = ByteCount::new(3 << 20);
    let geometry = Geometry { capacity, sector_size: SectorSize::Bytes512 };
    let disk = MemoryDevice::new(geometry);
    let mut writer = disk.clone();
    let pool = ArenaPool::new(1, PIECE_BYTES).unwrap();
    for piece in 0..3 {
        let mut arena = pool.take().unwrap();
        let bytes = arena.as_mut_slice();
        bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at % 251 + piece) as u8);
        let at = ByteOffset::new((piece << 20) as u64);
        let writes = vec![Transfer { at, position: 0, length: 1 << 20 }];
        let batch =
            crate::device::WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() };
        writer.write_batch(batch).unwrap();
    }
    let all = disk.contents();
    let view = View::of_disk("a disk".into(), Box::new(disk)).unwrap();
    assert_eq!(view.shown(), "a disk");
    for (start, end) in [(0, 3 << 20), (511, (2 << 20) + 3), ((1 << 20) - 1, 1 << 20)] {
        let mut found = vec![0; end - start];
        view.read(ByteOffset::new(start as u64), &mut found).unwrap();
        assert!(found == all[start..end], "{start}..{end}");
    }
    let whole = extent(0, 3 << 20);
    let all = Allocation { extent: whole, is_hole: false };
    assert_eq!(view.allocation(whole).unwrap(), [all]);
}
