use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// The shards and the nodes of a cluster, each of which acts on the same rows in each round.
#[derive(Debug, Clone)]
struct Cluster {
    members: BTreeMap<String, u16>,
    owners: Vec<Option<String>>,
}

impl Cluster {
    fn new(weights: &[u16]) -> Self {
        let members = weights.iter().enumerate().map(|(n, weight)| (format!("node-{n}"), *weight)).collect();
        Self { members, owners: vec![None; SHARDS.into()] }
    }

    fn members(&self) -> Vec<Member> {
        let member =
            |(node, weight): (&String, &u16)| Member { node: node.clone(), weight: NonZeroU16::new(*weight).unwrap() };
        self.members.iter().map(member).collect()
    }

    fn owned(&self, node: &str) -> BTreeSet<usize> {
        let owned = self.owners.iter().enumerate().filter(|(_, owner)| owner.as_deref() == Some(node));
        owned.map(|(shard, _)| shard).collect()
    }

    /// Its lease is over.
    fn kill(&mut self, node: &str) {
        self.members.remove(node).unwrap();
        for owner in &mut self.owners {
            owner.take_if(|owner| owner == node);
        }
    }

    /// One round of each node; how many shards were given up.
    fn round(&mut self, most: usize) -> (usize, usize) {
        let placement = Placement::new(ShardSet::all(), self.members());
        let before = self.owners.clone();
        let owners: Owners<'_> = std::array::from_fn(|shard| before[shard].as_deref());
        let nodes: BTreeSet<&str> =
            self.members.keys().map(String::as_str).chain(owners.iter().copied().flatten()).collect();
        let nodes: Vec<String> = nodes.into_iter().map(str::to_owned).collect();
        let (mut claimed, mut given) = (0, 0);
        for node in &nodes {
            let plan = placement.plan(node, &owners, most);
            assert!(plan.give_up.len() <= most, "{node} gives up {} of {most}", plan.give_up.len());
            given += plan.give_up.len();
            claimed += plan.claim.len();
            for shard in plan.claim {
                let owner = self.owners[usize::from(shard.number())].replace(node.clone());
                assert_eq!(owner, None, "{node} claims {shard:?}");
            }
            for shard in plan.give_up {
                let owner = self.owners[usize::from(shard.number())].take();
                assert_eq!(owner.as_ref(), Some(node), "gives up {shard:?}");
            }
        }
        (claimed, given)
    }

    /// Rounds until nothing moves any more; how many shards were given up in all.
    fn settle(&mut self, most: usize) -> usize {
        let mut all = 0;
        for _ in 0..2 * usize::from(SHARDS) / most + 4 {
            let (claimed, given) = self.round(most);
            all += given;
            if claimed + given == 0 {
                return all;
            }
        }
        panic!("it does not settle: {:?}", self.members);
    }

    /// Each node has its weighted share: at most rounded up, at least nine tenths.
    fn assert_fair(&self) {
        let weights: u16 = self.members.values().sum();
        for (node, weight) in &self.members {
            let share = f64::from(SHARDS) * f64::from(*weight) / f64::from(weights);
            let owned = self.owned(node).len() as f64;
            assert!(owned <= share.ceil(), "{node}: {owned} of {share}");
            assert!((owned - share).abs() <= (0.15 * share).max(1.0), "{node}: {owned} of {share}");
        }
        assert!(self.owners.iter().all(Option::is_some), "every shard has an owner");
    }

    /// Shards whose owner is another one than in `before`.
    fn moved(&self, before: &Self) -> BTreeSet<usize> {
        (0..usize::from(SHARDS)).filter(|shard| self.owners[*shard] != before.owners[*shard]).collect()
    }
}

#[test]
fn the_score_is_the_logarithm_in_whole_numbers() {
    for hash in [1, 2, 3, 1 << 40, 0xdead_beef, 0xdead_beef_0bad_cafe, u64::MAX / 2, u64::MAX - 1] {
        let exact = 64.0 - (hash as f64).log2();
        let found = minus_log2(hash) as f64 / f64::from(1 << 24);
        assert!((exact - found).abs() < 1e-6, "{hash}: {found}, not {exact}");
    }
    assert_eq!((minus_log2(0), minus_log2(u64::MAX)), (64 << 24, 1));
}

/// Nodes of different versions and machines have to agree.
#[test]
fn scores_are_the_same_for_ever() {
    let costs = costs("node-a");
    assert_eq!(costs[..3], [2_282_363, 10_192_130, 34_686_786], "computed outside of this program");
}

#[test]
fn a_node_of_three_times_the_weight_wins_three_times_the_shards() {
    let members = [("node-a", 1), ("node-b", 3)];
    let member =
        |(node, weight): (&str, u16)| Member { node: node.to_owned(), weight: NonZeroU16::new(weight).unwrap() };
    let placement = Placement::new(ShardSet::all(), members.map(member).into());
    let won = ShardSet::all().iter().filter(|shard| placement.by_score(*shard, 0, 1).is_lt()).count();
    assert!((220..=292).contains(&won), "{won} of 256 on average");
}

#[test]
fn without_members_nothing_is_planned() {
    let placement = Placement::new(ShardSet::all(), Vec::new());
    assert_eq!(placement.plan("node-0", &[None; SHARDS as usize], 8), Plan::default());
}

#[test]
fn each_cell_is_shared_out_by_itself() {
    let names = ["node-a", "node-b", "node-c"];
    let members = names.map(|name| Member { node: name.to_owned(), weight: NonZeroU16::MIN });
    for cell in 0..3 {
        let shards = ShardSet::of_cell(cell, 3);
        let placement = Placement::new(shards.clone(), members.to_vec());
        let plans = names.map(|name| placement.plan(name, &[None; SHARDS as usize], 8).claim);
        let all: ShardSet = plans.iter().flatten().copied().collect();
        assert_eq!(all, shards, "and nothing of another cell");
        assert!(plans.iter().all(|plan| (102..=115).contains(&plan.len())), "{plans:?}");
        // One node has everything of the cell, and nothing is missing elsewhere.
        let owners: Owners<'_> = std::array::from_fn(|number| {
            shards.iter().any(|shard| usize::from(shard.number()) == number).then_some(names[0])
        });
        let plan = placement.plan(names[0], &owners, 1024);
        assert!((226..=228).contains(&plan.give_up.len()), "{} of {}", plan.give_up.len(), shards.len());
    }
}

#[test]
fn a_node_that_drains_gives_up_all_and_claims_nothing() {
    let mut cluster = Cluster::new(&[1, 1, 1]);
    cluster.settle(1_024);
    let before = cluster.clone();
    cluster.members.remove("node-1").unwrap();
    assert_eq!(cluster.settle(16), before.owned("node-1").len());
    assert_eq!(cluster.moved(&before), before.owned("node-1"));
    cluster.assert_fair();
}

#[test]
fn from_two_nodes_to_four_and_back() {
    let mut cluster = Cluster::new(&[1, 1]);
    cluster.settle(1_024);
    cluster.members.extend([("node-2".to_owned(), 1), ("node-3".to_owned(), 1)]);
    let given = cluster.settle(32);
    println!("two to four nodes: {given} shards moved");
    assert!(given <= 512);
    cluster.assert_fair();
    cluster.kill("node-2");
    cluster.kill("node-3");
    assert_eq!(cluster.settle(32), 0);
    cluster.assert_fair();
}

/// With so many nodes nobody is above its share, rounded up, when one more joins.
#[test]
fn a_node_that_joins_many_gets_nine_tenths_of_its_share() {
    let mut cluster = Cluster::new(&[1; 49]);
    for (shard, owner) in cluster.owners.iter_mut().enumerate() {
        *owner = Some(format!("node-{}", shard % 49));
    }
    assert_eq!(cluster.settle(4), 0);
    cluster.members.insert("node-x".to_owned(), 1);
    assert_eq!(cluster.settle(4), 18, "of 20.48");
    cluster.assert_fair();
}

#[test]
fn a_node_that_comes_back_gets_mostly_what_it_had() {
    let mut cluster = Cluster::new(&[1, 1, 1, 1]);
    cluster.settle(1_024);
    let had = cluster.owned("node-2");
    for _ in 0..5 {
        cluster.kill("node-2");
        cluster.settle(1_024);
        cluster.members.insert("node-2".to_owned(), 1);
        cluster.settle(1_024);
    }
    let again = cluster.owned("node-2").intersection(&had).count();
    println!("{again} of {} shards are those that it had", had.len());
    assert!(again * 10 >= had.len() * 8, "{again} of {}", had.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whoever_leaves_or_joins_moves_no_more_than_its_share(
        weights in prop::collection::vec(1_u16..9, 1..9),
        weight in 1_u16..9,
        most in prop_oneof![Just(16_usize), Just(64), Just(1_024)],
        which in any::<prop::sample::Index>(),
    ) {
        let mut cluster = Cluster::new(&weights);
        prop_assert_eq!(cluster.settle(most), 0, "nothing is owned that would have to be given up");
        cluster.assert_fair();

        let before = cluster.clone();
        cluster.members.insert("node-x".to_owned(), weight);
        let given = cluster.settle(most);
        cluster.assert_fair();
        let joined = cluster.owned("node-x");
        prop_assert_eq!(&cluster.moved(&before), &joined, "nothing moves between nodes that stayed");
        prop_assert_eq!(given, joined.len(), "and nothing twice");

        let leaver = cluster.members.keys().nth(which.index(cluster.members.len())).unwrap().clone();
        if cluster.members.len() > 1 {
            let before = cluster.clone();
            cluster.kill(&leaver);
            prop_assert_eq!(cluster.settle(most), 0, "what a dead node had is enough");
            cluster.assert_fair();
            prop_assert_eq!(cluster.moved(&before), before.owned(&leaver));
        }
    }

    /// From any rows: nodes that disagreed, weights that changed, owners that nobody knows.
    #[test]
    fn from_any_owners_it_settles_and_is_fair(
        weights in prop::collection::vec(1_u16..9, 1..9),
        owners in prop::collection::vec(prop::option::of(0_usize..12), usize::from(SHARDS)),
        most in prop_oneof![Just(16_usize), Just(64), Just(1_024)],
    ) {
        let mut cluster = Cluster::new(&weights);
        cluster.owners = owners.into_iter().map(|owner| owner.map(|n| format!("node-{n}"))).collect();
        cluster.settle(most);
        cluster.assert_fair();
    }

    #[test]
    fn every_node_computes_the_same_in_whatever_order_it_reads_the_rows(
        members in Just((0..7_u16).collect::<Vec<_>>()).prop_shuffle(),
        owners in prop::collection::vec(prop::option::of(0_usize..9), usize::from(SHARDS)),
    ) {
        let member = |n: u16| Member { node: format!("node-{n}"), weight: NonZeroU16::new(n + 1).unwrap() };
        let names: Vec<String> = (0..9).map(|n| format!("node-{n}")).collect();
        let owners: Owners<'_> = std::array::from_fn(|shard| owners[shard].map(|n| names[n].as_str()));
        let all = ShardSet::all;
        let one = Placement::new(all(), members.into_iter().map(member).collect());
        let another = Placement::new(all(), (0..7).map(member).collect());
        for name in &names {
            prop_assert_eq!(one.plan(name, &owners, 8), another.plan(name, &owners, 8));
        }
    }
}
