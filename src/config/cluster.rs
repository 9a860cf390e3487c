//! `[cluster]`: nodes that share PostgreSQL. Without the section a node is alone, with a data directory.

use std::{collections::BTreeSet, num::NonZeroU16, path::PathBuf};

use super::{
    reader::{Parsed, Section},
    secret::{Secret, warn_of_open},
    sections::Listen,
    tls,
    tree::{Entry, Value},
    values::whole_u32,
};
use crate::bounds::CELLS_MAX;

/// The largest weight: enough for any difference between machines.
pub(super) const WEIGHT_MAX: u32 = 1_000;
const HOST_BYTES: usize = 253;
const URLS: &str = "a list of 1 to 64 postgres://USER@HOST:PORT/DATABASE, no two alike";

/// A node among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Where the databases are, one for each cell, in the order of every node. Each may have a password in it.
    pub postgres_urls: Vec<Secret<String>>,
    /// `host:port` at which other nodes reach this one; by default the address of `listen.peer`.
    pub advertise: Option<String>,
    /// `host:port` at which callers reach it; by default the address of `listen.grpc`.
    pub advertise_grpc: Option<String>,
    /// Its part of the orgs is this among the sum of all.
    pub weight: NonZeroU16,
    /// What nodes show to each other; without it they speak in the clear, on loopback only.
    pub tls: Option<PeerFiles>,
}

/// The certificate that a node shows to other nodes, and who vouches for theirs. Files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerFiles {
    /// A chain, the node's own certificate first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The CA of the cluster: who has a certificate of it is a node.
    pub ca: PathBuf,
}

pub(super) fn cluster(mut section: Section<'_>, listen: &Listen) -> Option<Cluster> {
    let at = section.at().clone();
    let keys = ["postgres_urls", "advertise", "advertise_grpc", "weight", "tls"];
    let is_there = keys.iter().any(|key| section.place(key).is_some());
    let is_missing = section.place("postgres_urls").is_none();
    let urls = section.read("postgres_urls", urls);
    let advertise = section.read("advertise", host_and_port);
    let advertise_grpc = section.read("advertise_grpc", host_and_port);
    let weight = section.read("weight", |entry| whole_u32(entry, 1, WEIGHT_MAX));
    let tls = peer_files(section.section("tls"));
    if !is_there {
        return None;
    }
    let Some(postgres_urls) = urls else {
        if is_missing {
            section.findings.refuse(&at, "cluster.postgres_urls", "", URLS);
        }
        return None;
    };
    if !listen.peer.ip().is_loopback() && tls.is_none() {
        let allowed = "[cluster.tls] with cert, key and ca: listen.peer is reached from other machines";
        section.findings.refuse(&at, "cluster.tls", "", allowed);
    }
    let weight = weight.and_then(|weight| NonZeroU16::new(u16::try_from(weight).ok()?)).unwrap_or(NonZeroU16::MIN);
    Some(Cluster { postgres_urls, advertise, advertise_grpc, weight, tls })
}

fn peer_files(mut section: Section<'_>) -> Option<PeerFiles> {
    let key_at = section.place("key");
    let at = ["cert", "key", "ca"].iter().find_map(|key| section.place(key));
    let files = ["cert", "key", "ca"].map(|key| section.read(key, tls::file));
    let at = at?;
    match files {
        [Some(cert), Some(key), Some(ca)] => {
            warn_of_open(&mut section, (key_at.as_ref().unwrap_or(&at), "key"), &key);
            Some(PeerFiles { cert, key, ca })
        }
        files => {
            for (key, _) in ["cert", "key", "ca"].iter().zip(&files).filter(|(_, file)| file.is_none()) {
                let missing = format!("cluster.tls.{key}");
                section.findings.refuse(&at, &missing, "", "the path of a file in PEM: cert, key and ca go together");
            }
            None
        }
    }
}

/// The text of an URL is judged where it is used; here it is only kept out of every message.
fn urls(entry: &Entry) -> Parsed<Vec<Secret<String>>> {
    let Value::List(list) = &entry.value else { return Err(URLS.into()) };
    let urls: Option<Vec<_>> = list.iter().map(|each| each.text().map(|url| Secret::new(url.to_owned()))).collect();
    let is_allowed = |urls: &Vec<Secret<String>>| {
        let different: BTreeSet<_> = urls.iter().map(Secret::reveal).collect();
        (1..=CELLS_MAX).contains(&urls.len()) && different.len() == urls.len()
    };
    urls.filter(is_allowed).ok_or_else(|| URLS.into())
}

fn host_and_port(entry: &Entry) -> Parsed<String> {
    let is_one = |text: &&str| {
        let Some((host, port)) = text.rsplit_once(':') else { return false };
        !host.is_empty()
            && host.len() <= HOST_BYTES
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte))
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    entry.text().filter(is_one).map(str::to_owned).ok_or_else(|| "HOST:PORT".into())
}
