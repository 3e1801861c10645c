//! Stories and rules that need more than one module. One binary, so that there is one link step.
//!
//! | file | what it holds |
//! |---|---|
//! | `canary` | a token in every field stands in no log, error or file |
//! | `cli` | the program as people and scripts use it |
//! | `documents` | what README and docs say is what is there |
//! | `faults` | log or store cannot be written |
//! | `harness` | a real server process, certificates and clients for everybody |
//! | `kill` | SIGKILL at random instants |
//! | `layers` | no module imports what lies above or beside it |
//! | `matrix` | every RPC × identity × sealed or open |
//! | `rows` | faults that others had |
//! | `story` | the smallest story: made, opened, stored, read, restarted |
//! | `wire` | every RPC as a raw call |

mod canary;
mod cli;
mod documents;
mod faults;
mod harness;
mod kill;
mod layers;
mod matrix;
mod rows;
mod story;
mod wire;
