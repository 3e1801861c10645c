//! The one way of every call: request id, deadline, attempts, errors.
//!
//! Requests are sent from one shared copy: another attempt does not multiply a value, and the copy is wiped after the
//! last. That is why the calls do not go through the generated clients, which consume a request for each attempt.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic::{Status, Streaming};
use tonic_prost::ProstDecoder;
use zeroize::Zeroize;

use super::{Client, ClientError, Method, retry};
use crate::api;

/// Longest answer: a page of 1,000 secrets whose metadata are at their limit stays below it.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Whether sending a request twice does no more than sending it once.
pub(super) enum Repeat<'a> {
    /// It changes nothing.
    Always,
    /// It does if both carry this id.
    WithId(&'a mut String),
    /// It may do more.
    Never,
}

/// A request, and what belongs to it.
pub(super) trait Call: Message + 'static {
    /// The answer's message.
    type Answer: Message + Default + 'static;
    /// The RPC.
    const METHOD: Method;
    /// Whether it may be sent again.
    fn repeat(&mut self) -> Repeat<'_>;
    /// Wipes the value that it carries, if it carries one.
    fn wipe(&mut self) {}
}

impl Client {
    /// Sends a request, again if that is safe and the server is unavailable, and waits for the answer.
    pub(super) async fn call<Q: Call>(&self, request: Q) -> Result<Q::Answer, ClientError> {
        let mut request = Outgoing(request);
        let repeatable = prepare(&mut request.0)?;
        let (request, started) = (Arc::new(request), Instant::now());
        for retried in 0.. {
            let left = self.deadline.saturating_sub(started.elapsed());
            let error = match self.attempt(&request, left).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !repeatable || !error.is_passing() {
                return Err(error);
            }
            let left = self.deadline.saturating_sub(started.elapsed());
            match retry::pause(retried, self.retries, error.retry_after(), left, u32::from_be_bytes(retry::random()?)) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
        }
        unreachable!("the retries run out before the numbers do")
    }

    async fn attempt<Q: Call>(&self, request: &Arc<Outgoing<Q>>, left: Duration) -> Result<Q::Answer, ClientError> {
        let send = async {
            let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES);
            grpc.ready().await.map_err(|error| ClientError::of_connection(&self.address, &error))?;
            let mut message = tonic::Request::new(Arc::clone(request));
            message.set_timeout(left);
            let path = PathAndQuery::from_static(Q::METHOD.path());
            let answer = grpc.unary(message, path, SharedCodec::<Q>(PhantomData)).await;
            answer.map(tonic::Response::into_inner).map_err(|status| self.error(Q::METHOD, &status))
        };
        tokio::time::timeout(left, send).await.unwrap_or_else(|_| Err(self.timed_out(Q::METHOD)))
    }

    /// Sends a request once, and waits until its stream of answers has begun; the stream itself has no deadline.
    pub(super) async fn stream<Q: Call>(&self, request: Q) -> Result<Streaming<Q::Answer>, ClientError> {
        let request = Arc::new(Outgoing(request));
        let send = async {
            let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES);
            grpc.ready().await.map_err(|error| ClientError::of_connection(&self.address, &error))?;
            let path = PathAndQuery::from_static(Q::METHOD.path());
            let answer = grpc.server_streaming(tonic::Request::new(request), path, SharedCodec::<Q>(PhantomData)).await;
            answer.map(tonic::Response::into_inner).map_err(|status| self.error(Q::METHOD, &status))
        };
        tokio::time::timeout(self.deadline, send).await.unwrap_or_else(|_| Err(self.timed_out(Q::METHOD)))
    }

    pub(super) fn error(&self, method: Method, status: &Status) -> ClientError {
        ClientError::of_status(method, &self.address, status).unwrap_or_else(|| self.timed_out(method))
    }

    pub(super) fn timed_out(&self, method: Method) -> ClientError {
        ClientError::TimedOut { method, deadline: self.deadline }
    }
}

/// Gives a change its request id if it has none; says whether the request may be sent again.
fn prepare(request: &mut impl Call) -> Result<bool, ClientError> {
    match request.repeat() {
        Repeat::Always => Ok(true),
        Repeat::Never => Ok(false),
        Repeat::WithId(id) => {
            if id.is_empty() {
                *id = retry::request_id()?;
            }
            Ok(true)
        }
    }
}

/// A request that is wiped when it is dropped.
struct Outgoing<Q: Call>(Q);

impl<Q: Call> Drop for Outgoing<Q> {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

struct SharedCodec<Q>(PhantomData<Q>);

impl<Q: Call> Codec for SharedCodec<Q> {
    type Encode = Arc<Outgoing<Q>>;
    type Decode = Q::Answer;
    type Encoder = SharedEncoder<Q>;
    type Decoder = ProstDecoder<Q::Answer>;

    fn encoder(&mut self) -> Self::Encoder {
        SharedEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

struct SharedEncoder<Q>(PhantomData<Q>);

impl<Q: Call> Encoder for SharedEncoder<Q> {
    type Item = Arc<Outgoing<Q>>;
    type Error = Status;

    fn encode(&mut self, item: Self::Item, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.0.encode(buffer).map_err(|_| Status::internal("no room for the request"))
    }
}

macro_rules! calls {
    ($($repeat:ident { $($method:ident: $request:ident -> $answer:ident $(wipes $($secret:ident),+)?;)+ })+) => {
        $($(impl Call for api::$request {
            type Answer = api::$answer;
            const METHOD: Method = Method::$method;

            fn repeat(&mut self) -> Repeat<'_> {
                calls!(@$repeat self)
            }

            $(fn wipe(&mut self) {
                $(self.$secret.zeroize();)+
            })?
        })+)+

        #[cfg(test)]
        const TABLE: &[(Method, &str, &str)] = &[$($((Method::$method, stringify!($request), stringify!($answer)),)+)+];
    };
    (@read $request:ident) => { Repeat::Always };
    (@change $request:ident) => { Repeat::WithId(&mut $request.request_id) };
    (@once $request:ident) => { Repeat::Never };
}

calls! {
    read {
        DescribeSecret: DescribeSecretRequest -> DescribeSecretResponse;
        RevealSecret: RevealSecretRequest -> RevealSecretResponse;
        RevealBatch: RevealBatchRequest -> RevealBatchResponse;
        ListSecrets: ListSecretsRequest -> ListSecretsResponse;
        ListSecretVersions: ListSecretVersionsRequest -> ListSecretVersionsResponse;
        FindSecrets: FindSecretsRequest -> FindSecretsResponse;
        WatchSecrets: WatchSecretsRequest -> WatchSecretsResponse;
        DescribeNamespace: DescribeNamespaceRequest -> DescribeNamespaceResponse;
        ListNamespaces: ListNamespacesRequest -> ListNamespacesResponse;
        DescribeRole: DescribeRoleRequest -> DescribeRoleResponse;
        ListRoles: ListRolesRequest -> ListRolesResponse;
        ListBindings: ListBindingsRequest -> ListBindingsResponse;
        ListKeys: ListKeysRequest -> ListKeysResponse;
        DescribeProposal: DescribeProposalRequest -> DescribeProposalResponse;
        ListProposals: ListProposalsRequest -> ListProposalsResponse;
        ListSlots: ListSlotsRequest -> ListSlotsResponse;
        GetKeyStatement: GetKeyStatementRequest -> GetKeyStatementResponse;
        ListRewraps: ListRewrapsRequest -> ListRewrapsResponse;
        WatchRewrap: WatchRewrapRequest -> WatchRewrapResponse;
        GetStatus: GetStatusRequest -> GetStatusResponse;
        ListAuditEntries: ListAuditEntriesRequest -> ListAuditEntriesResponse;
        ListBackups: ListBackupsRequest -> ListBackupsResponse;
        ListRecoveryRecipients: ListRecoveryRecipientsRequest -> ListRecoveryRecipientsResponse;
    }
    change {
        CreateSecret: CreateSecretRequest -> CreateSecretResponse wipes payload;
        UpdateSecret: UpdateSecretRequest -> UpdateSecretResponse wipes payload;
        UpdateSecretMetadata: UpdateSecretMetadataRequest -> UpdateSecretMetadataResponse;
        DisableSecret: DisableSecretRequest -> DisableSecretResponse;
        EnableSecret: EnableSecretRequest -> EnableSecretResponse;
        DestroySecret: DestroySecretRequest -> DestroySecretResponse;
        RestoreSecret: RestoreSecretRequest -> RestoreSecretResponse;
        PurgeSecret: PurgeSecretRequest -> PurgeSecretResponse;
        CreateNamespace: CreateNamespaceRequest -> CreateNamespaceResponse;
        CreateRole: CreateRoleRequest -> CreateRoleResponse;
        UpdateRole: UpdateRoleRequest -> UpdateRoleResponse;
        CreateBinding: CreateBindingRequest -> CreateBindingResponse;
        CreateProposal: CreateProposalRequest -> CreateProposalResponse;
    }
    once {
        DeleteRole: DeleteRoleRequest -> DeleteRoleResponse;
        ConfirmBinding: ConfirmBindingRequest -> ConfirmBindingResponse;
        CreateBackup: CreateBackupRequest -> CreateBackupResponse;
        DeleteBinding: DeleteBindingRequest -> DeleteBindingResponse;
        RotateKey: RotateKeyRequest -> RotateKeyResponse;
        ApproveProposal: ApproveProposalRequest -> ApproveProposalResponse;
        WithdrawProposal: WithdrawProposalRequest -> WithdrawProposalResponse;
        CarryOutProposal: CarryOutProposalRequest -> CarryOutProposalResponse wipes new_passphrase;
        TestSlot: TestSlotRequest -> TestSlotResponse wipes passphrase, share;
        PresentSecret: PresentSecretRequest -> PresentSecretResponse wipes passphrase, share;
        DisableKey: DisableKeyRequest -> DisableKeyResponse;
        EnableKey: EnableKeyRequest -> EnableKeyResponse;
        RetireKey: RetireKeyRequest -> RetireKeyResponse;
        CancelKeyRetirement: CancelKeyRetirementRequest -> CancelKeyRetirementResponse;
        Unseal: UnsealRequest -> UnsealResponse wipes passphrase, share;
        ForgetShares: ForgetSharesRequest -> ForgetSharesResponse;
        StartRewrap: StartRewrapRequest -> StartRewrapResponse;
        PauseRewrap: PauseRewrapRequest -> PauseRewrapResponse;
        ResumeRewrap: ResumeRewrapRequest -> ResumeRewrapResponse;
        Seal: SealRequest -> SealResponse;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn every_rpc_is_in_the_table_with_its_own_messages() {
        let mut methods: Vec<_> = TABLE.iter().map(|(method, ..)| *method).collect();
        methods.sort();
        assert_eq!(methods, {
            let mut all = Method::ALL.to_vec();
            all.sort();
            all
        });
        for (method, request, answer) in TABLE {
            assert_eq!(format!("{}Request", method.name()), *request);
            assert_eq!(format!("{}Response", method.name()), *answer);
        }
    }

    #[test]
    fn a_change_gets_an_id_and_keeps_its_own() {
        let mut request = api::CreateSecretRequest::default();
        assert!(prepare(&mut request).expect("random"));
        assert_eq!(request.request_id.len(), 32);
        let mut request = api::CreateSecretRequest { request_id: "order-4711".to_owned(), ..Default::default() };
        assert!(prepare(&mut request).expect("nothing to do"));
        assert_eq!(request.request_id, "order-4711");
    }

    #[test]
    fn only_reads_and_changes_with_an_id_are_sent_again() {
        assert!(prepare(&mut api::RevealSecretRequest::default()).expect("nothing to do"));
        assert!(!prepare(&mut api::RotateKeyRequest::default()).expect("nothing to do"));
        assert!(!prepare(&mut api::UnsealRequest::default()).expect("nothing to do"));
    }

    #[test]
    fn requests_with_a_value_wipe_it() {
        let value = || b"STAGE_canary".to_vec();
        let mut create = api::CreateSecretRequest { payload: value(), ..Default::default() };
        let mut update = api::UpdateSecretRequest { payload: value(), ..Default::default() };
        let mut unseal = api::UnsealRequest { passphrase: value(), share: value() };
        let mut present = api::PresentSecretRequest { passphrase: value(), share: value(), ..Default::default() };
        present.wipe();
        assert!(present.passphrase.is_empty() && present.share.is_empty());
        create.wipe();
        update.wipe();
        unseal.wipe();
        assert!(create.payload.is_empty() && update.payload.is_empty() && unseal.passphrase.is_empty() && unseal.share.is_empty());
    }

    static WIPED: AtomicU32 = AtomicU32::new(0);

    impl Call for () {
        type Answer = ();
        const METHOD: Method = Method::GetStatus;

        fn repeat(&mut self) -> Repeat<'_> {
            Repeat::Always
        }

        fn wipe(&mut self) {
            WIPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_request_is_wiped_once_after_its_last_attempt() {
        let request = Arc::new(Outgoing(()));
        drop(Arc::clone(&request));
        assert_eq!(WIPED.load(Ordering::Relaxed), 0);
        drop(request);
        assert_eq!(WIPED.load(Ordering::Relaxed), 1);
    }
}
