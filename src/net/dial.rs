//! Connections to other nodes: in TLS with the certificate of the cluster, or in the clear on this machine alone.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tower_service::Service;

use super::tls::Tls;

/// Both directions of a connection.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection to another node.
pub struct Socket(Box<dyn Duplex>);

impl Socket {
    /// Over whatever carries bytes.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Box::new(io))
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Socket")
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

/// How nodes are reached.
pub trait Dial: Send + Sync + fmt::Debug {
    /// A connection to `host:port`.
    fn dial(&self, address: Arc<str>) -> BoxFuture<'static, io::Result<Socket>>;
}

/// Over the network.
#[derive(Debug)]
pub struct Dialer(Option<Arc<Tls>>);

impl Dialer {
    /// With the TLS between nodes. Without it only this machine is reached.
    pub fn new(tls: Option<Arc<Tls>>) -> Self {
        Self(tls)
    }
}

impl Dial for Dialer {
    fn dial(&self, address: Arc<str>) -> BoxFuture<'static, io::Result<Socket>> {
        let tls = self.0.clone();
        Box::pin(async move {
            let Some(tls) = tls else { return in_the_clear(&address).await.map(Socket::new) };
            let (Some(connector), Some(nodes)) = (tls.connector(), tls.nodes()) else {
                return Err(io::Error::other("the TLS of callers is not that between nodes"));
            };
            let name = ServerName::try_from(nodes.name).map_err(io::Error::other)?;
            let io = TcpStream::connect(&*address).await?;
            io.set_nodelay(true)?;
            connector.connect(name, io).await.map(Socket::new)
        })
    }
}

/// What is sent in the clear stays on this machine.
async fn in_the_clear(address: &str) -> io::Result<TcpStream> {
    let mut found = lookup_host(address).await?;
    let Some(local) = found.find(|found| found.ip().is_loopback()) else {
        let why = format!("{address} is not on this machine: nodes reach each other in TLS, or over loopback");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    };
    let io = TcpStream::connect(local).await?;
    io.set_nodelay(true)?;
    Ok(io)
}

/// For a client of HTTP/2: each connection that it asks for is one to this address.
#[derive(Debug, Clone)]
pub struct To {
    dial: Arc<dyn Dial>,
    address: Arc<str>,
}

impl To {
    /// Connections to `host:port`.
    pub fn new(dial: Arc<dyn Dial>, address: Arc<str>) -> Self {
        Self { dial, address }
    }
}

impl Service<Uri> for To {
    type Response = TokioIo<Socket>;
    type Error = io::Error;
    type Future = Dialing;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Dialing {
        Dialing(self.dial.dial(self.address.clone()))
    }
}

/// A connection that is being made.
pub struct Dialing(BoxFuture<'static, io::Result<Socket>>);

impl fmt::Debug for Dialing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialing")
    }
}

impl Future for Dialing {
    type Output = io::Result<TokioIo<Socket>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map_ok(TokioIo::new)
    }
}
