//! A caller that has nothing but HTTP/1.1: one kept connection, one request as JSON at a time.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::server::Res;

pub(crate) struct Fetch {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Fetch {
    pub(crate) async fn connect(address: SocketAddr) -> Res<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, heard: Vec::new() })
    }

    /// Asks, and waits for the whole answer, which has to be one.
    pub(crate) async fn acquire(&mut self, org: &str) -> Res<()> {
        let body = format!("{{\"org\":\"{org}\"}}");
        let length = body.len();
        let request = format!(
            "POST /tollgate.v1.GateService/Acquire HTTP/1.1\r\nhost: node\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.heard.clear();
        loop {
            if self.stream.read_buf(&mut self.heard).await? == 0 {
                return Err("the connection ended".into());
            }
            let Some(head) = self.heard.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(&self.heard[..head])?;
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.ok_or("an answer without a length")?.parse()?;
            if self.heard.len() >= head + 4 + length {
                let is_answer = text.starts_with("HTTP/1.1 200");
                return if is_answer { Ok(()) } else { Err(text.to_owned().into()) };
            }
        }
    }
}
