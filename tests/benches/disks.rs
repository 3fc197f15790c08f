//! How long looking at 60 disks takes: what `mtctl disks` and `mtctl check` do before they print.

use mt_tests::recorded::desired;
use provisioning::check::check;
use provisioning::disk::inventory;
use provisioning::groups;
use provisioning::host::{Host, RecordedHost};
use provisioning::observe;

const SIXTY_DISKS: &str = include_str!("../hosts/sixty-disks.json");

fn main() {
    divan::main();
}

fn host() -> Host {
    let record: RecordedHost =
        serde_json::from_str(SIXTY_DISKS).expect("invariant: a record of this repository");
    Host::recorded(record)
}

#[divan::bench]
fn inventory_of_sixty_disks(bencher: divan::Bencher<'_, '_>) {
    let host = host();
    bencher.bench_local(|| {
        let mounts = observe::mount_table(&host).expect("invariant: the record has a mount table");
        let groups = groups::observe(&host, mounts.mounts());
        let signatures = inventory::Signatures::Cached;
        inventory::observe(&host, mounts.mounts(), &[], &groups, signatures)
    });
}

#[divan::bench]
fn check_of_sixty_disks(bencher: divan::Bencher<'_, '_>) {
    let (host, desired) = (host(), desired());
    bencher.bench_local(|| {
        let observed =
            observe::observe(&host, &desired).expect("invariant: the record is complete");
        check(&observed, &desired)
    });
}
