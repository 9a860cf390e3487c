//! This node's places in all cells, each kept by a [`Keeper`] of its own: what happens to one cell does not reach the others.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;

use super::{
    keeper::{self, Keeper, Place},
    table::Table,
};
use crate::{
    domain::members::{About, Incarnation, NodeId},
    ports::{Cell, Clock, Itself, Residents, StoreFault},
};

/// What a node needs to take part.
#[derive(Debug)]
pub struct Deps {
    /// The rows that nodes share, by the number of the cell.
    pub cells: Vec<Arc<dyn Cell>>,
    /// Which node answers for which shard, as it is found here.
    pub table: Arc<Table>,
    /// What this node has in memory.
    pub residents: Arc<dyn Residents>,
    /// How long a lease is good for.
    pub clock: Arc<dyn Clock>,
    /// Of this node, in each of its lives.
    pub name: Arc<str>,
    /// What it says of itself.
    pub about: About,
    /// Draws an incarnation.
    pub draw: fn() -> Incarnation,
}

/// The handle of a node that takes part.
#[derive(Debug)]
pub struct Membership {
    name: Arc<str>,
    keepers: Vec<Keeper>,
}

impl Itself for Membership {
    /// In its life in the first cell; those in the others are known there only.
    fn id(&self) -> NodeId {
        self.keepers.first().map_or_else(|| keeper::unregistered(&self.name), Keeper::id)
    }
}

impl Membership {
    /// The node takes its share of each cell from now on, until [`Membership::leave`].
    pub fn start(deps: Deps) -> Self {
        let Deps { cells, table, residents, clock, name, about, draw } = deps;
        let keep = |(cell, part)| {
            let (residents, clock) = (residents.clone(), clock.clone());
            Keeper::start(keeper::Deps {
                cell,
                table: part,
                residents,
                clock,
                name: name.clone(),
                about: about.clone(),
                draw,
            })
        };
        let keepers = cells.into_iter().zip(table.parts()).map(keep).collect();
        Self { name, keepers }
    }

    /// How this node stands in each cell, by the number of the cell.
    pub fn places(&self) -> Vec<Arc<Place>> {
        self.keepers.iter().map(Keeper::place).collect()
    }

    /// Why this node has no part in some cell although it could have.
    pub fn trouble(&self) -> Option<String> {
        let rival = self.places().iter().find_map(|place| place.rival.clone())?;
        Some(format!("the node at {rival} has the same node.name, {}: this one does not join it", self.name))
    }

    /// The node of this name gives everything up and takes nothing, or takes its share again, in every cell. False where no
    /// such node lives in any, as far as this one has seen.
    ///
    /// # Errors
    /// Where it is not known of some cell whether it was carried out there; it is in the others.
    pub async fn drain(&self, node: &str, is_draining: bool) -> Result<bool, StoreFault> {
        let asked = self.keepers.iter().map(|keeper| keeper.drain(node, is_draining));
        let answers = join_all(asked).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(answers.contains(&true))
    }

    /// The digest of what is configured is another one from now on.
    pub fn configured(&self, config: &str) {
        self.keepers.iter().for_each(|keeper| keeper.configured(config.to_owned()));
    }

    /// Gives everything up and leaves every cell; what takes longer than `within` is left to the leases.
    pub async fn leave(&self, within: Duration) {
        join_all(self.keepers.iter().map(|keeper| keeper.leave(within))).await;
    }
}
