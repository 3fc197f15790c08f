//! Disks served over NBD, as seen by the clients that people use: qemu-img, qemu-io, nbdcopy,
//! nbdinfo and fio. A client of our own, which checks every byte, is in the unit tests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use blockio::device::Engine;
use blockio::device::Geometry;
use blockio::device::open::open as open_device;
use blockio::nbd::{Export, Listen, Scratch, Server};
use blockio::units::{ByteCount, SectorSize};
use blockio::view::View;
use mt_tests::program::{Run, command, finish, run};
use mt_tests::random::Random;
use mt_tests::skip::{has_program, skipped};
use tempfile::TempDir;

const MIB: usize = 1 << 20;
const CAPACITY: usize = 24 * MIB;

/// Noise with a range of zeros, the same in every run.
fn content(bytes: usize) -> Vec<u8> {
    let mut content = Random::new(7).bytes(bytes);
    content[bytes / 3..bytes / 2].fill(0);
    content
}

/// A folder with a disk image, and the address of a server for it.
struct Image {
    folder: TempDir,
    content: Vec<u8>,
}

impl Image {
    fn new(bytes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let content = content(bytes);
        fs::write(folder.path().join("disk"), &content).unwrap();
        Self { folder, content }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn socket(&self) -> Listen {
        Listen::Unix(self.path("socket"))
    }

    /// Opened read-only: any attempt to write fails.
    fn view(&self) -> Arc<View> {
        let capacity = ByteCount::new(self.content.len() as u64);
        let geometry = Geometry { capacity, sector_size: SectorSize::Bytes512 };
        let file = File::open(self.path("disk")).unwrap();
        let device = open_device(file, geometry, Engine::Blocking).unwrap();
        Arc::new(View::of_disk("disk".to_owned(), device).unwrap())
    }

    fn read_only(&self, name: &str) -> Export {
        Export { name: name.to_owned(), view: self.view(), scratch: None }
    }

    fn writable(&self, name: &str) -> Export {
        let view = self.view();
        let scratch = Some(Scratch::new(self.folder.path(), &view).unwrap());
        Export { name: name.to_owned(), view, scratch }
    }

    /// Asserts that the image is unchanged.
    fn is_untouched(&self) {
        assert!(fs::read(self.path("disk")).unwrap() == self.content, "the image was changed");
    }

    fn is_equal(&self, other: &Path) {
        assert!(fs::read(other).unwrap() == self.content, "{} differs", other.display());
    }
}

/// Ends the server even if a test fails, because the test would wait for it otherwise.
struct StopAtLast<'a>(&'a AtomicBool);

impl Drop for StopAtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Serves while `work` is running, which is passed the address.
fn served(address: Listen, exports: Vec<Export>, work: impl FnOnce(&Listen)) {
    let server = Server::bind(address, exports).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let serving = scope.spawn(|| server.serve(&stop));
        {
            let _stop = StopAtLast(&stop);
            work(server.address());
        }
        serving.join().unwrap().unwrap();
    });
}

fn nbd(words: &[&str]) -> Run {
    finish(&mut command(words[0], &words[1..]))
}

#[test]
fn qemu_img_copies_and_compares_what_is_served() {
    if !has_program("qemu-img") {
        return;
    }
    let image = Image::new(CAPACITY);
    served(image.socket(), vec![image.read_only("vda")], |address| {
        let (copy, uri) = (image.path("copy"), address.uri("vda"));
        let copy = copy.to_str().unwrap();
        run("qemu-img", &["convert", "-f", "raw", "-O", "raw", &uri, copy]);
        image.is_equal(Path::new(copy));
        let same = ["qemu-img", "compare", "-f", "raw", "-F", "raw", &address.uri(""), copy];
        nbd(&same).exits(0).says("Images are identical");
        fs::write(copy, [0; 512]).unwrap();
        let other = ["qemu-img", "compare", "-s", "-f", "raw", "-F", "raw", &uri, copy];
        nbd(&other).exits(1);
    });
    image.is_untouched();
}

#[test]
fn nbdcopy_reads_over_four_connections_and_over_tcp() {
    if !has_program("nbdcopy") {
        return;
    }
    // Not whole sectors, because the protocol counts bytes.
    let image = Image::new(CAPACITY + 777);
    let any_port = Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    for address in [image.socket(), any_port] {
        served(address, vec![image.read_only("vda")], |address| {
            let copy = image.path("copy");
            let words = ["--connections=4", "--threads=4", "--request-size=262144"];
            let uri = address.uri("vda");
            run("nbdcopy", &[words.as_slice(), &[&uri, copy.to_str().unwrap()]].concat());
            image.is_equal(&copy);
        });
    }
    image.is_untouched();
}

#[test]
fn nbdcopy_writes_into_the_layer_and_reads_it_back() {
    if !has_program("nbdcopy") {
        return;
    }
    let image = Image::new(CAPACITY);
    let wanted: Vec<u8> = image.content.iter().rev().copied().collect();
    fs::write(image.path("wanted"), &wanted).unwrap();
    served(image.socket(), vec![image.writable("vda")], |address| {
        let (uri, wanted_path, copy) =
            (address.uri("vda"), image.path("wanted"), image.path("copy"));
        run("nbdcopy", &["--connections=4", wanted_path.to_str().unwrap(), &uri]);
        run("nbdcopy", &[&uri, copy.to_str().unwrap()]);
        assert!(fs::read(copy).unwrap() == wanted, "what was written is not read");
    });
    image.is_untouched();
}

#[test]
fn nbdinfo_lists_every_export_with_what_it_can_do() {
    if !has_program("nbdinfo") {
        return;
    }
    let image = Image::new(CAPACITY);
    let exports = vec![image.read_only("vda"), image.writable("db/data ü")];
    served(image.socket(), exports, |address| {
        let listed = nbd(&["nbdinfo", "--json", "--list", &address.uri("")]);
        let listed = listed.exits(0).json();
        let exports = listed["exports"].as_array().unwrap();
        let names: Vec<_> = exports.iter().map(|one| one["export-name"].as_str()).collect();
        assert_eq!(names, [Some("vda"), Some("db/data ü")]);
        for (export, is_read_only) in exports.iter().zip([true, false]) {
            assert_eq!(export["export-size"], CAPACITY, "{export}");
            assert_eq!(export["is_read_only"], is_read_only, "{export}");
            assert_eq!(export["can_zero"], !is_read_only, "{export}");
            assert_eq!(export["can_trim"], !is_read_only, "{export}");
            assert_eq!(export["can_flush"], true, "{export}");
            assert_eq!(export["can_multi_conn"], true, "{export}");
            assert_eq!(export["contexts"][0], "base:allocation", "{export}");
            assert_eq!(export["block_size_maximum"], 32 << 20, "{export}");
        }
        let by_name = nbd(&["nbdinfo", "--size", &address.uri("db/data ü")]);
        assert_eq!(by_name.exits(0).stdout.trim(), CAPACITY.to_string());
        // With two exports, neither is the default.
        let unnamed = nbd(&["nbdinfo", "--size", &address.uri("")]);
        assert_ne!(unnamed.code, Some(0), "{unnamed:#?}");
        unnamed.says("server has no export named ''");
    });
}

#[test]
fn what_qemu_io_writes_is_merged_and_mapped_and_never_reaches_the_image() {
    if !has_program("qemu-io") || !has_program("nbdinfo") {
        return;
    }
    let image = Image::new(CAPACITY);
    let twin = image.path("twin");
    fs::copy(image.path("disk"), &twin).unwrap();
    let steps = [
        "write -P 0xa5 1M 3M",
        "write -P 0x5a 5000 100",
        "write -P 0x11 4194000 900",
        "write -z -u 8M 4M",
        "write -z 8190 5000",
        "write -z 2000000 3000",
        "write -P 0x77 8400000 512",
        "write -f -P 0x33 25165000 824",
        "discard 16M 1M",
        "flush",
    ];
    let mut words = vec!["-f", "raw"];
    steps.iter().for_each(|step| words.extend(["-c", step]));
    served(image.socket(), vec![image.writable("vda")], |address| {
        let uri = address.uri("vda");
        run("qemu-io", &[words.as_slice(), &[&uri]].concat());
        run("qemu-io", &[words.as_slice(), &[twin.to_str().unwrap()]].concat());
        let zeros = ["-f", "raw", "-c", "write -z 16M 1M", twin.to_str().unwrap()];
        run("qemu-io", &zeros);
        let compared =
            ["qemu-img", "compare", "-f", "raw", "-F", "raw", &uri, twin.to_str().unwrap()];
        nbd(&compared).exits(0);
        let map = nbd(&["nbdinfo", "--map", "--json", &uri]).exits(0).json();
        let holes: Vec<(u64, u64)> = map
            .as_array()
            .unwrap()
            .iter()
            .filter(|part| part["type"] == 3)
            .map(|part| (part["offset"].as_u64().unwrap(), part["length"].as_u64().unwrap()))
            .collect();
        let (eight, written) = (8 << 20, 8_400_000 / 4096 * 4096);
        assert_eq!(
            holes,
            [
                (8192, 4096),
                (eight, written - eight),
                (written + 4096, (12 << 20) - written - 4096),
                (16 << 20, 1 << 20),
            ]
        );
        let mapped = run("qemu-img", &["map", "-f", "raw", "--output=json", &uri]);
        let mapped: serde_json::Value = serde_json::from_str(&mapped).unwrap();
        let zeros = mapped.as_array().unwrap().iter().filter(|part| part["zero"] == true).count();
        assert_eq!(zeros, holes.len(), "{mapped}");
    });
    image.is_untouched();
}

#[test]
fn a_write_to_a_read_only_export_is_refused_and_changes_nothing() {
    if !has_program("qemu-io") {
        return;
    }
    let image = Image::new(CAPACITY);
    served(image.socket(), vec![image.read_only("vda")], |address| {
        let refused = nbd(&["qemu-io", "-f", "raw", "-c", "write 0 4k", &address.uri("vda")]);
        assert_ne!(refused.code, Some(0), "{refused:#?}");
        let read = nbd(&["qemu-io", "-r", "-f", "raw", "-c", "read 0 4k", &address.uri("vda")]);
        read.exits(0).says("read 4096/4096 bytes");
    });
    image.is_untouched();
}

#[test]
fn fio_verifies_what_it_writes_over_several_connections() {
    if !has_program("fio") {
        return;
    }
    if !run("fio", &["--enghelp"]).lines().any(|line| line.trim() == "nbd") {
        return skipped("fio has no nbd engine");
    }
    let image = Image::new(CAPACITY);
    served(image.socket(), vec![image.writable("vda")], |address| {
        let words = [
            "--name=job",
            "--ioengine=nbd",
            "--rw=randrw",
            "--bsrange=512-128k",
            "--blockalign=512",
            "--verify=crc32c",
            "--verify_fatal=1",
            "--iodepth=16",
            "--numjobs=3",
            "--size=8m",
            "--offset_increment=8m",
            "--randseed=7",
            "--output-format=json",
            "--output=report",
        ];
        let uri = format!("--uri={}", address.uri("vda"));
        let words = [words.as_slice(), &[&uri]].concat();
        finish(command("fio", &words).current_dir(image.folder.path())).exits(0);
        let report = fs::read(image.path("report")).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        for job in report["jobs"].as_array().unwrap() {
            assert_eq!(job["error"], 0, "{job}");
            assert!(job["write"]["total_ios"].as_u64() > Some(0), "{job}");
        }
    });
    image.is_untouched();
}
