//! A client that can say anything, as a foreign or broken implementation would.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use d_engine_rpc::wire;
use d_engine_rpc::wire::exchange_request::Content;
use d_engine_rpc::wire::peer_service_client::PeerServiceClient;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};

pub struct Http(http2::SendRequest<Body>);

impl Service<Request<Body>> for Http {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

pub async fn connect(address: SocketAddr) -> PeerServiceClient<Http> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    PeerServiceClient::with_origin(Http(sender), "http://test".parse().unwrap())
}

pub fn say(content: Content) -> wire::ExchangeRequest {
    wire::ExchangeRequest { content: Some(content) }
}

/// Says that, keeps the stream open, and gives what comes in answer: the welcomes, and the status at the end.
pub fn exchange(address: SocketAddr, requests: Vec<wire::ExchangeRequest>) -> (usize, Option<Status>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = connect(address).await;
        let (open, requests_open) = tokio::sync::mpsc::channel(requests.len());
        for request in requests {
            open.send(request).await.unwrap();
        }
        let requests = tokio_stream::wrappers::ReceiverStream::new(requests_open);
        let mut answers = match client.exchange(requests).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return (0, Some(status)),
        };
        let mut welcomes = 0;
        loop {
            match answers.message().await {
                Ok(Some(answer)) => welcomes += usize::from(answer.welcome.is_some()),
                Ok(None) => return (welcomes, None),
                Err(status) => return (welcomes, Some(status)),
            }
        }
    })
}
