//! Every state that a system can reach, breadth first, each judged once.
//!
//! Whole states are kept, not hashes of them, so no state is taken for another one that was seen. Breadth first
//! means that the first counterexample is a shortest one.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Debug,
    hash::{BuildHasherDefault, Hasher},
};

/// A state in as few bits as tell it from every other one.
pub(crate) type Packed = u128;

/// What is searched.
pub(crate) trait System {
    type State: Copy + Debug;
    type Action: Copy + Debug;
    type Property: Copy + Debug;

    fn first(&self) -> Self::State;
    /// Every step that is possible in `state`, with the state behind it.
    fn steps(&self, state: &Self::State, take: &mut dyn FnMut(Self::Action, Self::State));
    /// A property that does not hold in `state`.
    fn broken(&self, state: &Self::State) -> Option<Self::Property>;
    fn pack(&self, state: &Self::State) -> Packed;
}

/// What a search found.
#[derive(Debug)]
pub(crate) struct Found<P, A> {
    pub(crate) states: usize,
    pub(crate) steps: u64,
    /// Steps from the first state to the one farthest from it.
    pub(crate) depth: usize,
    /// A property that does not hold, and a shortest way to a state in which it does not.
    pub(crate) counterexample: Option<(P, Vec<A>)>,
}

/// Where a state was first reached from.
type Origins<A> = Vec<(u32, Option<A>)>;

/// Visits every state, or ends at the first one in which a property does not hold. `visit` sees each step once: the
/// state before it, and what it is.
///
/// # Panics
///
/// Past `most` states.
pub(crate) fn search<S: System>(
    system: &S,
    most: usize,
    mut visit: impl FnMut(&S::State, S::Action),
) -> Found<S::Property, S::Action> {
    let first = system.first();
    let mut seen: HashMap<Packed, u32, BuildHasherDefault<Mix>> = HashMap::default();
    let mut origins: Origins<S::Action> = vec![(0, None)];
    let (mut layer, mut next) = (vec![(0_u32, first)], Vec::new());
    let (mut steps, mut depth, mut broken) = (0, 0, system.broken(&first).map(|property| (property, 0)));
    seen.insert(system.pack(&first), 0);
    while !layer.is_empty() && broken.is_none() {
        for (at, state) in layer.drain(..) {
            system.steps(&state, &mut |action, behind| {
                steps += 1;
                visit(&state, action);
                let Entry::Vacant(place) = seen.entry(system.pack(&behind)) else { return };
                let number = u32::try_from(origins.len()).expect("fewer states than 2^32");
                place.insert(number);
                origins.push((at, Some(action)));
                next.push((number, behind));
                if broken.is_none() {
                    broken = system.broken(&behind).map(|property| (property, number));
                }
            });
            if broken.is_some() {
                break;
            }
        }
        assert!(origins.len() <= most, "more than {most} states: the model is larger than its test allows");
        depth += usize::from(!next.is_empty());
        std::mem::swap(&mut layer, &mut next);
    }
    let counterexample = broken.map(|(property, number)| (property, way(&origins, number)));
    Found { states: origins.len(), steps, depth, counterexample }
}

/// The actions from the first state to the one with this number.
fn way<A: Copy>(origins: &Origins<A>, mut number: u32) -> Vec<A> {
    let mut actions = Vec::new();
    while let Some(&(from, Some(action))) = origins.get(number as usize) {
        actions.push(action);
        number = from;
    }
    actions.reverse();
    actions
}

/// A hasher of two multiplications. The keys are ours, so nobody can choose ones that collide.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are one u128");
    }

    #[allow(clippy::cast_possible_truncation, reason = "both halves of the product are used")]
    fn write_u128(&mut self, key: u128) {
        let (high, low) = ((key >> 64) as u64 ^ 0x9e37_79b9_7f4a_7c15, key as u64 ^ 0xd6e8_feb8_6659_fd93);
        let product = u128::from(high) * u128::from(low);
        let folded = (product >> 64) as u64 ^ product as u64;
        self.0 = (folded ^ folded >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
