use std::{fs, path::PathBuf};

use proptest::prelude::*;

use super::*;
use crate::{
    bounds::HOUR_MS,
    domain::{
        ids::{DecisionId, Meter, Scope},
        ledger::HourSlice,
        rows::{Row, RowKey, SliceRow},
    },
    store::{
        kinds::{Item, ItemKey, Memory},
        kv::{
            record::{META_VERSION, Meta},
            samples,
        },
        samples::{entries, org},
    },
};

fn encoded(key: &Key, record: &Record) -> (Vec<u8>, Vec<u8>) {
    let bytes = key.encode();
    let value = encode(key, &bytes, record).unwrap();
    (bytes, value)
}

fn golden(name: &str, version: u8) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{version}/{name}.hex"))
}

#[test]
fn every_record_reads_back() {
    for (name, key, record) in samples::named_records(&org("acme")) {
        let (bytes, value) = encoded(&key, &record);
        assert_eq!(decode(&bytes, &value), Ok((key, record)), "{name}");
    }
}

/// The files are what each version wrote. They are never edited: a new shape is a new version.
#[test]
fn every_version_reads_and_writes_its_golden_bytes() {
    for (name, key, record) in samples::named_records(&org("acme")) {
        let (bytes, mut value) = encoded(&key, &record);
        if key.kind() == Some(HEAD) {
            set_digest(&bytes, &mut value, DIGEST);
        }
        let text = fs::read_to_string(golden(name, record.version())).unwrap_or_else(|error| {
            panic!("{name}: {error}; a new kind needs a file with:\n{}\n{}", hex(&bytes), hex(&value))
        });
        let lines: Vec<Vec<u8>> = text.lines().map(unhex).collect();
        assert_eq!(hex(&bytes), hex(&lines[0]), "{name}: key");
        assert_eq!(hex(&value), hex(&lines[1]), "{name}: value");
        assert_eq!(decode(&lines[0], &lines[1]), Ok((key, record)), "{name}");
    }
}

/// Whatever an older build wrote: a kind with a newer version reads the bytes of each before it.
#[test]
fn golden_bytes_of_every_version_are_read() {
    let versions = (FIRST_VERSION..).map_while(|version| fs::read_dir(golden("", version).parent()?).ok());
    let mut read = 0;
    for file in versions.flatten() {
        let path = file.unwrap().path();
        let lines: Vec<Vec<u8>> = fs::read_to_string(&path).unwrap().lines().map(unhex).collect();
        assert!(decode(&lines[0], &lines[1]).is_ok(), "{}: {:?}", path.display(), decode(&lines[0], &lines[1]));
        read += 1;
    }
    assert!(read >= samples::keys().len(), "{read}");
}

fn unhex(line: &str) -> Vec<u8> {
    let digits: Vec<char> = line.chars().collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

const DIGEST: Digest = Digest { rows: 12, sum: u64::MAX };

#[test]
fn a_head_takes_a_digest_and_reads_as_before() {
    let (_, key, record) = samples::named_records(&org("acme")).swap_remove(1);
    let (bytes, mut value) = encoded(&key, &record);
    assert_eq!(digest(&bytes, &value), Ok(Digest::default()));
    set_digest(&bytes, &mut value, DIGEST);
    assert_eq!(digest(&bytes, &value), Ok(DIGEST));
    assert_eq!(decode(&bytes, &value), Ok((key, record)));
    value[BODY_AT] ^= 1;
    assert_eq!(digest(&bytes, &value).unwrap_err().why, Why::Checksum);
    let short = framed(FIRST_VERSION, &bytes, &[0; DIGEST_BYTES - 1]);
    assert_eq!(digest(&bytes, &short).unwrap_err().why, Why::Truncated(short.len()));
    assert_eq!(decode(&bytes, &short).unwrap_err().why, Why::Truncated(short.len()));
}

#[test]
fn one_flipped_bit_anywhere_is_an_error() {
    for (name, key, record) in samples::named_records(&org("acme")) {
        let (bytes, value) = encoded(&key, &record);
        for bit in 0..value.len() * 8 {
            let mut broken = value.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes, &broken).is_err(), "{name}: bit {bit} of the value");
        }
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&broken, &value).is_err(), "{name}: bit {bit} of the key");
        }
    }
}

#[test]
fn a_cut_value_is_an_error() {
    for (name, key, record) in samples::named_records(&org("acme")) {
        let (bytes, value) = encoded(&key, &record);
        for len in 0..value.len() {
            let why = decode(&bytes, &value[..len]).unwrap_err().why;
            assert_eq!(why, if len < 5 { Why::Truncated(len) } else { Why::Checksum }, "{name}");
        }
    }
}

fn framed(version: u8, key: &[u8], payload: &[u8]) -> Vec<u8> {
    let sum = checksum(version, key, payload).to_be_bytes();
    [&[version][..], &sum[..], payload].concat()
}

#[test]
fn another_version_is_told_apart_from_a_broken_disk() {
    let key = Key::Meta.encode();
    for version in [1, 9] {
        let unknown = Why::UnknownVersion { found: version, newest: META_VERSION };
        assert_eq!(decode(&key, &framed(version, &key, &[1, 2])).unwrap_err().why, unknown);
    }
    let key = Key::row(&org("a"), &RowKey::Reservation { id: DecisionId(1) }).encode();
    for version in [1, 5] {
        let unknown = Why::UnknownVersion { found: version, newest: 4 };
        assert_eq!(decode(&key, &framed(version, &key, &[1, 2])).unwrap_err().why, unknown);
    }
}

#[test]
fn impossible_content_under_a_good_checksum_is_corrupt() {
    let slice = |minute| {
        let slice = HourSlice { start: HOUR_MS, total: 1, minutes: vec![(minute, 1)], late: false };
        Row::Slice(SliceRow { scope: Scope::org(), meter: Meter::spend(), slice })
    };
    let key = Key::row(&org("a"), &slice(0).key());
    let bytes = key.encode();
    assert!(decode(&bytes, &framed(FIRST_VERSION, &bytes, &[1, 1, 60, 1])).is_err(), "minute 60");
    assert!(decode(&bytes, &framed(FIRST_VERSION, &bytes, &[1, 1, 59, 1])).is_ok(), "minute 59");
    assert!(decode(&bytes, &framed(FIRST_VERSION, &bytes, &[1, 1, 59, 1, 0])).is_err(), "a byte too many");
    assert!(encode(&key, &bytes, &Record::Item(Item::Row { row: slice(60), parts: 0 })).is_err(), "nor is it written");
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let key = Key::row(&org("a"), &RowKey::Journal { seq: 1 });
    let bytes = key.encode();
    let claims_2_to_63_entries = [1, 1, 0, 253, 255, 255, 255, 255, 255, 255, 255, 127];
    assert!(decode(&bytes, &framed(FIRST_VERSION, &bytes, &claims_2_to_63_entries)).is_err());
}

#[test]
fn a_value_beyond_the_bound_is_not_written() {
    let entries = entries().into_iter().cycle().take(200).collect();
    let item = ItemKey::Part { of: Memory::Short, seq: 1, part: 1 };
    let key = Key::Of { org: org("a"), item };
    assert!(encode(&key, &key.encode(), &Record::Item(Item::Part(entries))).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        kind in 0u8..32, key in prop::collection::vec(any::<u8>(), 0..64), value in prop::collection::vec(any::<u8>(), 0..256),
    ) {
        let _ = decode(&[vec![kind], key.clone()].concat(), &value);
        prop_assert!(decode(&key, &value).is_err());
    }

    /// Past the checksum, so that the payload decoder itself meets them.
    #[test]
    fn arbitrary_payloads_never_panic(index in any::<prop::sample::Index>(), payload in prop::collection::vec(any::<u8>(), 0..256)) {
        let keys = samples::keys();
        let key = index.get(&keys).encode();
        let _ = decode(&key, &framed(FIRST_VERSION, &key, &payload));
    }

    #[test]
    fn any_group_number_reads_back(group: u64) {
        let record = Record::Meta(Meta { group, mark: None, digests: group.rotate_left(7) });
        let (key, value) = encoded(&Key::Meta, &record);
        prop_assert_eq!(decode(&key, &value), Ok((Key::Meta, record)));
    }
}
