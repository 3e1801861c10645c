//! Steers `tests/shim/shim.c`, which makes a server's disk and clock misbehave. It is compiled with `cc`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;

use crate::harness::Site;
use crate::required::leave_out;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shim/shim.c");
/// Of `struct control`: nine numbers and a text.
const CONTROL_BYTES: u64 = 9 * 8 + 192;
const FIRST: u64 = 0;
const MANY: u64 = 8;
const ERROR: u64 = 16;
const SHORT_FIRST: u64 = 24;
const COUNTED: u64 = 32;
const FAILED: u64 = 40;
const CLOCK_S: u64 = 48;
const SYNCED: u64 = 56;
const SPARES_SYNCS: u64 = 64;
const WHERE: u64 = 72;

/// What a server of this site is told to suffer.
pub(crate) struct Shim {
    library: PathBuf,
    path: PathBuf,
    control: File,
}

/// Which calls to the disk fail, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// The first of them, from 1.
    pub(crate) first: u64,
    /// How many.
    pub(crate) many: u64,
    /// With what; none: it is cut short and nothing else.
    pub(crate) error: Option<Errno>,
    /// Whether the first writes half of its bytes.
    pub(crate) short_first: bool,
    /// Whether syncs succeed all the same, as on a disk that is only full.
    pub(crate) spares_syncs: bool,
}

/// A kind of system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Fsync,
    Fdatasync,
    /// One that writes, makes, renames or removes.
    Other,
}

impl Shim {
    /// Compiles it. `None` where there is no compiler; `STRONGROOM_TEST_REQUIRE=cc` makes that a failure.
    pub(crate) fn new(site: &Site, test: &str) -> Option<Self> {
        let (library, path) = (site.path("shim.so"), site.path("shim-control"));
        let compiled = Command::new("cc").args(["-O2", "-Wall", "-Werror", "-fPIC", "-shared", "-o"]).arg(&library).arg(SOURCE).status();
        match compiled {
            Ok(status) => assert!(status.success(), "the shim does not compile"),
            Err(_) => {
                leave_out(test, "cc");
                return None;
            }
        }
        let control = File::options().read(true).write(true).create_new(true).open(&path).expect("made");
        control.set_len(CONTROL_BYTES).expect("room for it");
        Some(Self { library, path, control })
    }

    /// Has the command suffer: its clock, and its disk as far as it lies below the folder.
    pub(crate) fn load(&self, command: &mut Command, folder: Option<&Path>) {
        command.env("LD_PRELOAD", &self.library).env("STRONGROOM_SHIM", &self.path);
        if let Some(folder) = folder {
            command.env("STRONGROOM_SHIM_FOLDER", folder);
        }
    }

    /// Begins to count anew, and fails what it is told to.
    pub(crate) fn begin(&self, fault: Option<Fault>) {
        for at in [FIRST, COUNTED, FAILED] {
            self.set(at, 0);
        }
        if let Some(fault) = fault {
            self.set(MANY, fault.many);
            self.set(ERROR, fault.error.map_or(0, |error| error.raw_os_error().unsigned_abs().into()));
            self.set(SHORT_FIRST, fault.short_first.into());
            self.set(SPARES_SYNCS, fault.spares_syncs.into());
            self.set(FIRST, fault.first);
        }
    }

    /// From now on nothing fails.
    pub(crate) fn relent(&self) {
        self.set(FIRST, 0);
    }

    /// How many calls there were.
    pub(crate) fn counted(&self) -> u64 {
        self.get(COUNTED)
    }

    /// How many of them failed.
    pub(crate) fn failed(&self) -> u64 {
        self.get(FAILED)
    }

    /// The call that failed last, and the file below the folder that it was about.
    pub(crate) fn victim(&self) -> (Call, String) {
        let mut name = [0; 192];
        self.control.read_exact_at(&mut name, WHERE).expect("read");
        let call = match self.get(SYNCED) {
            0 => Call::Other,
            1 => Call::Fsync,
            _ => Call::Fdatasync,
        };
        (call, String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned())
    }

    /// Sets the server's clock this far ahead of the machine's, or behind it.
    pub(crate) fn set_clock(&self, ahead_s: i64) {
        self.set(CLOCK_S, ahead_s.cast_unsigned());
    }

    fn set(&self, at: u64, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), at).expect("written");
    }

    fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, at).expect("read");
        u64::from_ne_bytes(bytes)
    }
}
