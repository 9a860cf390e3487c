//! As much of HTTP/1.1 as the stand-in needs, written by hand: it has to break off in the middle of
//! an answer, which no server library lets it.

use std::{collections::BTreeMap, io, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Names in lower case.
pub type Headers = BTreeMap<String, String>;

pub type Stream = BufReader<TcpStream>;

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Headers,
    /// `null` where there is none; a string where it is no JSON.
    pub body: Value,
}

/// The next request on the connection; `None` where there is none.
pub async fn read(stream: &mut Stream) -> io::Result<Option<Request>> {
    let Some(first) = line(stream).await? else { return Ok(None) };
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let mut headers = Headers::new();
    while let Some(header) = line(stream).await?.filter(|header| !header.is_empty()) {
        if let Some((name, value)) = header.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or_else(|_| text()) };
    Ok(Some(Request { method, path, headers, body }))
}

async fn line(stream: &mut Stream) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).await?;
    Ok((read > 0).then(|| line.trim_end().to_owned()))
}

fn head(status: u16, length: usize, headers: &[(&str, &str)]) -> String {
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} Stand-in\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n")
}

pub async fn write(stream: &mut Stream, status: u16, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
    let answer = [head(status, body.len(), headers).as_bytes(), body].concat();
    stream.write_all(&answer).await?;
    stream.flush().await
}

/// The answer, a byte every so often.
pub async fn trickle(stream: &mut Stream, status: u16, body: &[u8], pause: Duration) -> io::Result<()> {
    stream.write_all(head(status, body.len(), &[]).as_bytes()).await?;
    for byte in body {
        stream.write_all(&[*byte]).await?;
        stream.flush().await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}
