//! The bounds of everything. Those that an operator may change are in the configuration, whose defaults these are.

/// Longest payload of a secret: as AWS Secrets Manager and Google Secret Manager have it.
pub const PAYLOAD_BYTES: usize = 64 * 1024;
/// Longest payload of an access token whose provider is `wepay`.
pub const WEPAY_TOKEN_BYTES: usize = 255;
/// All of a secret's metadata, encoded.
pub const METADATA_BYTES: usize = 8 * 1024;
/// Longest gRPC message in either direction.
pub const MESSAGE_BYTES: usize = 256 * 1024;
/// Longest header list of a request.
pub const HEADER_LIST_BYTES: u32 = 16 * 1024;
/// Streams that one connection may have open.
pub const STREAMS_PER_CONNECTION: u32 = 256;
/// Longest page of a list.
pub const PAGE_ITEMS: usize = 1_000;
/// Page of a list when the caller names none.
pub const DEFAULT_PAGE_ITEMS: usize = 100;
/// How long before its expiry a watch tells of a value when the caller does not say.
pub const DEFAULT_EXPIRING_WITHIN_S: u64 = 7 * 24 * 3600;
/// The longest that it may say.
pub const EXPIRING_WITHIN_S: u64 = 365 * 24 * 3600;
/// Items of a batch.
pub const BATCH_ITEMS: usize = 256;

/// Segments of a path, the namespace not counted.
pub const PATH_SEGMENTS: usize = 8;
/// Longest segment of a path, in bytes of UTF-8.
pub const SEGMENT_BYTES: usize = 128;
/// Longest name of a namespace or role.
pub const NAME_BYTES: usize = 63;
/// Longest SPIFFE ID (SPIFFE ID specification, section 2.3).
pub const SPIFFE_ID_BYTES: usize = 2048;
/// Longest trust domain (SPIFFE ID specification, section 2.1).
pub const TRUST_DOMAIN_BYTES: usize = 255;

/// Longest reason or ticket.
pub const REASON_BYTES: usize = 512;
/// Longest request id.
pub const REQUEST_ID_BYTES: usize = 128;
/// Labels of a secret.
pub const LABELS: usize = 32;
/// Longest key of a label.
pub const LABEL_KEY_BYTES: usize = 63;
/// Longest value of a label.
pub const LABEL_VALUE_BYTES: usize = 255;
/// Longest provider, subject, scope or token type.
pub const TOKEN_FIELD_BYTES: usize = 255;
/// Scopes of an access token.
pub const SCOPES: usize = 64;

/// Grants of a role.
pub const GRANTS_PER_ROLE: usize = 64;
/// Roles of a vault.
pub const ROLES: usize = 1_000;
/// Bindings of a vault.
pub const BINDINGS: usize = 100_000;
/// Namespaces of a vault.
pub const NAMESPACES: usize = 10_000;
/// Live key versions of a namespace.
pub const KEY_VERSIONS: usize = 256;
/// Versions that a secret keeps when its namespace names no other number.
pub const DEFAULT_VERSIONS_KEPT: u32 = 10;
/// Most versions that a namespace may tell its secrets to keep.
pub const VERSIONS_KEPT: u32 = 1_000;

/// How long a key version encrypts when its namespace says nothing. NIST SP 800-57 part 1 revision 5, section 5.3.6, table 1,
/// allows a symmetric key-wrapping key two years of use by its originator; this is half of that.
pub const DEFAULT_CRYPTOPERIOD_S: u64 = 365 * 24 * 3600;
/// The shortest that it may be told.
pub const CRYPTOPERIOD_MIN_S: u64 = 24 * 3600;
/// The longest.
pub const CRYPTOPERIOD_MAX_S: u64 = 10 * 365 * 24 * 3600;
/// Rows that a rewrap does in a second when nobody says otherwise: it leaves the most part of a processor to reads.
pub const DEFAULT_REWRAP_RATE_PER_S: u32 = 20_000;
/// The most that it may be told.
pub const REWRAP_RATE_PER_S: u32 = 1_000_000;

/// Recovery window of a destroyed secret when its namespace names no other.
pub const DEFAULT_RECOVERY_WINDOW_S: u64 = 7 * 24 * 3600;
/// Longest recovery window.
pub const RECOVERY_WINDOW_S: u64 = 365 * 24 * 3600;
