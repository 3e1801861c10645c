//! Stories and rules that need more than one module. One binary, so that there is one link step.
//!
//! | file | what it holds |
//! |---|---|
//! | `attacks` | floods of HTTP/2 frames, as bytes |
//! | `backup` | backups, and what a restore brings back and what it does not |
//! | `batch` | many values at once: each decided and on record by itself |
//! | `boundaries` | absent or forbidden, other namespaces' objects, other callers' page tokens |
//! | `canary` | a token in every field of every call, searched for in everything written and answered |
//! | `ceremonies` | shares, slots and the root key, by the program itself |
//! | `cli` | the program as people and scripts use it |
//! | `clock` | a clock that is a year ahead or behind |
//! | `costs` | calls that look at much: paid for, in turns, in little memory |
//! | `crowd` | how many may connect and call, in all and of one principal; how a server ends |
//! | `deploy` | the units, the container file and the firewall in `deploy/` |
//! | `disks` | each call to a disk fails once |
//! | `doctor` | what `strongroom doctor` finds on a good host, and on one with one fault |
//! | `documents` | what README and docs say is what is there |
//! | `edge_cases` | the edges of counts, numbers, times and words of a closed list |
//! | `edges` | every field of every request: taken at its bound, refused beyond it by its name |
//! | `faults` | log or store cannot be written |
//! | `flood` | strangers and denied callers, over and over |
//! | `harness` | a real server process, certificates and clients for everybody |
//! | `host` | modes of files, pins, empty folders, a store that was put back |
//! | `hostile` | hostile bytes, with a certificate and without |
//! | `hsm` | a vault that an HSM opens, and HSMs that are away, refuse, lie, hang or crash |
//! | `keys` | key versions, made while the vault serves |
//! | `kill` | SIGKILL at random instants |
//! | `labels` | labels that alerts and dashboard ask for |
//! | `layers` | no module imports what lies above or beside it |
//! | `limits` | bounds at their edge |
//! | `lists` | what lists and look-ups show, against an evaluator of its own |
//! | `manifests` | what Kubernetes is given |
//! | `matrix` | every RPC × identity × sealed or open |
//! | `names` | names have one spelling, and nothing in them means more than itself |
//! | `operations` | health and metrics over plain HTTP |
//! | `pages` | lists in pages that fit into one message |
//! | `pki` | the small CA: the commands of the page, a server that lives on them, bad moments |
//! | `proofs` | what a connection proves, and what it does not |
//! | `record` | what stands in the audit log, line by line |
//! | `reload` | certificates and lists that change while the server serves |
//! | `requests` | a proper request of every RPC, and a probe for its text fields |
//! | `required` | what tests need of their machine |
//! | `revocation` | lists of revoked certificates, and lives too short to need one |
//! | `roles` | patterns, times, who may give what, and that taking away works at once |
//! | `rotation` | a rewrap under readers, writers and a kill |
//! | `script` | a run through the life of a vault, and what it may have left |
//! | `secrets` | what becomes of a secret |
//! | `shape` | what no field of the API may be |
//! | `shim` | steers what makes a server's disk and clock misbehave |
//! | `stage` | a server that several tests share |
//! | `story` | the smallest story: made, opened, stored, read, restarted |
//! | `strangers` | garbage, and connections by the thousand on which nothing is said |
//! | `systemd` | a socket that is passed, and what systemd is told |
//! | `traces` | with the feature `otlp`: what a collector gets of a server, and never gets |
//! | `unread` | answers that nobody reads |
//! | `watch` | changes as they happen: what is told to whom, how it ends, and how it goes on |
//! | `wire` | calls as bytes on the wire |

mod attacks;
mod backup;
mod batch;
mod boundaries;
mod canary;
mod ceremonies;
mod cli;
mod clock;
mod costs;
mod crowd;
mod deploy;
mod disks;
mod doctor;
mod documents;
mod edge_cases;
mod edges;
mod faults;
mod flood;
mod harness;
mod host;
mod hostile;
mod hsm;
mod keys;
mod kill;
mod labels;
mod layers;
mod limits;
mod lists;
mod manifests;
mod matrix;
mod names;
mod operations;
mod pages;
mod pki;
mod proofs;
mod record;
mod reload;
mod requests;
mod required;
mod revocation;
mod roles;
mod rotation;
mod script;
mod secrets;
mod shape;
mod shim;
mod stage;
mod story;
mod strangers;
mod systemd;
#[cfg(feature = "otlp")]
mod traces;
mod unread;
mod watch;
mod wire;
