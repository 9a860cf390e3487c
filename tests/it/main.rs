//! The real binary under faults: killed, cut off from power, out of disk, damaged, overloaded.
//!
//! Every test starts the built `tollgate` on ports of the system's choice, drives it over gRPC, and
//! compares what it finds afterwards with a log of the answers it got ([`oracle`]). The log shares no
//! code with the node, only the generated messages.
//!
//! Two tests run at a time ([`harness::beside_another`]), but those that measure run alone
//! ([`harness::alone`]). Sizes are variables of the environment with defaults for a continuous build
//! ([`harness::size`]); `scripts/torture` sets larger ones.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test fails by panicking, prints what it measured, and reads the clock"
)]

mod billing;
mod corruption;
mod disk_full;
mod harness;
mod hostile;
mod kill;
mod leases;
mod load;
mod moving;
mod oracle;
mod overload;
mod passivation;
mod power_cut;
mod replay;
mod terminate;
