//! How often one Acquire allocates between the decoded request and the encoded response, over the memory store:
//! everything that stands above the transport.
//!
//! `cargo test --test allocations -- --nocapture` prints the counts. With `DHAT=1` a profile of the plain
//! case, with a stack for every allocation, is written to `dhat-heap.json` for DHAT's viewer.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "a test")]

#[path = "../benches/measured/mod.rs"]
mod measured;

use std::{env, sync::Arc, time::Duration};

use tollgate::{
    actors::{
        Orgs,
        billing::{Balances, BillingRules},
    },
    auth::Principal,
    cluster::table::Table,
    domain::policy::OrgPolicy,
    rpc::{self, Taken, table},
    service::{self, Service},
    store::{dump::Text, memory::MemoryStore},
    telemetry::{Metrics, Spans},
    wire::v1::{AcquireRequest, Amount},
};

use measured::{deps, limited_agents, rate_only, seven_limits};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const CALLS: u64 = 2_000;
/// Of these one is the encoded response, one the handler's future, and the actor's own queue takes one for some thirty messages.
const MOST: u64 = 10;

/// A node that writes nothing while it is measured.
async fn node(policy: OrgPolicy) -> Service {
    let (store, metrics) = (MemoryStore::new(), Arc::new(Metrics::default()));
    let deps = deps(policy, store.clone(), metrics.clone(), Duration::from_secs(3600));
    let (clock, provider) = (deps.clock.clone(), deps.provider.clone());
    let orgs = Orgs::start(deps).await.unwrap();
    let balances = Balances::start(provider, clock.clone(), BillingRules::default()).await.unwrap();
    let (reloads, _) = service::Reloads::new();
    let (engine, node, spans) = (store.clone(), "node".to_owned(), Spans::default());
    let (table, others, dump) = (Table::alone(), None, Arc::new(Text));
    Service::new(service::Deps {
        orgs,
        clock,
        store,
        engine,
        dump,
        balances,
        metrics,
        spans,
        reloads,
        table,
        others,
        node,
    })
}

/// Allocations of one call, on average.
async fn allocations(policy: OrgPolicy, request: AcquireRequest) -> u64 {
    let service = node(policy).await;
    let caller = Arc::new(Principal::anybody());
    let requests: Vec<_> = (0..CALLS).map(|_| Taken::made::<table::Acquire>(request.clone())).collect();
    let asked = async |request: Taken| {
        let asking = rpc::Asking::default();
        rpc::serve(&service, caller.clone(), asking, request).await.unwrap()
    };
    // The first call of an org starts its actor.
    asked(Taken::made::<table::Acquire>(request)).await;
    let mut last = None;
    let before = dhat::HeapStats::get().total_blocks;
    for request in requests {
        last = Some(asked(request).await);
    }
    let counted = (dhat::HeapStats::get().total_blocks - before) / CALLS;
    assert!(rpc::response::<table::Acquire>(last.unwrap().bytes).unwrap().allowed);
    counted
}

#[test]
fn an_acquire_allocates_little() {
    let builder = dhat::Profiler::builder();
    let _profiler = if env::var_os("DHAT").is_some() { builder.build() } else { builder.testing().build() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let plain = AcquireRequest { org: "acme".into(), ..AcquireRequest::default() };
    let cost = vec![Amount { meter: "executions".into(), amount: 1 }, Amount { meter: "spend".into(), amount: 7 }];
    let scope = "workspace/a".to_owned();
    let full = AcquireRequest { scope, cost, plane: "executor".into(), request_id: String::new(), ..plain.clone() };
    let counted = runtime.block_on(allocations(rate_only(), plain.clone()));
    println!("a plain Acquire: {counted}");
    assert!(counted <= MOST, "a plain Acquire makes {counted} allocations, at most {MOST}");
    let scopes = (0..8).map(|number| format!("agent/{number}")).collect();
    let scoped = AcquireRequest { scopes, ..plain.clone() };
    for (what, policy, request, most) in [
        ("with six limits", seven_limits(), plain, 2 * MOST),
        ("with six limits, a scope, a plane and two amounts", seven_limits(), full, 2 * MOST),
        // One for each name, and what holds them.
        ("with six limits and eight scopes of two limits each", limited_agents(), scoped, 4 * MOST),
    ] {
        let counted = runtime.block_on(allocations(policy, request));
        println!("{what}: {counted}");
        assert!(counted <= most, "{what}: {counted} allocations, at most {most}");
    }
}
