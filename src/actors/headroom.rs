//! Room on the disk: as far as it was last seen, and whether that is enough for anything new.
//!
//! A disk that is full is a fault of the store, which ends every promise. So nothing new begins before that: what
//! runs already needs the rest to settle.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::{bounds::Bounds, error::ServiceError};

/// By how much more than the least there has to be room again, as a part of it.
const AGAIN: u64 = 8;

/// Bytes of the file system that has the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Those that this process may still write.
    pub free: u64,
    /// All of them.
    pub size: u64,
}

impl Disk {
    /// The least that has to be free: the smaller one of the two bounds.
    fn needed(self, bounds: &Bounds) -> u64 {
        let percent = u64::from(bounds.disk_headroom_percent);
        (self.size / 100).saturating_mul(percent).min(bounds.disk_headroom_bytes.into())
    }
}

/// What is known of the disk.
#[derive(Debug, Default)]
pub struct Headroom {
    is_low: AtomicBool,
    seen: Mutex<Option<(Disk, u64)>>,
}

impl Headroom {
    /// What the disk is like now. Answers whether that changes if there is room.
    pub fn seen(&self, disk: Disk, bounds: &Bounds) -> bool {
        let needed = disk.needed(bounds);
        let was_low = self.is_low();
        let enough = if was_low { needed.saturating_add(needed / AGAIN) } else { needed };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((disk, needed));
        let is_low = disk.free < enough;
        self.is_low.store(is_low, Ordering::Release);
        is_low != was_low
    }

    /// The disk as it was last seen; `None` where it never was, such as before the first look.
    pub fn disk(&self) -> Option<Disk> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).map(|(disk, _)| disk)
    }

    /// Whether twice as much is free as there has to be: then there is room for what can wait.
    pub fn is_twice(&self) -> bool {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.is_none_or(|(disk, needed)| disk.free >= needed.saturating_mul(2))
    }

    /// Whether there is too little of it for anything new.
    pub fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Acquire)
    }

    /// # Errors
    /// Where there is too little.
    pub fn check(&self) -> Result<(), ServiceError> {
        if !self.is_low() {
            return Ok(());
        }
        let (disk, needed) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or((NONE, 0));
        Err(ServiceError::DiskLow { free: disk.free, needed })
    }
}

const NONE: Disk = Disk { free: 0, size: 0 };

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn disk(free: u64, size: u64) -> Disk {
        Disk { free: free * MIB, size: size * MIB }
    }

    #[test]
    fn the_smaller_bound_decides() {
        let bounds = Bounds::default();
        for (free, size, is_low) in
            [(511, 1_000_000, true), (512, 1_000_000, false), (3, 24, false), (2, 24, true), (0, 0, false)]
        {
            let headroom = Headroom::default();
            headroom.seen(disk(free, size), &bounds);
            assert_eq!(headroom.is_low(), is_low, "{free} MiB of {size} MiB");
            assert_eq!(headroom.check().is_err(), is_low);
        }
        let off = Bounds { disk_headroom_bytes: 0, ..bounds };
        let headroom = Headroom::default();
        assert!(!headroom.seen(disk(0, 24), &off));
        assert_eq!(headroom.check(), Ok(()));
    }

    #[test]
    fn it_ends_with_a_little_more_room_than_it_began_with() {
        let (headroom, bounds) = (Headroom::default(), Bounds::default());
        let changes = |free| headroom.seen(disk(free, 1_000_000), &bounds);
        assert_eq!([changes(600), changes(511), changes(510)], [false, true, false]);
        assert_eq!([changes(512), changes(575), changes(576), changes(512)], [false, false, true, false]);
    }
}
