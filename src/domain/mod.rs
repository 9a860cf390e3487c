//! The rules: `(state, command, now) -> (reply, changes)`. Pure: no I/O, no clock, no randomness,
//! no runtime, no serialisation. Everything outside exists to call this and to keep what it says.

// A new variant has to be considered everywhere: no arm answers for what does not exist yet.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub mod alerts;
pub mod balance;
mod book;
mod budgets;
mod calendar;
pub mod clock_repair;
pub mod command;
pub mod commands;
pub mod decision;
pub mod denials;
pub mod events;
pub mod folded;
pub mod forecast;
pub mod gate;
pub mod gateways;
pub mod holds;
mod id_time;
pub mod ids;
pub mod input;
pub mod journal;
pub mod kept_ids;
pub mod lease;
pub mod ledger;
pub mod limit;
pub mod members;
pub mod money;
pub mod org;
pub mod outbox;
pub mod outcome;
mod overrides;
pub mod pipeline;
mod planes;
pub mod policy;
mod pools;
pub mod promise;
pub mod rate;
pub mod reach;
pub mod refund;
pub mod refusal;
pub mod reply;
pub mod request;
pub mod rows;
pub mod scopes;
pub mod service_time;
mod sessions;
pub mod shard;
pub mod spending;
mod table;
pub mod tenure;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod upstream;
pub mod usage;
pub mod what_if;
pub mod window;
pub mod words;
pub mod zone;
