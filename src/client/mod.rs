//! What a Rust backend uses to talk to Strongroom.
//!
//! | file | what is there |
//! |---|---|
//! | `tls` | [`tls::ClientTls`]: mutual TLS with the server's SPIFFE ID pinned; [`tls::connect`], [`tls::connect_lazy`] |

pub mod tls;
