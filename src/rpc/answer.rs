//! The places that a call holds, until its answer is gone: one that nobody reads takes up memory as long as it waits.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Bytes, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;
use tonic::body::Body;

use crate::identity::Earned;

/// What a call holds while it is under way: its places, among all, but for those that are let through, and among its
/// principal's, and what its connection may send for it.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) _among_all: Option<OwnedSemaphorePermit>,
    pub(super) of_principal: OwnedSemaphorePermit,
    pub(super) _earned: Earned,
}

/// How long an answer holds its call's places.
#[derive(Debug)]
pub(super) enum Held {
    /// Not at all: it was refused, or has places of its own.
    Free,
    /// Until its one message has been written to the connection, however slowly the caller reads.
    UntilWritten(Places),
    /// Until it ends, and then only the principal's: nobody knows how long it goes on.
    UntilEnd(OwnedSemaphorePermit),
}

pin_project! {
    /// The body of an answer, with what its call holds.
    pub struct Answer {
        #[pin]
        body: Body,
        held: Held,
    }
}

impl Answer {
    pub(super) const fn new(body: Body, held: Held) -> Self {
        Self { body, held }
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        Poll::Ready(
            frame.map(|frame| frame.map(|frame| if frame.is_data() { frame.map_data(|data| this.held.attach(data)) } else { frame })),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Held {
    /// The places go with the bytes: whoever has written them drops both.
    fn attach(&mut self, data: Bytes) -> Bytes {
        match std::mem::replace(self, Self::Free) {
            Self::UntilWritten(places) => Bytes::from_owner(Message { data, _places: places }),
            Self::UntilEnd(place) => {
                *self = Self::UntilEnd(place);
                data
            }
            Self::Free => data,
        }
    }
}

/// A message, and what its call holds.
struct Message {
    data: Bytes,
    _places: Places,
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}
