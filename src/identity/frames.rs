//! Which of a connection's bytes belong to calls: the heads of HTTP/2's frames, and nothing of what is in them.

/// What a client says first (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// A frame's head: length, type, flags, stream (RFC 9113, section 4.1).
const HEAD_BYTES: usize = 9;

/// The types whose frames carry a call (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// What a frame of a call counts at least: many that say nothing cost as much as a few that do.
const LEAST_BYTES: i64 = 64;

/// Follows the frames of one connection.
#[derive(Debug)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES],
    known: usize,
    /// What is still to come of the preface, or of a frame whose head is known.
    rest: usize,
    /// Whether that is a call's.
    of_call: bool,
}

/// What a part of the stream counts, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// The frames of calls that begin in it, with their whole length.
    pub(super) of_calls: i64,
    /// What it holds of anything else.
    pub(super) besides: i64,
}

impl Frames {
    pub(super) const fn new() -> Self {
        Self { head: [0; HEAD_BYTES], known: 0, rest: PREFACE_BYTES, of_call: false }
    }

    /// Takes in the next bytes of the stream.
    pub(super) fn count(&mut self, mut bytes: &[u8]) -> Count {
        let mut count = Count::default();
        while !bytes.is_empty() {
            if self.rest > 0 {
                let passed = self.rest.min(bytes.len());
                count.besides += if self.of_call { 0 } else { passed as i64 };
                (self.rest, bytes) = (self.rest - passed, &bytes[passed..]);
                continue;
            }
            let taken = (HEAD_BYTES - self.known).min(bytes.len());
            self.head[self.known..self.known + taken].copy_from_slice(&bytes[..taken]);
            (self.known, bytes) = (self.known + taken, &bytes[taken..]);
            if self.known == HEAD_BYTES {
                let [high, middle, low, kind, ..] = self.head;
                let length = u32::from_be_bytes([0, high, middle, low]);
                (self.known, self.rest) = (0, length as usize);
                self.of_call = matches!(kind, DATA | HEADERS | CONTINUATION);
                if self.of_call {
                    count.of_calls += (i64::from(length) + HEAD_BYTES as i64).max(LEAST_BYTES);
                } else {
                    count.besides += HEAD_BYTES as i64;
                }
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, 0, 0, 0, 0, 1];
        bytes.resize(HEAD_BYTES + usize::from(length), 0xff);
        bytes
    }

    #[test]
    fn frames_of_calls_count_wherever_they_are_cut() {
        let mut stream = vec![b'P'; PREFACE_BYTES];
        for (kind, length) in
            [(4, 0), (HEADERS, 200), (PING, 8), (DATA, 0), (CONTINUATION, 55), (CONTINUATION, 56), (WINDOW_UPDATE, 4), (DATA, 250)]
        {
            stream.extend(frame(kind, length));
        }
        for piece in [1, 2, 7, 9, 10, 100, stream.len()] {
            let mut frames = Frames::new();
            let counts: Vec<_> = stream.chunks(piece).map(|piece| frames.count(piece)).collect();
            assert_eq!(counts.iter().map(|count| count.of_calls).sum::<i64>(), 209 + 64 + 64 + 65 + 259, "pieces of {piece}");
            assert_eq!(counts.iter().map(|count| count.besides).sum::<i64>(), 24 + 9 + 17 + 13, "pieces of {piece}");
        }
    }

    #[test]
    fn the_longest_frame_counts_whole_when_its_head_is_there() {
        let mut frames = Frames::new();
        assert_eq!(frames.count(&[b'P'; PREFACE_BYTES]), Count { of_calls: 0, besides: 24 });
        assert_eq!(frames.count(&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]), Count { of_calls: 0x00ff_ffff + 9, besides: 0 });
        assert_eq!(frames.count(&frame(PING, 9)), Count::default(), "inside the other");
    }
}
