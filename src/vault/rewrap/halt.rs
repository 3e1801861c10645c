//! Stops a run at a step, as a kill would, for tests.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Step;
use crate::model::NamespaceId;

static HALTS: LazyLock<Mutex<HashMap<NamespaceId, Halt>>> = LazyLock::new(Mutex::default);

/// Where a run goes no further, and who is told.
struct Halt {
    step: Step,
    arrived: Arc<Notify>,
}

/// The next run of this namespace that comes to the step goes no further, and says so.
pub(in crate::vault) fn before_what_follows(step: Step, namespace: NamespaceId) -> Arc<Notify> {
    let arrived = Arc::new(Notify::new());
    HALTS.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace, Halt { step, arrived: arrived.clone() });
    arrived
}

pub(super) async fn at(step: Step, namespace: NamespaceId) {
    let halt = {
        let mut halts = HALTS.lock().unwrap_or_else(PoisonError::into_inner);
        let is_here = halts.get(&namespace).is_some_and(|halt| halt.step == step);
        is_here.then(|| halts.remove(&namespace)).flatten()
    };
    if let Some(Halt { arrived, .. }) = halt {
        arrived.notify_one();
        std::future::pending::<()>().await;
    }
}
