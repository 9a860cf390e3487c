//! A model of how nodes share a database ([ADR 15](../../docs/adr/0015-nodes-share-postgresql.md)): lease, epoch,
//! commit and reply, in every order of their steps that is possible, for small numbers of nodes and requests and any
//! number of takeovers.
//!
//! A test with a fault leaves a part of the protocol out and must find what breaks without it. So the search
//! is shown to find things, and each part to be needed.
//!
//! `cargo test --test model -- --nocapture` prints counts, times and counterexamples. With `TOLLGATE_MODEL=large` there
//! are more nodes, more requests and longer leases, as in `scripts/torture model`: minutes and two gigabytes with
//! `--release`.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a test")]

mod protocol;
mod search;
mod state;

use std::{collections::BTreeMap, env, time::Instant};

use protocol::{Action, Fault, Property, Protocol};
use search::{Found, search};
use state::{NODES, REQUESTS, Row, State, TICKS};

/// States of the largest search: a model that grows past them has to be made smaller.
const MOST: usize = 20_000_000;

/// Nodes, requests, and ticks of a lease.
type Size = (u8, u8, u8);

const LARGE: [Size; 3] = [(2, 2, 3), (2, 3, 2), (3, 1, 2)];

fn protocol((nodes, requests, ttl): Size, fault: Fault) -> Protocol {
    assert!(usize::from(nodes) <= NODES && requests <= REQUESTS && ttl <= TICKS, "no room for this size");
    Protocol { nodes, requests, ttl, jumps: fault == Fault::MarkUnseen, fault, sought: None }
}

fn searched(system: &Protocol, visit: impl FnMut(&State, Action)) -> Found<Property, Action> {
    let began = Instant::now();
    let found = search(system, MOST, visit);
    let Found { states, steps, depth, .. } = &found;
    println!("{system:?}: {states} states, {steps} steps, depth {depth}, {:.1?}", began.elapsed());
    found
}

/// What a step does that a run without trouble would not, by name.
fn event(state: &State, action: Action) -> Option<&'static str> {
    let owns = |node: u8| state.owner == Some(node);
    let dead = |node: u8| state.leases.get(usize::from(node)).is_some_and(|lease| lease.row == Row::Dead);
    Some(match action {
        Action::Claim(node) if owns(node) => "a node claims what is its own",
        Action::Claim(_) if state.owner.is_some_and(dead) => "a node takes over from one whose lease is over",
        Action::Claim(_) if state.ledger.requests > 0 => "a node claims what was released",
        Action::Refuse(node) if !owns(node) => "a commit is refused after a takeover",
        Action::Refuse(_) => "a commit is refused that was carried out, or after its own claim",
        Action::Recognise(_) => "a node recognises that its commit was carried out",
        Action::Replay { node, request } if state.acknowledged & 1 << request == 0 && owns(node) => {
            "a client learns from a retry that its request was carried out"
        }
        Action::CommitAndLose(_) => "a connection is lost after the commit",
        Action::Lose(_) => "a connection is lost before the commit",
        Action::LateCommit { .. } => "a commit is carried out that nobody waits for",
        Action::LateClaim(_) => "a claim is carried out that nobody waits for",
        Action::LateRelease => "a release is carried out",
        Action::WriteRenewal(node) if dead(node) => "a renewal waits until its lease is marked",
        Action::Tick { slow: 1.. } => "a clock is slow",
        _ => return None,
    })
}

/// All of them have to be seen, so that nothing holds only because too little happens.
const EVENTS: usize = 14;

fn holds(system: &Protocol) {
    let mut events: BTreeMap<&str, u64> = BTreeMap::new();
    let count = |state: &State, action| {
        if let Some(event) = event(state, action) {
            *events.entry(event).or_default() += 1;
        }
    };
    let found = searched(system, count);
    println!("{events:#?}");
    assert_eq!(found.counterexample, None, "{system:?}");
    assert_eq!(events.len(), EVENTS, "{system:?}: {events:?}");
}

/// Without a part of the protocol each of the properties breaks.
fn breaks(fault: Fault, properties: &[Property]) {
    for &property in properties {
        let requests = 1 + u8::from(fault == Fault::DoubtIsOnlyRead);
        let system = Protocol { sought: Some(property), ..protocol((2, requests, 2), fault) };
        let found = searched(&system, |_, _| {});
        let (_, way) = found.counterexample.expect("a property that does not hold");
        println!("  {way:?}");
    }
}

#[test]
fn the_protocol_holds_in_every_order() {
    let large = env::var("TOLLGATE_MODEL").is_ok_and(|size| size == "large");
    let sizes: &[Size] = if large { &LARGE } else { &[(2, 2, 2)] };
    sizes.iter().for_each(|&size| holds(&protocol(size, Fault::None)));
}

/// After a jump, renewals are refused: nodes come back as others, and meanwhile nobody owns what two would answer for.
#[test]
fn the_protocol_holds_when_the_clock_of_the_database_jumps() {
    holds(&Protocol { jumps: true, ..protocol((2, 1, 2), Fault::None) });
}

#[test]
fn without_the_fence_an_old_owner_writes_after_the_new_one() {
    breaks(Fault::NoFence, &[Property::EpochsInOrder, Property::NothingIsDoubled]);
}

#[test]
fn with_the_epoch_alone_a_statement_that_is_carried_out_twice_counts_twice() {
    breaks(Fault::NoSequence, &[Property::NothingIsDoubled]);
}

#[test]
fn a_reply_before_the_commit_is_lost() {
    breaks(Fault::ReplyBeforeCommit, &[Property::ReplyFollowsCommit, Property::NothingIsLost]);
}

#[test]
fn a_lease_that_is_revived_has_two_nodes_answer() {
    breaks(Fault::LeaseIsRevived, &[Property::NoneRevived, Property::OneAnswers]);
}

#[test]
fn a_claim_that_does_not_mark_the_lease_has_two_nodes_answer() {
    breaks(Fault::NoMark, &[Property::OneAnswers]);
}

#[test]
fn a_mark_by_a_clock_that_jumped_has_two_nodes_answer() {
    breaks(Fault::MarkUnseen, &[Property::OneAnswers]);
}

#[test]
fn a_validity_from_the_receipt_of_the_renewal_has_two_nodes_answer() {
    breaks(Fault::CountedFromReceipt, &[Property::OneAnswers]);
}

#[test]
fn a_validity_without_a_margin_has_two_nodes_answer() {
    breaks(Fault::NoMargin, &[Property::OneAnswers]);
}

#[test]
fn a_node_that_serves_what_it_released_is_not_alone() {
    breaks(Fault::ServedAfterRelease, &[Property::OneAnswers]);
}

#[test]
fn rows_that_are_read_before_the_claim_are_old() {
    breaks(Fault::ReadBeforeClaim, &[Property::MemoryIsExact, Property::NothingIsDoubled]);
}

#[test]
fn a_commit_in_doubt_that_is_taken_for_carried_out_is_lost() {
    breaks(Fault::DoubtMeansCommitted, &[Property::ReplyFollowsCommit, Property::NothingIsLost]);
}

#[test]
fn a_commit_in_doubt_that_is_taken_for_lost_is_carried_out_twice() {
    breaks(Fault::DoubtMeansLost, &[Property::MemoryIsExact, Property::NothingIsDoubled]);
}

/// A statement may wait on the server's side of a lost connection. Reading finds that it was not carried out, and then it is.
#[test]
fn a_commit_in_doubt_that_is_only_read_may_still_be_carried_out() {
    breaks(Fault::DoubtIsOnlyRead, &[Property::MemoryIsExact, Property::NothingIsLost]);
}
