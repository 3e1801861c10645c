//! What the benches share: servers in processes of their own, a load from another process, and how figures are printed.
//!
//! | file | what |
//! |---|---|
//! | `echo` | the ceiling: a tonic service over the same TLS that answers at once |
//! | `load` | connections with calls in flight on each |
//! | `processes` | the parts that one bench program plays, and what the system says of a process |
//! | `figures` | medians, and the lines that are read by programs |
//! | `harness` | the integration tests' real server and its certificates |

pub(crate) mod echo;
pub(crate) mod figures;
#[expect(dead_code, reason = "the integration tests' harness; the benches use a part of it")]
#[path = "../../tests/integration/harness.rs"]
pub(crate) mod harness;
pub(crate) mod load;
pub(crate) mod processes;
