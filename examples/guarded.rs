//! A call over TLS with a token, as docs/security.md sets a node up.
//!
//! ```sh
//! cargo run --example guarded -- https://localhost:7070 acme
//! ```
//!
//! Reads `tollgate-tls/ca.pem` and `plane-eu.token` where it is run.

use std::{env, error::Error};

use tollgate::wire::v1::{AcquireRequest, gate_service_client::GateServiceClient};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig},
};

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "the answer")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(address), Some(org)) = (arguments.next(), arguments.next()) else {
        return Err("usage: guarded https://HOST:PORT ORG".into());
    };
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(std::fs::read("tollgate-tls/ca.pem")?));
    let channel = Channel::from_shared(address)?.tls_config(tls)?.connect().await?;
    let token = std::fs::read_to_string("plane-eu.token")?;
    let bearer: MetadataValue<Ascii> = format!("Bearer {}", token.trim()).parse()?;
    let mut gate = GateServiceClient::with_interceptor(channel, move |mut request: Request<()>| {
        request.metadata_mut().insert("authorization", bearer.clone());
        Ok(request)
    });
    let answer = gate.acquire(AcquireRequest { org, ..Default::default() }).await?.into_inner();
    println!("{}", if answer.allowed { "allowed" } else { "denied" });
    Ok(())
}
