//! A machine's clock that is set a year ahead or back, while the vault serves and across a restart. `tests/shim/shim.c` sets it.

use std::time::Duration;

use strongroom::client::{BindingScope, Client, NewBinding, Reveal, StateChange};
use strongroom::model::{Clock, Environment, SpiffeId, SystemClock, Timestamp};
use strongroom::pki::{LeafProfile, Usage, write_private};
use tonic::Code;

use crate::harness::{Running, Site, WORKLOADS, person, server_id, workload};
use crate::operations::get;
use crate::proofs::is_turned_away;
use crate::revocation::{LIST, configure_list, serial};
use crate::script::entries;
use crate::shim::Shim;
use crate::stage::{named, new_binding, opaque};
use crate::wire::refused;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
const YEAR_S: i64 = 365 * 24 * 3600;

/// A vault whose people have certificates for years, but for `brief`, whose ends in half an hour.
struct Place {
    site: Site,
    shim: Shim,
    begin: Timestamp,
}

impl Place {
    async fn new(test: &str) -> Option<Self> {
        let site = Site::new("");
        let shim = Shim::new(&site, test)?;
        let begin = SystemClock.now();
        let end = begin.plus(3 * 365 * DAY);
        let own = LeafProfile { dns_names: vec!["localhost".to_owned()], ..LeafProfile::new(&server_id(), Usage::Server, begin, end) };
        site.forge("server", false, &LeafProfile { addresses: vec![std::net::Ipv4Addr::LOCALHOST.into()], ..own });
        for name in ["ana", "cleo"] {
            site.forge(name, true, &LeafProfile::new(&person(name), Usage::Client, begin, end));
        }
        for (name, end) in [("owner", end), ("guest", end), ("brief", begin.plus(30 * MINUTE))] {
            site.forge(name, false, &LeafProfile::new(&workload(name), Usage::Client, begin, end));
        }
        site.make_cheap_vault("").await;
        let place = Self { site, shim, begin };
        let running = place.start_open().await;
        place.site.make_namespace(&running, "shop", Environment::Stage).await;
        let role = crate::script::new_role("owner", crate::stage::EVERYTHING);
        place.client(&running, &person("ana")).await.create_role(role).await.expect("made");
        for name in ["owner", "brief"] {
            place.site.bind(&running, "owner", &workload(name), Some("shop")).await;
        }
        assert!(running.stop());
        Some(place)
    }

    async fn start_open(&self) -> Running {
        let mut command = self.site.command("server");
        self.shim.load(&mut command, None);
        let running = Running::of(command).unwrap_or_else(|log| panic!("it does not start: {log}"));
        self.site.unseal(&running).await;
        running
    }

    async fn client(&self, running: &Running, id: &SpiffeId) -> Client {
        self.site.client(running, id).await
    }

    async fn owner(&self, running: &Running) -> Client {
        self.client(running, &workload("owner")).await
    }

    async fn is_let_in(&self, running: &Running, name: &str) -> bool {
        !is_turned_away(running, self.site.credentials(&workload(name))).await
    }

    /// How far the vault's time is ahead, as metrics tell, and whether `status` warns of it.
    async fn alarm(&self, running: &Running) -> (f64, bool) {
        let metrics = get(running, "/metrics").await.1;
        let line = metrics.lines().find_map(|line| line.strip_prefix("strongroom_clock_ahead_seconds "));
        let status = self.client(running, &person("cleo")).await.status().await.expect("status");
        assert_eq!(status.clock.healthy, status.clock.problem.is_empty());
        (line.expect("it is told").parse().expect("a number"), !status.clock.healthy)
    }
}

async fn code(client: &Client, name: &str) -> Code {
    refused(&client.reveal_secret(Reveal::latest(&named(name))).await)
}

// immune: row-28
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_brings_nothing_to_life() {
    let Some(place) = Place::new("a clock set back").await else { return };
    let running = place.start_open().await;
    let owner = place.owner(&running).await;
    let soon = place.begin.plus(30 * MINUTE);
    owner.create_secret(opaque(&named("shop/stays"), "value")).await.expect("stored");
    owner.create_secret(opaque(&named("shop/ends"), "value").expires(soon)).await.expect("stored");
    let ending = NewBinding { end_time: Some(soon), ..new_binding("backend", &workload("guest"), Some("shop")) };
    assert_eq!(ending.scope, BindingScope::Namespace("shop".parse().expect("valid")));
    place.client(&running, &person("ana")).await.create_binding(ending).await.expect("bound");
    assert_eq!(code(&owner, "shop/ends").await, Code::Ok);
    assert_eq!(code(&place.client(&running, &workload("guest")).await, "shop/stays").await, Code::Ok);
    assert!(place.is_let_in(&running, "brief").await);

    // Forty minutes pass, and all three have ended; then the clock is set back.
    place.shim.set_clock(40 * 60);
    all_have_ended(&place, &running).await;
    let now = place.client(&running, &person("cleo")).await.status().await.expect("status").now;
    place.shim.set_clock(-YEAR_S);
    all_have_ended(&place, &running).await;
    let later = place.client(&running, &person("cleo")).await.status().await.expect("status").now;
    assert!(later >= now, "the vault's time went back from {now} to {later}");
    let (ahead_s, is_told) = place.alarm(&running).await;
    assert!(is_told && ahead_s > 364.0 * 86_400.0, "{ahead_s}");
    owner.create_secret(opaque(&named("shop/new"), "value")).await.expect("service goes on");
    running.kill();

    // Neither does a start under that clock, nor one under the right one.
    for ahead_s in [-YEAR_S, 0] {
        place.shim.set_clock(ahead_s);
        let running = place.start_open().await;
        all_have_ended(&place, &running).await;
        assert_eq!(place.alarm(&running).await.1, ahead_s < 0);
        assert!(running.stop());
    }
    assert!(entries(&place.site).len() > 20);
}

async fn all_have_ended(place: &Place, running: &Running) {
    let owner = place.owner(running).await;
    assert_eq!(code(&owner, "shop/stays").await, Code::Ok);
    assert_eq!(code(&owner, "shop/ends").await, Code::FailedPrecondition, "an expired secret");
    assert_eq!(code(&place.client(running, &workload("guest")).await, "shop/stays").await, Code::NotFound, "an ended binding");
    assert!(!place.is_let_in(running, "brief").await, "an expired certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_a_year_ahead_deletes_nothing() {
    let Some(place) = Place::new("a clock set ahead").await else { return };
    let running = place.start_open().await;
    let owner = place.owner(&running).await;
    for name in ["shop/stays", "shop/destroyed"] {
        owner.create_secret(opaque(&named(name), "value")).await.expect("stored");
    }
    owner.create_secret(opaque(&named("shop/month"), "value").expires(place.begin.plus(30 * DAY))).await.expect("stored");
    owner.destroy_secret(StateChange::of(&named("shop/destroyed"))).await.expect("destroyed");
    assert_eq!(place.alarm(&running).await, (0.0, false));

    place.shim.set_clock(YEAR_S);
    is_a_year_ahead(&place, &running).await;
    // The machine's clock is right again. The vault's time is that of its log, and it says so.
    place.shim.set_clock(0);
    is_a_year_ahead(&place, &running).await;
    running.kill();
    let running = place.start_open().await;
    is_a_year_ahead(&place, &running).await;
    assert!(running.stop());
    assert!(entries(&place.site).len() > 20);

    // The way out: a new folder for the log.
    std::fs::rename(place.site.path("audit"), place.site.path("audit-of-then")).expect("moved");
    let running = place.start_open().await;
    assert_eq!(place.alarm(&running).await, (0.0, false));
    let owner = place.owner(&running).await;
    assert!(place.is_let_in(&running, "brief").await, "its certificate has not expired yet");
    assert_eq!(code(&owner, "shop/month").await, Code::Ok, "nor has this");
    owner.restore_secret(StateChange::of(&named("shop/destroyed"))).await.expect("its window has not ended");
    assert_eq!(code(&owner, "shop/destroyed").await, Code::Ok);
    assert!(running.stop());
}

/// Service goes on, what has an end before then has ended, nothing is deleted, and the alarm is on.
async fn is_a_year_ahead(place: &Place, running: &Running) {
    let owner = place.owner(running).await;
    assert_eq!(code(&owner, "shop/stays").await, Code::Ok);
    assert_eq!(code(&owner, "shop/month").await, Code::FailedPrecondition);
    assert!(!place.is_let_in(running, "brief").await);
    let (ahead_s, is_told) = place.alarm(running).await;
    assert!(is_told && ahead_s > 364.0 * 86_400.0, "{ahead_s}");
    // Whenever it is opened, the vault looks for what is to be purged.
    let cleo = place.client(running, &person("cleo")).await;
    cleo.seal("a test").await.expect("sealed");
    place.site.unseal(running).await;
    for _ in 0..20 {
        let found = owner.describe_secret(&named("shop/destroyed")).await.expect("it is still there");
        assert_eq!(format!("{:?}", found.state), "Destroyed");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// A list of revoked certificates counts by the vault's time, and no clock lets back in whom it names.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_stays_out_under_any_clock() {
    let Some(place) = Place::new("a revocation list under a wrong clock").await else { return };
    configure_list(&place.site);
    let revoked = serial(&place.site.credentials(&workload("guest")));
    let write_list = |number, days: u32| {
        let list = place.site.workloads().crl(&[&revoked], number, place.begin, place.begin.plus(days * DAY)).expect("signed");
        write_private(&place.site.path(LIST), &list).expect("written");
    };
    write_list(1, 30);
    let running = place.start_open().await;
    let are_let_in = async |running: &Running| (place.is_let_in(running, "owner").await, place.is_let_in(running, "guest").await);
    for ahead_s in [0, -YEAR_S] {
        place.shim.set_clock(ahead_s);
        assert_eq!(are_let_in(&running).await, (true, false), "{ahead_s} s ahead");
    }
    // The list has ended: who is on it can no longer be told.
    place.shim.set_clock(YEAR_S);
    assert_eq!(are_let_in(&running).await, (false, false));
    write_list(2, 2 * 365);
    running.hang_up();
    running.says("were read again and are in force");
    assert_eq!(are_let_in(&running).await, (true, false));
    running.kill();

    // The vault's time stays where it was, so the first list has ended for good.
    place.shim.set_clock(0);
    write_list(1, 30);
    let mut command = place.site.command("server");
    place.shim.load(&mut command, None);
    let told = Running::of(command).err().expect("it does not start");
    assert!(told.contains(WORKLOADS) && told.contains("a revocation list has expired"), "{told}");
    write_list(2, 2 * 365);
    for ahead_s in [-YEAR_S, YEAR_S, 0] {
        place.shim.set_clock(ahead_s);
        let running = place.start_open().await;
        assert_eq!(are_let_in(&running).await, (true, false), "{ahead_s} s ahead after a start");
        assert!(running.stop());
    }
}
