//! What can be configured, revocation lists above all.

use rustls_pki_types::CertificateDer;

use super::*;

fn configure(authority: &Authority, revocation: Revocation) -> Result<TrustAnchor, IdentityError> {
    configure_roots(vec![authority.certificate().clone()], revocation)
}

fn configure_roots(roots: Vec<CertificateDer<'static>>, revocation: Revocation) -> Result<TrustAnchor, IdentityError> {
    TrustAnchor::new("shop.example".parse().expect("valid"), Class::Workload, roots, revocation, now())
}

fn complaint<T>(outcome: Result<T, IdentityError>) -> String {
    outcome.err().expect("refused").to_string()
}

fn authority(name: &str) -> Authority {
    Authority::create(name, "shop.example".parse().expect("valid"), now()).expect("created")
}

#[tokio::test]
async fn a_revoked_client_is_refused_and_the_others_are_not() {
    let world = World::new();
    let (revoked, good) = (world.backend(), world.backend());
    let mut door = Door::open(world.tls(world.anchors(&[&revoked.serial()]))).await;
    assert_eq!(door.refusal(&world, &revoked).await, Refusal::Revoked.why());
    assert!(door.knock(world.client(&good).config()).await.is_ok());
}

// immune: row-5
#[test]
fn a_list_that_is_missing_expired_or_foreign_is_no_configuration() {
    let ca = authority("Shop workloads");
    let other = authority("Shop batch");
    let impostor = authority("Shop workloads");
    let good = || list(&ca, &[], now().plus(HOUR));
    let hour_ago = Timestamp::from_unix_ms(now().unix_ms() - 3_600_000).expect("valid");
    for (lists, told) in [
        (vec![], "has no revocation list"),
        (vec![list(&other, &[], now().plus(HOUR))], "has no revocation list"),
        (vec![list(&ca, &[], hour_ago)], "has expired"),
        (vec![list(&impostor, &[], now().plus(HOUR))], "not signed by the CA"),
        (vec![good(), good()], "two revocation lists of one CA"),
        (vec![vec![0x30, 0].into()], "cannot be read"),
    ] {
        let complaint = complaint(configure(&ca, Revocation::Crls(lists)));
        assert!(complaint.contains(told) && complaint.contains("shop.example"), "{complaint}");
    }
    assert!(configure(&ca, Revocation::Crls(vec![good()])).is_ok());
}

/// A list that was good at the start and was not renewed: nobody's status can be told any more.
#[tokio::test]
async fn a_list_that_expires_while_serving_lets_nobody_in() {
    let world = World::new();
    let hands = Hands::at(now());
    let clock: Arc<dyn Clock> = hands.clone();
    let mut door = Door::open(world.tls_by(world.anchors(&[]), clock)).await;
    let leaf = world.workloads.issue_client(&id(BACKEND), now(), 10 * HOUR).expect("issued");
    assert!(door.knock(world.client(&leaf).config()).await.is_ok());
    hands.0.store(now().plus(2 * HOUR).unix_ms(), Ordering::Relaxed);
    assert_eq!(door.refusal(&world, &leaf).await, Refusal::RevocationUnknown.why());
}

// immune: row-6
#[tokio::test]
async fn the_second_list_counts_as_much_as_the_first() {
    let world = World::new();
    let second = authority("Shop batch");
    let revoked = second.issue_client(&id(BACKEND), now(), HOUR).expect("issued");
    let good = second.issue_client(&id(BACKEND), now(), HOUR).expect("issued");
    let roots = vec![world.workloads.certificate().clone(), second.certificate().clone()];
    let end = now().plus(HOUR);
    let lists = vec![list(&world.workloads, &[], end), list(&second, &[&revoked.serial()], end)];
    let anchor = configure_roots(roots, Revocation::Crls(lists)).expect("good");
    let mut door = Door::open(world.tls(vec![anchor])).await;
    assert_eq!(door.refusal(&world, &revoked).await, Refusal::Revoked.why());
    assert!(door.knock(world.client(&good).config()).await.is_ok());
}

#[test]
fn roots_are_cas_in_their_time_and_of_different_names() {
    let ca = authority("Shop workloads");
    let none = || Revocation::NoneByConfiguration;
    let leaf = ca.issue_client(&id(BACKEND), now(), HOUR).expect("issued");
    let long_ago = Timestamp::parse("2001-01-01T00:00:00Z").expect("valid");
    let expired = Authority::create("Old", "shop.example".parse().expect("valid"), long_ago).expect("created");
    assert!(complaint(configure_roots(vec![], none())).contains("no CA certificate"));
    assert!(complaint(configure_roots(vec![leaf.certificate().clone()], none())).contains("not a CA's"));
    assert!(complaint(configure(&expired, none())).contains("has expired"));
    let twins = vec![ca.certificate().clone(), authority("Shop workloads").certificate().clone()];
    assert!(complaint(configure_roots(twins, none())).contains("the same name"));
}

#[tokio::test]
async fn without_a_list_only_short_lives_are_let_in() {
    let world = World::new();
    let day = 24 * HOUR;
    for absurd in [Duration::ZERO, day + Duration::from_secs(1)] {
        assert!(complaint(configure(&world.workloads, Revocation::ShortLived { max_lifetime: absurd })).contains("24 hours"));
    }
    let anchor = configure(&world.workloads, Revocation::ShortLived { max_lifetime: day }).expect("good");
    let mut door = Door::open(world.tls(vec![anchor])).await;
    let too_long = world.workloads.issue_client(&id(BACKEND), now(), 25 * HOUR).expect("issued");
    assert_eq!(door.refusal(&world, &too_long).await, Refusal::TooLongLived.why());
    let brief = world.workloads.issue_client(&id(BACKEND), now(), day).expect("issued");
    assert!(door.knock(world.client(&brief).config()).await.is_ok());
}

#[test]
fn a_domain_has_one_anchor_and_a_vault_at_least_one() {
    let world = World::new();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    assert!(matches!(SpiffeVerifier::new(vec![], &provider), Err(IdentityError::NoAnchor)));
    let twice = vec![
        anchor(&world.workloads, Class::Workload, Revocation::NoneByConfiguration),
        anchor(&world.workloads, Class::Operator, Revocation::NoneByConfiguration),
    ];
    assert!(matches!(SpiffeVerifier::new(twice, &provider), Err(IdentityError::TwoAnchors(_))));
}

#[test]
fn the_servers_own_certificate_must_be_able_to_serve() {
    let world = World::new();
    let server = world.workloads.issue_server(&id(SERVER), &[], &[], now(), HOUR).expect("issued");
    let build = |leaf: &Issued, key: &Issued| {
        ServerTls::new(vec![leaf.certificate().clone()], key.key(), world.anchors(&[]), Arc::new(SystemClock))
    };
    let tls = build(&server, &server).expect("good");
    assert_eq!(tls.id(), &id(SERVER));
    assert!(complaint(build(&server, &world.backend())).contains("another certificate"));
    assert!(complaint(build(&world.backend(), &world.backend())).contains("serverAuth"));
    let mut profile = LeafProfile::new(&id(SERVER), Usage::Server, Timestamp::default(), now());
    let expired = world.workloads.issue(&profile).expect("issued");
    assert!(complaint(build(&expired, &expired)).contains("expired"));
    profile.uris.clear();
    let nameless = world.workloads.issue(&profile).expect("issued");
    assert!(complaint(build(&nameless, &nameless)).contains("no SPIFFE ID"));
}
