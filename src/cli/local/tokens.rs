//! Where `tollgate token` finds tokens: in a file, or in the PostgreSQL of a cluster.

use std::path::PathBuf;

use tokio::runtime::Runtime;

use super::super::args::TokenPlaceArgs;
use crate::{
    auth::StoredToken,
    config::{self, Overrides, TokenStore},
    store::postgres::{PgOptions, TokenTable},
};

const DEFAULT_FILE: &str = "./tollgate-tokens.toml";
const OWNER: &str = "tollgate token";

/// Where tokens are.
pub(in crate::cli) enum Place {
    File(PathBuf),
    Store(Box<Store>),
}

impl Place {
    /// What the flags name, or else the configuration, or the default.
    pub(in crate::cli) fn of(args: &TokenPlaceArgs) -> Result<Self, String> {
        if let Some(file) = &args.file {
            return Ok(Self::File(file.clone()));
        }
        if let Some(url) = &args.postgres {
            return Store::open(url);
        }
        let config = config::load(args.config.as_deref(), config::environment(), Overrides::default());
        let config = config.map_err(|mistakes| mistakes.to_string())?;
        match (config.auth.token_store, &config.cluster, config.auth.tokens) {
            (Some(TokenStore::Cluster), Some(cluster), _) => {
                let url = cluster.postgres_urls.first().ok_or("cluster.postgres_urls is empty")?;
                Store::open(url.reveal())
            }
            (_, _, Some(file)) => Ok(Self::File(file)),
            _ if args.config.is_some() => {
                Err("the configuration has neither auth.tokens nor auth.token_store: callers have no tokens".into())
            }
            _ => Ok(Self::File(DEFAULT_FILE.into())),
        }
    }
}

/// The tokens of a cluster.
pub(in crate::cli) struct Store {
    runtime: Runtime,
    table: TokenTable,
}

impl Store {
    fn open(url: &str) -> Result<Place, String> {
        let options = PgOptions::of(url, OWNER).map_err(|error| error.to_string())?;
        let runtime = super::runtime().map_err(|error| format!("no runtime: {error}"))?;
        let table = runtime.block_on(TokenTable::open(options)).map_err(|error| error.to_string())?;
        Ok(Place::Store(Box::new(Self { runtime, table })))
    }

    pub(in crate::cli) fn create(&self, token: &StoredToken) -> Result<(), String> {
        let row = token.row()?;
        self.runtime.block_on(self.table.create(&row)).map_err(|error| error.to_string())
    }

    /// False where there is none of this name.
    pub(in crate::cli) fn revoke(&self, name: &str) -> Result<bool, String> {
        self.runtime.block_on(self.table.revoke(name)).map_err(|error| error.to_string())
    }

    /// In the order in which they were made.
    pub(in crate::cli) fn all(&self) -> Result<Vec<StoredToken>, String> {
        let rows = self.runtime.block_on(self.table.all()).map_err(|error| error.to_string())?;
        rows.into_iter().map(StoredToken::of_row).collect()
    }
}
