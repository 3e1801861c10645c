//! Bounds at their edge: the last that fits, and the first that does not; those that the file sets, where it says so.

use std::time::Duration;

use prost::Message;
use strongroom::api::{self, Method};
use strongroom::client::{AccessToken, Client, MetadataUpdate, NewNamespace, NewSecret, Page, Reveal, SecretUpdate};
use strongroom::model::Environment;
use tonic::Code;

use crate::harness::person;
use crate::hostile::unknown_field;
use crate::stage::{Stage, bytes, named, opaque, shared};
use crate::wire::{code, refused, send, send_with};

const OWNER: &str = "describe,reveal,create,update,destroy:**";

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_has_64_kib_or_what_its_namespace_says() {
    let stage = shared().await;
    let (wide, narrow) = (stage.namespace().await, stage.namespace_with(|new| new.limits.payload_max_bytes = 100).await);
    for (namespace, most) in [(wide, 65_536), (narrow, 100)] {
        let client = stage.holding(&namespace, &[OWNER]).await;
        let name = named(format!("{namespace}/large"));
        for length in [0, most + 1, 70_000] {
            let refusal = client.create_secret(opaque(&name, &"x".repeat(length))).await;
            assert_eq!(refused(&refusal), Code::InvalidArgument, "{length} bytes");
        }
        let stored = client.create_secret(opaque(&name, &"x".repeat(most))).await.expect("stored").secret;
        assert_eq!(client.reveal_secret(Reveal::latest(&name)).await.expect("revealed").value.expose().len(), most);
        let update = |length: usize| SecretUpdate::new(&name, bytes("y".repeat(length)), stored.revision);
        assert_eq!(refused(&client.update_secret(update(most + 1)).await), Code::InvalidArgument);
        assert_eq!(client.update_secret(update(most)).await.expect("updated").secret.version, 2);
        // Every byte there is comes out as it went in.
        let binary = named(format!("{namespace}/binary"));
        let every: Vec<u8> = (0..=99).chain(200..=255).collect::<Vec<u8>>()[..100].to_vec();
        client.create_secret(NewSecret::opaque(&binary, bytes(&every))).await.expect("stored");
        assert_eq!(client.reveal_secret(Reveal::latest(&binary)).await.expect("revealed").value.expose(), every);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_has_8_segments_of_128_bytes() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let id = stage.holder(&namespace, &[OWNER]).await;
    let (client, raw) = (stage.client(&id).await, stage.channel(&id).await);
    for path in [["x"; 8].join("/"), "x".repeat(128), vec!["y".repeat(128); 8].join("/"), "é".repeat(64)] {
        let name = named(format!("{namespace}/{path}"));
        client.create_secret(opaque(&name, "value")).await.expect("stored");
        assert_eq!(client.describe_secret(&name).await.expect("described").name, name);
    }
    for path in [["x"; 9].join("/"), "x".repeat(129), "é".repeat(65)] {
        let request = api::CreateSecretRequest { name: format!("{namespace}/{path}"), payload: b"value".to_vec(), ..Default::default() };
        assert_eq!(code(&send(&raw, Method::CreateSecret.path(), request.encode_to_vec()).await), Code::InvalidArgument, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_scopes_are_counted_and_measured() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let client = stage.holding(&namespace, &[OWNER]).await;
    let labelled = |name: &str, count: usize, key: usize, value: usize| {
        let new = opaque(&named(format!("{namespace}/{name}")), "value");
        (0..count).fold(new, |new, number| new.label(format!("{number:x>key$}"), "v".repeat(value)))
    };
    for (name, count, key, value, expected) in [
        ("most", 32, 63, 100, Code::Ok),
        ("longest", 1, 63, 255, Code::Ok),
        ("one-more", 33, 2, 1, Code::InvalidArgument),
        ("key", 1, 64, 1, Code::InvalidArgument),
        ("value", 1, 1, 256, Code::InvalidArgument),
        ("empty-value", 1, 1, 0, Code::InvalidArgument),
        // 32 labels of the longest are more than 8 KiB of metadata.
        ("all-of-it", 32, 63, 255, Code::InvalidArgument),
    ] {
        assert_eq!(refused(&client.create_secret(labelled(name, count, key, value)).await), expected, "{name}");
    }
    let most = client.describe_secret(&named(format!("{namespace}/most"))).await.expect("described");
    assert_eq!(most.labels.len(), 32);
    let one_more = MetadataUpdate::new(&most.name, most.revision).set_label("one-more", "x");
    assert_eq!(refused(&client.update_secret_metadata(one_more.clone()).await), Code::InvalidArgument);
    let swapped = one_more.remove_label(format!("{:x>63}", 7));
    assert_eq!(client.update_secret_metadata(swapped).await.expect("changed").labels.len(), 32);

    let scoped = |name: &str, count: usize, length: usize| {
        let new = NewSecret::access_token(&named(format!("{namespace}/{name}")), bytes("value"), "p", "s");
        new.scopes(vec!["s".repeat(length); count])
    };
    for (name, count, length, expected) in [
        ("scopes", 64, 100, Code::Ok),
        ("scope", 1, 255, Code::Ok),
        ("more", 65, 1, Code::InvalidArgument),
        ("long", 1, 256, Code::InvalidArgument),
    ] {
        assert_eq!(refused(&client.create_secret(scoped(name, count, length)).await), expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wepay_token_has_255_bytes_and_odd_ones_are_warned_of() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let client = stage.holding(&namespace, &[OWNER]).await;
    let token = |name: &str, value: String| NewSecret::access_token(&named(format!("{namespace}/{name}")), bytes(value), "wepay", "1");
    let usual = format!("STAGE_{}", "0123456789abcdef".repeat(4));
    assert!(client.create_secret(token("usual", usual)).await.expect("stored").warnings.is_empty());
    assert_eq!(client.create_secret(token("odd", "x".repeat(255))).await.expect("stored").warnings.len(), 1);
    assert_eq!(refused(&client.create_secret(token("long", "x".repeat(256))).await), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn stage_and_production_do_not_mix() {
    let stage = shared().await;
    let production = stage.namespace_with(|new| new.environment = Environment::Production).await;
    for (namespace, own, foreign) in [(stage.namespace().await, "STAGE_", "PRODUCTION_"), (production, "PRODUCTION_", "STAGE_")] {
        let client = stage.holding(&namespace, &[OWNER]).await;
        let name = named(format!("{namespace}/token"));
        for value in [format!("{foreign}0123"), format!("{}0123", foreign.to_lowercase())] {
            assert_eq!(refused(&client.create_secret(opaque(&name, &value)).await), Code::InvalidArgument);
        }
        let stored = client.create_secret(opaque(&name, &format!("{own}0123"))).await.expect("stored").secret;
        let update = SecretUpdate::new(&name, bytes(format!("{foreign}0123")), stored.revision);
        assert_eq!(refused(&client.update_secret(update).await), Code::InvalidArgument);
    }
}

// immune: row-56
#[tokio::test(flavor = "multi_thread")]
async fn whose_token_it_is_never_changes() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let client = stage.holding(&namespace, &[OWNER]).await;
    let plain = named(format!("{namespace}/opaque"));
    let opaque = client.create_secret(opaque(&plain, "value")).await.expect("stored").secret;
    let token = stage.token(&client, &format!("{namespace}/merchants/1")).await;
    let own = token.access_token.clone().expect("an access token");
    let update = |details: AccessToken| SecretUpdate::new(&token.name, bytes("thief's"), token.revision).access_token(details);
    for details in [
        AccessToken { subject: "thief".to_owned(), ..own.clone() },
        AccessToken { provider: "other".to_owned(), ..own.clone() },
        AccessToken { subject: String::new(), ..own.clone() },
    ] {
        assert_eq!(refused(&client.update_secret(update(details)).await), Code::InvalidArgument);
    }
    let into_token = SecretUpdate::new(&plain, bytes("value"), opaque.revision).access_token(own.clone());
    assert_eq!(refused(&client.update_secret(into_token).await), Code::InvalidArgument);
    let scopes = AccessToken { scopes: vec!["more".to_owned()], ..own };
    let changed = client.update_secret(update(scopes)).await.expect("scopes may change").secret;
    assert_eq!(changed.access_token.expect("still").scopes, ["more"]);
    // The backend's own role neither replaces nor removes, so that nothing can be put in a token's place.
    let backend = crate::harness::workload(&format!("backend-{}", stage.number()));
    stage.bind("backend", &backend, Some(&namespace)).await;
    let backend: Client = stage.client(&backend).await;
    let change = || strongroom::client::StateChange::of(&token.name);
    let update = SecretUpdate::new(&token.name, bytes("thief's"), changed.revision);
    assert_eq!(refused(&backend.update_secret(update).await), Code::PermissionDenied);
    assert_eq!(refused(&backend.destroy_secret(change()).await), Code::PermissionDenied);
    assert_eq!(refused(&backend.purge_secret(change()).await), Code::PermissionDenied);
    let again = NewSecret::access_token(&token.name, bytes("thief's"), "provider-1", "thief");
    assert_eq!(refused(&backend.create_secret(again).await), Code::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_s_own_bounds_are_bounded() {
    let stage = shared().await;
    let ana = stage.ana().await;
    let with = |payload_max_bytes, versions_kept, window_s: Option<u64>| {
        let name = format!("bounds-{}", stage.number());
        let mut new = NewNamespace::new(name.parse().expect("valid"), Environment::Stage);
        new.limits.payload_max_bytes = payload_max_bytes;
        new.limits.versions_kept = versions_kept;
        new.limits.recovery_window = window_s.map(Duration::from_secs);
        new
    };
    for new in [with(1, 1, Some(1)), with(65_536, 1_000, Some(365 * 24 * 3600))] {
        ana.create_namespace(new).await.expect("made");
    }
    let too_long = with(0, 0, Some(365 * 24 * 3600 + 1));
    for new in [with(65_537, 0, None), with(0, 1_001, None), with(0, 0, Some(0)), too_long] {
        assert_eq!(refused(&ana.create_namespace(new.clone()).await), Code::InvalidArgument, "{new:?}");
    }
    let made = ana.create_namespace(with(0, 0, None)).await.expect("made");
    assert_eq!((made.limits.payload_max_bytes, made.limits.versions_kept), (65_536, 10));
    assert_eq!(made.limits.recovery_window, Some(Duration::from_secs(7 * 24 * 3600)));
    let raw = stage.channel(&person("ana")).await;
    for environment in [0, 3, -1] {
        let request = api::CreateNamespaceRequest { name: "neither".to_owned(), environment, limits: None, request_id: String::new() };
        assert_eq!(code(&send(&raw, Method::CreateNamespace.path(), request.encode_to_vec()).await), Code::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_as_long_as_asked_for_and_whole() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let client = stage.holding(&namespace, &[OWNER]).await;
    for number in 0..23 {
        client.create_secret(opaque(&named(format!("{namespace}/{number}")), "value")).await.expect("stored");
    }
    let (mut lengths, mut names, mut next) = (Vec::new(), std::collections::BTreeSet::new(), Some(String::new()));
    while let Some(token) = next {
        let page = client.list_secrets(&namespace, Page { size: 10, token }).await.expect("listed");
        lengths.push(page.items.len());
        names.extend(page.items.iter().map(|secret| secret.name.to_string()));
        next = page.next;
    }
    assert_eq!((lengths, names.len()), (vec![10, 10, 3], 23));
    assert_eq!(client.list_secrets(&namespace, Page::default()).await.expect("listed").items.len(), 23);
    for (size, expected) in [(1_000, Code::Ok), (1_001, Code::InvalidArgument), (u32::MAX, Code::InvalidArgument)] {
        assert_eq!(refused(&client.list_secrets(&namespace, Page { size, token: String::new() }).await), expected);
    }
}

/// None of these is the default, and each is seen from both sides.
#[tokio::test(flavor = "multi_thread")]
async fn the_file_says_how_long_payloads_messages_and_pages_may_be() {
    let stage = Stage::new("[limits]\npayload_max_bytes = 20000\nmessage_max_bytes = 40000\npage_max_items = 20\n").await;
    let namespace = stage.namespace().await;
    let id = stage.holder(&namespace, &[OWNER]).await;
    let (client, raw) = (stage.client(&id).await, stage.channel(&id).await);
    for number in 0..21 {
        client.create_secret(opaque(&named(format!("{namespace}/{number}")), &"x".repeat(20_000))).await.expect("stored");
    }
    let too_long = client.create_secret(opaque(&named(format!("{namespace}/too-long")), &"x".repeat(20_001))).await;
    assert_eq!(refused(&too_long), Code::InvalidArgument);
    // The one that is read names no secret.
    for (length, expected) in [(40_000, Code::InvalidArgument), (40_001, Code::OutOfRange)] {
        let answer = send(&raw, Method::RevealSecret.path(), unknown_field(length)).await;
        assert_eq!(code(&answer), expected, "{length} bytes: {answer:?}");
    }
    let page = |size| client.list_secrets(&namespace, Page { size, token: String::new() });
    for size in [0, 20] {
        assert_eq!(page(size).await.expect("listed").items.len(), 20);
    }
    assert_eq!(refused(&page(21).await), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_says_how_long_a_header_list_may_be() {
    for most in [4_096, 32_768] {
        let stage = Stage::new(&format!("[limits]\nheader_list_max_bytes = {most}\n")).await;
        let raw = stage.channel(&stage.holder(&stage.namespace().await, &[OWNER]).await).await;
        let is_served = async |padding: usize| {
            let message = api::RevealSecretRequest { name: "no/such".to_owned(), ..Default::default() };
            let mut request = tonic::Request::new(message.encode_to_vec());
            request.metadata_mut().insert("x-padding", "x".repeat(padding).parse().expect("text"));
            code(&send_with(&raw, Method::RevealSecret.path(), request).await) == Code::NotFound
        };
        let (mut longest, mut too_long) = (0, most);
        assert!(is_served(longest).await && !is_served(too_long).await);
        while too_long - longest > 1 {
            let padding = longest.midpoint(too_long);
            if is_served(padding).await { longest = padding } else { too_long = padding }
        }
        // The rest is what every call says, and 32 bytes for each field (RFC 9113, section 6.5.2).
        assert!((most - 600..most - 41).contains(&longest), "{longest} bytes beside the rest, of {most}");
    }
}
