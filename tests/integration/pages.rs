//! Lists in pages, each of which fits into one message.

use strongroom::client::{NewSecret, Page, collect};
use strongroom::model::{Environment, SecretBytes, SecretName};

use crate::harness::{Running, Site, workload};

async fn open_site() -> (Site, Running) {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    site.make_namespace(&running, "shop", Environment::Stage).await;
    site.bind(&running, "backend", &workload("backend"), Some("shop")).await;
    (site, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_where_a_message_would_get_too_long() {
    let (site, running) = open_site().await;
    let backend = site.client(&running, &workload("backend")).await;
    for number in 0..60 {
        let name: SecretName = format!("shop/{number}").parse().expect("valid");
        let new = NewSecret::opaque(&name, SecretBytes::new(b"value".to_vec()));
        let new = (0..28).fold(new, |new, label| new.label(format!("label-{label}"), "w".repeat(240)));
        backend.create_secret(new).await.expect("stored");
    }
    let first = backend.list_secrets("shop", Page { size: 1_000, token: String::new() }).await.expect("it fits");
    assert!(first.items.len() < 60 && first.next.is_some());
    let all = collect(0, |page: Page| backend.list_secrets("shop", page)).await.expect("listed");
    let names: std::collections::BTreeSet<_> = all.items.iter().map(|info| info.name.to_string()).collect();
    assert_eq!((all.items.len(), names.len()), (60, 60), "each once");
}
