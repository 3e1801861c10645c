//! Figures of the log.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::segment::{segment_name, segments_in};

/// Figures of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Bytes on disk: closed segments, and what the present one takes up.
    pub bytes: u64,
    /// Segments in the folder.
    pub segments: usize,
    /// The first sequence of the newest segment, by which it is named; 0 while there is none.
    pub newest_segment: u64,
    /// The last sequence that is on disk.
    pub last_sequence: u64,
    /// How long the oldest entry that is not on disk has waited.
    pub oldest_unflushed: Option<Duration>,
}

/// What a look at the folder shows; what cannot be read there counts nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) bytes: u64,
    pub(super) segments: usize,
    pub(super) newest_segment: u64,
}

impl Found {
    pub(super) fn in_folder(folder: &Path) -> Self {
        let firsts = segments_in(folder).unwrap_or_default();
        let size = |first: &u64| fs::metadata(folder.join(segment_name(*first))).map_or(0, |metadata| metadata.len());
        Self { bytes: firsts.iter().map(size).sum(), segments: firsts.len(), newest_segment: firsts.last().copied().unwrap_or(0) }
    }
}
