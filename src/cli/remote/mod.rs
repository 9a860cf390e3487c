//! The client verbs: one call of the public API each, printed as a table or as the JSON of the
//! response.

mod account_file;
mod acquire;
mod audit;
mod batch;
mod billing;
mod budget;
mod cluster;
mod control;
mod decision_view;
mod events;
mod explain;
mod explain_view;
mod follow;
pub(super) mod format;
mod grants;
mod limit_view;
pub(in crate::cli) mod names;
mod node;
mod org;
pub(super) mod org_list;
mod org_view;
mod paging;
mod plan;
mod pool;
mod pool_view;
mod refund;
mod reload;
mod request_id;
mod reservation;
mod session;
mod session_status;
mod session_view;
mod settle;
mod snapshot;
mod status;
mod usage;
mod whoami;

use tokio::runtime::Builder;

use super::{
    Exit,
    args::{GlobalArgs, RemoteVerb, WhyArgs},
    connect::Connection,
    failure::Failure,
    output::Output,
    top, watch,
};
use crate::domain::{ids::Scope, input::InputError};

#[cfg(test)]
pub(super) use format::amount as printed;

/// The scope as a request carries it; empty is the org itself.
fn scope_text(scope: Option<&Scope>) -> String {
    scope.map(|scope| scope.as_str().to_owned()).unwrap_or_default()
}

/// Several as a request carries them: the first where it was before there could be more.
fn scope_texts(scopes: &[Scope]) -> (String, Vec<String>) {
    let others = scopes.iter().skip(1).map(|scope| scope.as_str().to_owned()).collect();
    (scope_text(scopes.first()), others)
}

/// Why, as a request carries it; empty where nothing is said.
fn why_text(why: &WhyArgs) -> String {
    why.reason.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// All scopes of a row: a node from before there could be several names only one.
fn all_scopes(first: &str, all: &[String]) -> String {
    if all.is_empty() { first.to_owned() } else { all.join(", ") }
}

pub(super) fn run(global: &GlobalArgs, verb: &RemoteVerb, output: &mut Output<'_>) -> Exit {
    if global.watch.is_some() && !verb.reads() {
        return not_watched(output);
    }
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&Failure::Local(format!("no runtime: {error}")), output),
    };
    runtime.block_on(async {
        match global.watch {
            Some(every) => watch::run(global, verb, every, output).await,
            None => answered(global, verb, output).await,
        }
    })
}

/// One answer, or the error in its place.
pub(super) async fn answered(global: &GlobalArgs, verb: &RemoteVerb, output: &mut Output<'_>) -> Exit {
    match ask(global, verb, output).await {
        Ok(exit) => exit,
        Err(failure) => failed(&failure, output),
    }
}

/// Reports a failure, and how it ends the command.
pub(super) fn failed(failure: &Failure, output: &mut Output<'_>) -> Exit {
    output.error(failure);
    failure.exit()
}

/// Refuses `--watch` for a verb that changes something, or that asks no node.
pub(super) fn not_watched(output: &mut Output<'_>) -> Exit {
    let allowed = "a command that asks a node and changes nothing, such as status, org list or pool show";
    failed(&Failure::Usage(InputError::new("watch", "this command", allowed)), output)
}

async fn ask(global: &GlobalArgs, verb: &RemoteVerb, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let open = || Connection::open(global);
    match verb {
        RemoteVerb::Acquire(args) => {
            // Mistakes that show without a node are reported before a connection is opened.
            let request = acquire::request(args)?;
            acquire::run(&open().await?, request, output).await
        }
        RemoteVerb::Status(args) => status::run(&open().await?, args, output).await,
        RemoteVerb::Top(args) => top::run(global, args, output).await,
        RemoteVerb::Why(args) => explain::why(&open().await?, args, output).await,
        RemoteVerb::Explain(args) => explain::explain(&open().await?, args, output).await,
        RemoteVerb::Denials(args) => explain::denials(&open().await?, args, output).await,
        RemoteVerb::Commit(args) => {
            let request = settle::commit(args)?;
            settle::committed(&open().await?, request, output).await
        }
        RemoteVerb::Release(args) => settle::release(&open().await?, args, output).await,
        RemoteVerb::Extend(args) => settle::extend(&open().await?, args, output).await,
        RemoteVerb::Record(args) => {
            let request = settle::record(args)?;
            settle::recorded(&open().await?, request, output).await
        }
        RemoteVerb::Complete(args) => {
            let request = settle::complete(args)?;
            settle::recorded(&open().await?, request, output).await
        }
        RemoteVerb::Refund(args) => {
            let request = refund::request(args, output)?;
            refund::run(&open().await?, args, request, output).await
        }
        RemoteVerb::Resume(args) => settle::resume(&open().await?, args, output).await,
        RemoteVerb::Org(verb) => org::run(&open().await?, verb, output).await,
        RemoteVerb::Budget(verb) => {
            let request = budget::request(verb)?;
            budget::run(&open().await?, request, output).await
        }
        RemoteVerb::Session(verb) => session::run(&open().await?, verb, output).await,
        RemoteVerb::Reservation(verb) => reservation::run(&open().await?, verb, output).await,
        RemoteVerb::Pool(verb) => {
            let request = pool::request(verb)?;
            pool::confirm(verb, output)?;
            pool::run(&open().await?, request, output).await
        }
        RemoteVerb::Billing(verb) => billing::run(&open().await?, verb, output).await,
        RemoteVerb::Events(args) if args.follow => follow::run(&open().await?, args, output).await,
        RemoteVerb::Events(args) => events::run(&open().await?, args, output).await,
        RemoteVerb::Usage(args) => {
            let request = usage::request(args)?;
            usage::run(&open().await?, request, output).await
        }
        RemoteVerb::Plan(args) => {
            let request = plan::request(args)?;
            plan::run(&open().await?, request, output).await
        }
        RemoteVerb::Audit(args) => audit::run(&open().await?, args, output).await,
        RemoteVerb::Snapshot(args) => snapshot::run(&open().await?, args, output).await,
        RemoteVerb::Whoami => whoami::run(&open().await?, output).await,
        RemoteVerb::Node => node::run(&open().await?, output).await,
        RemoteVerb::Cluster(args) => cluster::run(&open().await?, args, output).await,
        RemoteVerb::Drain(args) => cluster::drain(&open().await?, args, output).await,
        RemoteVerb::Reload => reload::run(&open().await?, output).await,
    }
}
