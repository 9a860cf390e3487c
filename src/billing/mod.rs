//! Billing providers. `none`, the default, meters nothing: every org is allowed without asking.
//! `autumn` asks over HTTP, behind a breaker, and listens to the webhooks that say when to ask again.

pub mod autumn;
pub mod breaker;
pub mod webhook;

use futures_util::future::{BoxFuture, ready};

use crate::{
    domain::{
        balance::{Balance, BalanceVerdict},
        gate::Cause,
        ids::OrgId,
        outbox::Delivery,
    },
    ports::{BillingProvider, Freshness, Usage},
};

/// Meters nothing: every org is allowed, none pays, and usage has nowhere to go.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBilling;

impl BillingProvider for NoBilling {
    fn check<'a>(&'a self, _: &'a OrgId, _: Freshness) -> BoxFuture<'a, BalanceVerdict> {
        Box::pin(ready(BalanceVerdict::Allowed(Balance { unlimited: true, ..Balance::default() })))
    }

    fn pays<'a>(&'a self, _: &'a OrgId) -> BoxFuture<'a, Result<bool, Cause>> {
        Box::pin(ready(Ok(false)))
    }

    fn report(&self, _: Usage) -> BoxFuture<'_, Delivery> {
        Box::pin(ready(Delivery::Delivered))
    }
}
