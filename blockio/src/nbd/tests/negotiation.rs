//! Options, in and out of order, right and wrong.

use super::client::{
    ACKNOWLEDGED, BLOCK_STATUS, COOKIE, Chunk, EINVAL, INFO, INVALID, META_CONTEXT, READ, SERVER,
    TOO_BIG, UNKNOWN, UNSUPPORTED, contexts, info, request, string,
};
use super::{CAPACITY, Served, content, read_only, writable};

fn two() -> Served {
    Served::new(vec![read_only("vda"), writable("vdb")])
}

#[test]
fn the_list_names_every_export() {
    let served = two();
    served.run(|| {
        let mut client = served.client();
        client.greet(3);
        let listed = client.option(3, &[]);
        let names = [(SERVER, string("vda")), (SERVER, string("vdb")), (ACKNOWLEDGED, Vec::new())];
        assert_eq!(listed, names);
        assert_eq!(client.only_answer(3, b"data"), INVALID);
    });
}

#[test]
fn info_tells_length_flags_sizes_and_the_name_and_chooses_nothing() {
    let served = two();
    served.run(|| {
        let mut client = served.client();
        client.greet(3);
        client.agree_on_structure();
        for (name, flags) in [("vda", 0b1_1000_0111_u16), ("vdb", 0b1_1110_1101)] {
            let replies = client.option(6, &info(name, &[1, 2, 3]));
            let mut export = [&[0; 2], &(CAPACITY as u64).to_be_bytes()[..]].concat();
            export.extend(flags.to_be_bytes());
            let sizes = [0, 3, 0, 0, 0, 1, 0, 0, 0x10, 0, 2, 0, 0, 0].to_vec();
            let name = [&[0, 1], name.as_bytes()].concat();
            let expected =
                [(INFO, export), (INFO, sizes), (INFO, name), (ACKNOWLEDGED, Vec::new())];
            assert_eq!(replies, expected);
        }
    });
}

#[test]
fn what_is_unknown_or_wrong_is_refused_and_the_next_option_is_heard() {
    let served = two();
    served.run(|| {
        let mut client = served.client();
        client.greet(3);
        // STARTTLS, EXTENDED_HEADERS, and options that do not exist.
        for unknown in [0, 4, 5, 11, 12, u32::MAX] {
            assert_eq!(client.only_answer(unknown, b"data"), UNSUPPORTED);
        }
        for option in [6, 7] {
            assert_eq!(client.only_answer(option, &info("vdc", &[])), UNKNOWN);
            // With two exports, neither is the default.
            assert_eq!(client.only_answer(option, &info("", &[])), UNKNOWN);
            for wrong in
                [&b""[..], b"\0\0\0\x03vd", b"\xff\xff\xff\xffvda\0\0", b"\0\0\0\0\0\x02\0"]
            {
                assert_eq!(client.only_answer(option, wrong), INVALID, "{wrong:?}");
            }
        }
        assert_eq!(client.only_answer(8, b"data"), INVALID);
        assert_eq!(client.only_answer(7, &vec![0; (64 << 10) + 1]), TOO_BIG);
        client.go("vda");
        assert_eq!(client.simple(0, READ, 0, 8), 0);
    });
}

#[test]
fn contexts_need_structured_replies_and_the_name_that_is_chosen_later() {
    let served = two();
    served.run(|| {
        let mut client = served.client();
        client.greet(3);
        for option in [9, 10] {
            let early = client.only_answer(option, &contexts("vda", &["base:allocation"]));
            assert_eq!(early, INVALID);
        }
        client.agree_on_structure();
        for queries in [&[][..], &["base:"], &["qemu:x", "base:allocation"]] {
            let listed = client.option(9, &contexts("vda", queries));
            let allocation = (META_CONTEXT, b"\0\0\0\0base:allocation".to_vec());
            assert_eq!(listed, [allocation, (ACKNOWLEDGED, Vec::new())]);
        }
        assert_eq!(client.only_answer(9, &contexts("vda", &["qemu:"])), ACKNOWLEDGED);
        assert_eq!(client.only_answer(10, &contexts("vdc", &["base:allocation"])), UNKNOWN);
        let mut many = contexts("vda", &["base:allocation"]);
        many[7..11].copy_from_slice(&[0xff; 4]);
        assert_eq!(client.only_answer(10, &many), INVALID);
        client.choose_allocation("vdb");
        client.go("vda");
        assert_eq!(client.chunks(0, BLOCK_STATUS, 0, 512), [Chunk::Error(EINVAL)]);
    });
}

#[test]
fn a_choice_of_contexts_replaces_the_one_before() {
    let served = two();
    served.run(|| {
        let mut client = served.client();
        client.greet(3);
        client.agree_on_structure();
        client.choose_allocation("vda");
        assert_eq!(client.only_answer(10, &contexts("vda", &[])), ACKNOWLEDGED);
        client.go("vda");
        assert_eq!(client.chunks(0, BLOCK_STATUS, 0, 512), [Chunk::Error(EINVAL)]);
    });
}

#[test]
fn the_oldest_option_chooses_the_only_export_with_and_without_zeros_behind() {
    let served = Served::new(vec![read_only("vda")]);
    served.run(|| {
        for (flags, zeros) in [(0, 124), (1, 124), (3, 0)] {
            let mut client = served.client();
            client.greet(flags);
            client.send_option(1, b"");
            assert_eq!(client.u64(), CAPACITY as u64);
            let flags_and_zeros = [&[0x01, 0x07][..], &vec![0; zeros]].concat();
            assert_eq!(client.take(2 + zeros), flags_and_zeros);
            client.send(&request(0, READ, 8, 16));
            assert_eq!(client.simple_reply(), 0);
            assert_eq!(client.take(16), content(24)[8..]);
        }
    });
}

#[test]
fn clients_that_cannot_be_understood_are_left_alone_and_others_are_served() {
    let served = two();
    served.run(|| {
        let mut other = served.simple("vda");
        let mut client = served.client();
        client.greet(1 << 5);
        client.is_ended();
        for wrong in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 16], &COOKIE.to_be_bytes().repeat(2)] {
            let mut client = served.client();
            client.greet(3);
            client.send(wrong);
            client.is_ended();
        }
        for name in [&b"vdc"[..], b"", b"\xff", &[b'v'; 70_000]] {
            let mut client = served.client();
            client.greet(3);
            client.send_option(1, name);
            client.is_ended();
        }
        let mut client = served.client();
        client.greet(3);
        assert_eq!(client.only_answer(2, &[]), ACKNOWLEDGED);
        client.is_ended();
        assert_eq!(other.simple(0, READ, 0, 8), 0);
    });
}
