//! `tollgate cert dev`: a CA and a certificate of a node, for a first hour.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use chrono::{DateTime, Datelike};
use rcgen::{
    BasicConstraints, CertificateParams, DnType,
    ExtendedKeyUsagePurpose::{self, ClientAuth, ServerAuth},
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use super::{
    Exit,
    args::CertDevArgs,
    failure::Failure,
    output::{Output, View},
};
use crate::{
    bounds::{DAY_MS, NAME_OF_NODES},
    clock,
    domain::window::Millis,
};

const VALID_MS: u64 = 30 * DAY_MS;
const OWNER_READS: u32 = 0o600;
const OWNER_ENTERS: u32 = 0o700;

pub(super) fn dev(args: &CertDevArgs, output: &mut Output<'_>) -> Exit {
    let made =
        make(args).and_then(|made| write(&args.dir, &made).map_err(|error| format!("{}: {error}", args.dir.display())));
    match made {
        Ok(()) => {
            output.show(&View::verbatim(&what_to_do(args)));
            Exit::Done
        }
        Err(error) => {
            output.error(&Failure::Local(error));
            Exit::Error
        }
    }
}

/// The lines for the configuration, and the first command.
fn what_to_do(CertDevArgs { dir, hosts, client, .. }: &CertDevArgs) -> String {
    let (dir, host) = (dir.display(), hosts.first().map_or("localhost", String::as_str));
    let mut text = format!("[tls]\ncert = \"{dir}/cert.pem\"\nkey = \"{dir}/key.pem\"\n\n");
    let mut flags = format!("--ca {dir}/ca.pem");
    if let Some(client) = client {
        text += &format!(
            "[auth.certificates]\nca = \"{dir}/ca.pem\"\n\n[auth.certificates.principals]\n\
             {client:?} = {{ role = \"admin\", orgs = [\"*\"] }}\n\n"
        );
        flags += &format!(" --client-cert {dir}/client.pem --client-key {dir}/client-key.pem");
    }
    text + &format!("# tollgate --addr https://{host}:7070 {flags} node")
}

/// Files by their names, in PEM.
type Made = Vec<(&'static str, String)>;

fn make(args: &CertDevArgs) -> Result<Made, String> {
    let failed = |error: rcgen::Error| error.to_string();
    let (authority, ca) = Authority::new().map_err(failed)?;
    let node = CertificateParams::new(args.hosts.clone()).map_err(|error| format!("--host: {error}"))?;
    let (cert, key) = authority.signed(node, "tollgate", &[ServerAuth]).map_err(failed)?;
    let mut made = vec![("ca.pem", ca), ("cert.pem", cert), ("key.pem", key)];
    if let Some(name) = &args.client {
        let mut client = CertificateParams::default();
        client.subject_alt_names = vec![alternative(name).map_err(|error| format!("--client: {error}"))?];
        let (cert, key) = authority.signed(client, "tollgate client", &[ClientAuth]).map_err(failed)?;
        made.extend([("client.pem", cert), ("client-key.pem", key)]);
    }
    if args.peer {
        let peer = CertificateParams::new([NAME_OF_NODES.to_owned()]).map_err(failed)?;
        // Each node calls others, and is called by them.
        let (cert, key) = authority.signed(peer, "tollgate peer", &[ServerAuth, ClientAuth]).map_err(failed)?;
        made.extend([("peer.pem", cert), ("peer-key.pem", key)]);
    }
    Ok(made)
}

/// A CA, and from when to when it signs for.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    from: Millis,
    to: Millis,
}

impl Authority {
    /// With its certificate in PEM.
    fn new() -> Result<(Self, String), rcgen::Error> {
        let (from, to) = (clock::wall().saturating_sub(DAY_MS), clock::wall() + VALID_MS);
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name.push(DnType::CommonName, "tollgate cert dev");
        (ca.not_before, ca.not_after) = (midnight(from, date_time_ymd), midnight(to + DAY_MS, date_time_ymd));
        let key = KeyPair::generate()?;
        let pem = ca.self_signed(&key)?.pem();
        Ok((Self { issuer: Issuer::new(ca, key), from, to }, pem))
    }

    /// A certificate and its key, both in PEM.
    fn signed(
        &self,
        mut params: CertificateParams,
        name: &str,
        purposes: &[ExtendedKeyUsagePurpose],
    ) -> Result<(String, String), rcgen::Error> {
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = purposes.to_vec();
        params.use_authority_key_identifier_extension = true;
        params.not_before = midnight(self.from, date_time_ymd);
        params.not_after = midnight(self.to, date_time_ymd);
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok((cert.pem(), key.serialize_pem()))
    }
}

/// With a colon it is a URI, as in `[auth.certificates.principals]`.
fn alternative(name: &str) -> Result<SanType, rcgen::Error> {
    let text = name.try_into()?;
    Ok(if name.contains(':') { SanType::URI(text) } else { SanType::DnsName(text) })
}

/// Certificates begin and end at midnight.
fn midnight<D>(at: Millis, of: fn(i32, u8, u8) -> D) -> D {
    let at = i64::try_from(at).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    let [month, day] = [at.month(), at.day()].map(|part| u8::try_from(part).unwrap_or(1));
    of(at.year(), month, day)
}

fn write(dir: &Path, made: &[(&str, String)]) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(OWNER_ENTERS).create(dir)?;
    for (name, text) in made {
        let named = |error: io::Error| {
            let more = match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    ": choose another directory; the CA in this one signs nothing more, because its key was not kept"
                }
                _ => "",
            };
            io::Error::new(error.kind(), format!("{name}: {error}{more}"))
        };
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(OWNER_READS).open(dir.join(name)).map_err(named)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(named)?;
    }
    Ok(())
}
