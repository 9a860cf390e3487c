//! Ids that nobody else makes, and chance. A UUID of version 7 says when it was made, so the node refuses one that is older
//! than what it remembers, where it would otherwise charge again.

use std::time::Duration;

use super::clock::wall_ms;

/// A new id: RFC 9562, version 7.
pub(super) fn request_id() -> String {
    uuid(wall_ms(), [chance(), chance()])
}

fn uuid(made_ms: u64, [high, low]: [u64; 2]) -> String {
    let time = made_ms & 0xffff_ffff_ffff;
    format!(
        "{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}",
        time >> 16,
        time & 0xffff,
        high & 0xfff,
        high >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

/// Between half of `pause` and all of it, so that planes that failed together do not come back together.
pub(super) fn jittered(pause: Duration) -> Duration {
    let share = u32::try_from(chance() % 1000).unwrap_or_default();
    pause / 2 + pause * share / 2000
}

fn chance() -> u64 {
    // A machine without entropy has no other source; the time keeps ids of one process apart.
    getrandom::u64().unwrap_or_else(|_| wall_ms().wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_7_with_its_time() {
        let id = uuid(1_645_557_742_000, [u64::MAX, 0]);
        assert_eq!(id, "017f22e2-79b0-7fff-bfff-000000000000");
        assert_eq!(uuid(0x0123_4567_89ab, [0, 1]), "01234567-89ab-7000-8000-000000000001");
        assert_ne!(request_id(), request_id());
    }

    #[test]
    fn a_pause_is_at_least_half_and_at_most_all() {
        for _ in 0..100 {
            let pause = jittered(Duration::from_millis(100));
            assert!((50..=100).contains(&pause.as_millis()), "{pause:?}");
        }
    }
}
