//! Calls as bytes on the wire, without the typed client, which refuses some requests before they are sent.

use http::uri::PathAndQuery;
use prost::Message;
use prost::bytes::{Buf, BufMut};
use strongroom::api::Method;
use strongroom::client::tls::{ClientFiles, ClientTls, Timeouts, connect};
use strongroom::client::{Client, ClientError, ClientOptions, Credentials};
use strongroom::model::SpiffeId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::harness::{Running, Site, server_id};
use crate::requests::{Probe, Subject, message};

/// A connection as somebody.
pub(crate) async fn channel(site: &Site, running: &Running, id: &SpiffeId) -> Channel {
    channel_with(running, site.credentials(id)).await
}

/// A connection with these files.
pub(crate) async fn channel_with(running: &Running, Credentials { ca, certificate, key }: Credentials) -> Channel {
    let tls = ClientTls::from_files(&ClientFiles { roots: ca, certificate, key }, server_id()).expect("the files of the site");
    connect(&running.address().to_string(), &tls, Timeouts::default()).await.expect("connected")
}

/// Sends the proper request of an RPC.
pub(crate) async fn call(channel: &Channel, method: Method, subject: &Subject) -> Result<Vec<u8>, Status> {
    send(channel, method.path(), message(method, subject, &mut Probe::none())).await
}

/// Sends a request and reads the answer.
pub(crate) async fn ask<A: Message + Default>(channel: &Channel, method: Method, request: &impl Message) -> Result<A, Status> {
    let answer = send(channel, method.path(), request.encode_to_vec()).await?;
    Ok(A::decode(answer.as_slice()).expect("an answer of that RPC"))
}

/// Sends bytes as the message of a request, whatever they are.
pub(crate) async fn send(channel: &Channel, path: &str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
    send_with(channel, path, Request::new(message)).await
}

/// The same with metadata of the test's choice. Of a stream it reads the first message, and goes away.
pub(crate) async fn send_with(channel: &Channel, path: &str, request: Request<Vec<u8>>) -> Result<Vec<u8>, Status> {
    let path: PathAndQuery = path.parse().expect("a path");
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    if [Method::WatchSecrets.path(), Method::WatchRewrap.path(), Method::CreateBackup.path()].contains(&path.as_str()) {
        let mut stream = grpc.server_streaming(request, path, Raw).await?.into_inner();
        return stream.message().await?.ok_or_else(|| Status::unknown("a stream without a message"));
    }
    grpc.unary(request, path, Raw).await.map(Response::into_inner)
}

/// A call under way: where its message goes, and its answer.
pub(crate) type Slow = (mpsc::Sender<Vec<u8>>, JoinHandle<Result<Vec<u8>, Status>>);

/// A call whose message comes when it is sent: until then it is under way.
pub(crate) fn slow(channel: &Channel, method: Method) -> Slow {
    let (message, comes) = mpsc::channel(1);
    let mut grpc = Grpc::new(channel.clone());
    let call = tokio::spawn(async move {
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        // A stream of one message is what a unary call is on the wire.
        let messages = Request::new(ReceiverStream::new(comes));
        grpc.client_streaming(messages, PathAndQuery::from_static(method.path()), Raw).await.map(Response::into_inner)
    });
    (message, call)
}

/// Opens a stream of answers.
pub(crate) async fn listen(channel: &Channel, method: Method, request: &impl Message) -> Result<Streaming<Vec<u8>>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(method.path());
    grpc.server_streaming(Request::new(request.encode_to_vec()), path, Raw).await.map(Response::into_inner)
}

/// The code of an answer.
pub(crate) fn code<T>(answer: &Result<T, Status>) -> Code {
    answer.as_ref().map_or_else(Status::code, |_| Code::Ok)
}

/// The code of the typed client's answer.
pub(crate) fn refused<T>(answer: &Result<T, ClientError>) -> Code {
    match answer {
        Ok(_) => Code::Ok,
        Err(error) => error.refusal().unwrap_or_else(|| panic!("no answer: {error}")).code,
    }
}

/// The typed client for a test's own certificate files.
pub(crate) async fn client_with(running: &Running, credentials: Credentials) -> Client {
    let options = ClientOptions::new(running.address().to_string(), server_id(), credentials).retries(0);
    Client::connect(options).await.expect("connected")
}

struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut message = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}
