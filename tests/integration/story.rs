//! The smallest story, on the production server: made, opened, stored, read, restarted.

use strongroom::client::{NewSecret, Reveal};
use strongroom::model::{Environment, SecretBytes, SecretName};

use crate::harness::{Site, workload};

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_survives_a_restart_and_a_server_ends_cleanly() {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    site.make_namespace(&running, "shop", Environment::Stage).await;
    site.bind(&running, "backend", &workload("backend"), Some("shop")).await;
    let name: SecretName = "shop/merchants/1".parse().expect("valid");
    let backend = site.client(&running, &workload("backend")).await;
    backend.create_secret(NewSecret::opaque(&name, SecretBytes::new(b"value".to_vec()))).await.expect("stored");
    assert!(running.stop(), "SIGTERM ends it cleanly");

    let running = site.start_open().await;
    let backend = site.client(&running, &workload("backend")).await;
    let revealed = backend.reveal_secret(Reveal::latest(&name)).await.expect("revealed");
    assert_eq!(revealed.value.expose(), b"value");
}
