//! The certificate of the listeners while the node runs: read again when its files change, and said before it ends.

use std::{sync::Arc, time::Duration};

use super::Failure;
use crate::{
    auth::Certificates,
    clock,
    config::{Config, TlsFiles},
    net::{Replaced, Tls, TlsPaths},
    telemetry::Metrics,
};

/// How often the files are read.
const EVERY: Duration = Duration::from_secs(5);
/// How long before its end a certificate is said to end.
const WARN_BEFORE_S: i64 = 14 * 24 * 3600;
const SECOND_MS: u64 = 1_000;

/// The certificate that is configured, read and found to be of use.
///
/// # Errors
/// Naming the key, the file, and what is wrong with it.
pub fn open_tls(config: &Config) -> Result<Option<Arc<Tls>>, Failure> {
    let Some(TlsFiles { cert, key }) = &config.tls else { return Ok(None) };
    let client_ca = config.auth.certificates.as_ref().map(|certificates| certificates.ca.clone());
    let paths = TlsPaths { cert: cert.clone(), key: key.clone(), client_ca };
    let tls = Tls::open(paths).map_err(Failure)?;
    refuse_ended(&tls).map_err(Failure)?;
    Ok(Some(tls))
}

/// Serves what the files hold, as soon as they are whole. What cannot be read is said once, and what was served before
/// goes on.
pub(super) async fn watch(tls: Arc<Tls>, certificates: Option<Arc<Certificates>>, metrics: Arc<Metrics>) {
    let mut refused: Option<String> = None;
    let mut warned_of = None;
    loop {
        let ends = tls.not_after();
        metrics.certificate_ends(ends);
        if ends - now() < WARN_BEFORE_S && warned_of != Some(ends) {
            warned_of = Some(ends);
            tracing::warn!(not_after = %shown(ends), "the certificate of the listeners ends soon, or has ended");
        }
        tokio::time::sleep(EVERY).await;
        let read = {
            let tls = tls.clone();
            tokio::task::spawn_blocking(move || tls.read_again()).await
        };
        match read.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(Replaced { certificate, client_ca }) => {
                refused = None;
                if certificate {
                    tracing::info!(not_after = %shown(tls.not_after()), "another certificate is served from now on");
                }
                if client_ca {
                    let revoked = certificates.as_ref().map_or(0, |certificates| certificates.trust_again());
                    tracing::info!(revoked, "other CAs are trusted to vouch for callers from now on");
                }
            }
            Err(why) => {
                metrics.certificate_refused();
                if refused.as_ref() != Some(&why) {
                    tracing::error!(%why, "the certificate was not replaced, the one before is served on");
                    refused = Some(why);
                }
            }
        }
    }
}

/// A certificate that has ended is not served from the start.
fn refuse_ended(tls: &Tls) -> Result<(), String> {
    let ends = tls.not_after();
    if ends <= now() {
        return Err(format!("the certificate in tls.cert has ended on {}: nobody would accept it", shown(ends)));
    }
    Ok(())
}

fn now() -> i64 {
    i64::try_from(clock::wall() / SECOND_MS).unwrap_or(i64::MAX)
}

fn shown(seconds: i64) -> String {
    chrono::DateTime::from_timestamp(seconds, 0).map_or_else(|| seconds.to_string(), |at| at.to_rfc3339())
}
