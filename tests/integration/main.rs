//! Stories and rules that need more than one module. One binary, so that there is one link step.
//!
//! | file | what it holds |
//! |---|---|
//! | `cli` | the program as people and scripts use it |
//! | `documents` | what README and docs say is what is there |
//! | `harness` | a real server process, certificates and clients for everybody |
//! | `layers` | no module imports what lies above or beside it |
//! | `matrix` | every RPC × identity × sealed or open |
//! | `story` | the smallest story: made, opened, stored, read, restarted |
//! | `wire` | every RPC as a raw call |

mod cli;
mod documents;
mod harness;
mod layers;
mod matrix;
mod story;
mod wire;
