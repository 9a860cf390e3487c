//! Which part of the orgs an org belongs to: the unit in which orgs are spread over nodes.
//!
//! ```text
//! shard = first 8 bytes of SHA-256(org), big-endian, modulo 1024
//! ```
//!
//! The formula never changes: nodes of different versions, and data that is stored by shard, must agree
//! about the shard of every org. A test pins its values.

use std::fmt;

use sha2::{Digest, Sha256};

use super::ids::OrgId;

/// Many more than nodes, so that orgs spread evenly; few enough for one bit each in a set.
pub const SHARDS: u16 = 1024;

const WORD_BITS: u16 = 64;
const WORDS: usize = (SHARDS / WORD_BITS) as usize;
const _: () = assert!(SHARDS.is_multiple_of(WORD_BITS) && u64::BITS == WORD_BITS as u32);

/// One of [`SHARDS`] parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(u16);

/// How often a shard has changed owners: what an owner commits carries the epoch under which it loaded the org, and is
/// refused once there is a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Where one node owns everything, and nobody can take it over.
    pub const ONLY: Self = Self(0);
}

impl Shard {
    /// The shard of an org, the same for ever.
    pub fn of(org: &OrgId) -> Self {
        let digest: [u8; 32] = Sha256::digest(org.as_str()).into();
        // The number modulo a power of two: its last bits, which are in the last two of its eight bytes.
        Self(u16::from_be_bytes([digest[6], digest[7]]) % SHARDS)
    }

    /// The shard of a number; `None` past the last one.
    pub fn numbered(number: u16) -> Option<Self> {
        (number < SHARDS).then_some(Self(number))
    }

    /// 0 to 1023.
    pub fn number(self) -> u16 {
        self.0
    }

    /// Which of so many cells has it, from 0: each has a range of shards, and no range is larger than another by more than
    /// one.
    pub fn cell(self, cells: usize) -> usize {
        usize::from(self.0) * cells.max(1) / usize::from(SHARDS)
    }

    /// Where its bit is.
    fn place(self) -> (usize, u64) {
        (usize::from(self.0 / WORD_BITS), 1 << (self.0 % WORD_BITS))
    }
}

/// A set of shards: what a question about many orgs is limited to.
#[derive(Clone, PartialEq, Eq)]
pub struct ShardSet([u64; WORDS]);

impl ShardSet {
    /// Every org.
    pub const fn all() -> Self {
        Self([u64::MAX; WORDS])
    }

    /// No org.
    pub const fn none() -> Self {
        Self([0; WORDS])
    }

    /// Those that a cell has, out of so many cells.
    pub fn of_cell(cell: usize, cells: usize) -> Self {
        Self::all().iter().filter(|shard| shard.cell(cells) == cell).collect()
    }

    /// Each of them, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = Shard> {
        (0..SHARDS).map(Shard).filter(|shard| self.contains(*shard))
    }

    /// Whether the shard is one of them.
    pub fn contains(&self, shard: Shard) -> bool {
        let (word, bit) = shard.place();
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Those of the one and those of the other.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        let mut both = self.clone();
        for (word, other) in both.0.iter_mut().zip(others.0) {
            *word |= other;
        }
        both
    }

    /// Those that are among the others as well.
    #[must_use]
    pub fn within(&self, others: &Self) -> Self {
        let mut within = self.clone();
        for (word, other) in within.0.iter_mut().zip(others.0) {
            *word &= other;
        }
        within
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the org is in one of them.
    pub fn holds(&self, org: &OrgId) -> bool {
        *self == Self::all() || self.contains(Shard::of(org))
    }
}

impl FromIterator<Shard> for ShardSet {
    fn from_iter<I: IntoIterator<Item = Shard>>(shards: I) -> Self {
        let mut set = Self([0; WORDS]);
        for (word, bit) in shards.into_iter().map(Shard::place) {
            if let Some(word) = set.0.get_mut(word) {
                *word |= bit;
            }
        }
        set
    }
}

impl fmt::Debug for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardSet({} of {SHARDS})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(org: &str) -> Shard {
        Shard::of(&OrgId::parse("org", org).unwrap())
    }

    /// Computed outside of this program. They never change: stored data relies on them.
    #[test]
    fn the_shard_of_an_org_is_the_same_for_ever() {
        let long = "x".repeat(128);
        for (org, number) in [
            ("a", 458),
            ("acme", 160),
            ("a:b", 204),
            ("org-1", 996),
            ("org-2", 167),
            ("Z/9", 748),
            ("tenant_42", 982),
            (&long, 502),
        ] {
            assert_eq!(shard(org).number(), number, "{org}");
        }
    }

    #[test]
    fn orgs_spread_over_all_shards() {
        let mut orgs = vec![0_u32; SHARDS.into()];
        (0..64_000).for_each(|n| orgs[usize::from(shard(&format!("org-{n}")).number())] += 1);
        let (least, most) = (orgs.iter().min().unwrap(), orgs.iter().max().unwrap());
        assert!((30..62).contains(least) && (64..110).contains(most), "{least} to {most} of 62.5 on average");
    }

    #[test]
    fn a_set_holds_what_it_was_made_of_and_all_holds_everything() {
        let set: ShardSet = ["acme", "org-1"].map(shard).into_iter().collect();
        let held = |org: &str| set.holds(&OrgId::parse("org", org).unwrap());
        assert!(held("acme") && held("org-1") && !held("org-2"));
        assert_eq!(format!("{set:?}"), "ShardSet(2 of 1024)");
        assert!((0..2_000).all(|n| ShardSet::all().contains(shard(&format!("org-{n}")))));
    }
}
