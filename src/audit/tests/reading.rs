use std::sync::Arc;

use super::*;
use crate::model::{Action, Class, Effort, Principal};

/// 200 entries, one a minute from 08:00, over several segments.
async fn log_of_many(folder: &Path) -> Arc<AuditLog> {
    let clock = Hands::at("2026-11-24T08:00:00Z");
    let (log, _) = AuditLog::open(folder, small(), clock.clone()).expect("opens");
    for number in 0..200_u64 {
        clock.move_to(&format!("2026-11-24T{:02}:{:02}:00Z", 8 + number / 60, number % 60));
        let (who, class) = if number % 2 == 0 { ("even", Class::Workload) } else { ("odd", Class::Operator) };
        let by = Principal { id: format!("spiffe://shop.example/{who}").parse().expect("valid"), class };
        let denied = number % 10 == 0;
        let draft = Draft {
            action: Some(if number % 5 == 0 { Action::Reveal } else { Action::Describe }),
            resource: Some(Resource::secret(&format!("shop/m{}/{number}", number % 3).parse().expect("valid"))),
            decision: Some(if denied { Decision::Deny } else { Decision::Allow }),
            outcome: Some(if number % 7 == 0 { "not_found" } else { "ok" }),
            ..Draft::new(if denied { Event::Denied } else { Event::Read }, if number < 100 { "GetSecret" } else { "UseSecret" })
                .by(&by)
                .with("padding", "x".repeat(1_500))
        };
        log.append(draft).await.expect("written");
    }
    log
}

fn sequences(reader: &Reader, filter: &Filter, order: Order) -> Vec<u64> {
    reader.entries(filter.clone(), order).map(|entry| entry.expect("undamaged").sequence).collect()
}

#[tokio::test]
async fn filters_pages_and_orders_agree_with_a_plain_look_at_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = log_of_many(folder.path()).await;
    let reader = Reader::open(folder.path()).expect("listed");
    let everything = all(folder.path());
    assert!(everything.len() == 200 && log.status().segments > 3);
    let time = |text: &str| Timestamp::parse(text).ok();
    type Wanted = fn(&Entry) -> bool;
    let seven = PageBounds { entries: 7, bytes: usize::MAX };
    let cases: Vec<(Filter, Wanted)> = vec![
        (Filter::default(), |_| true),
        (Filter { after_sequence: Some(190), ..Filter::default() }, |entry| entry.sequence > 190),
        (Filter { after_sequence: Some(17), before_sequence: Some(120), ..Filter::default() }, |entry| (18..120).contains(&entry.sequence)),
        (Filter { since: time("2026-11-24T09:30:00Z"), ..Filter::default() }, |entry| entry.sequence > 90),
        (Filter { until: time("2026-11-24T08:10:00Z"), ..Filter::default() }, |entry| entry.sequence <= 11),
        (Filter { since: time("2026-11-24T09:00:00Z"), until: time("2026-11-24T10:00:00Z"), ..Filter::default() }, |entry| {
            (61..=121).contains(&entry.sequence)
        }),
        (Filter { since: time("2027-01-01T00:00:00Z"), ..Filter::default() }, |_| false),
        (Filter { until: time("2026-01-01T00:00:00Z"), ..Filter::default() }, |_| false),
        (Filter { principal: Some("spiffe://shop.example/odd".into()), ..Filter::default() }, |entry| entry.class == Some(Class::Operator)),
        (Filter { action: Some(Action::Reveal), ..Filter::default() }, |entry| entry.action == Some(Action::Reveal)),
        (Filter { resource_prefix: Some("shop/m1".into()), ..Filter::default() }, |entry| entry.sequence % 3 == 2),
        (Filter { resource_prefix: Some("shop/m".into()), ..Filter::default() }, |_| false),
        (Filter { resource_prefix: Some("shop/".into()), ..Filter::default() }, |_| true),
        (Filter { method: Some("UseSecret".into()), ..Filter::default() }, |entry| entry.sequence > 100),
        (Filter { event: Some(Event::Denied), decision: Some(Decision::Deny), ..Filter::default() }, |entry| entry.sequence % 10 == 1),
        (Filter { outcome: Some("not_found".into()), ..Filter::default() }, |entry| entry.sequence % 7 == 1),
    ];
    for (filter, wanted) in cases {
        let mut expected: Vec<_> = everything.iter().filter(|entry| wanted(entry)).map(|entry| entry.sequence).collect();
        for order in [Order::OldestFirst, Order::NewestFirst] {
            assert_eq!(sequences(&reader, &filter, order), expected, "{filter:?} {order:?}");
            let (mut paged, mut after) = (Vec::new(), None);
            loop {
                let page = reader.page(&filter, order, after, seven, &Effort::default(), || true).expect("undamaged");
                assert!(page.entries.len() <= 7);
                paged.extend(page.entries.iter().map(|entry| entry.sequence));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(paged, expected, "{filter:?} {order:?} by pages");
            expected.reverse();
        }
    }
}

#[tokio::test]
async fn a_page_ends_at_its_bounds_and_when_nobody_waits_for_it_and_its_effort_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    for number in 0..2_000 {
        log.append(read_draft(number)).await.expect("written");
    }
    let reader = Reader::open(folder.path()).expect("listed");
    let nobody = Filter { method: Some("None".into()), ..Filter::default() };
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let (all, effort) = (PageBounds { entries: 5_000, bytes: usize::MAX }, Effort::default());
        let page = reader.page(&nobody, order, None, all, &effort, || true).expect("undamaged");
        assert!(page.entries.is_empty() && page.next.is_none());
        assert!((2_050..2_100).contains(&effort.so_far()), "2,000, and what was passed over: {effort:?}");

        let (asked, effort) = (AtomicU64::new(0), Effort::default());
        let is_wanted = || asked.fetch_add(1, Ordering::Relaxed) < 2;
        let page = reader.page(&nobody, order, None, all, &effort, is_wanted).expect("undamaged");
        assert!(page.next.is_some() && effort.so_far() < 600, "it went on for nobody: {effort:?}");

        let few = PageBounds { bytes: 1_000, ..all };
        let page = reader.page(&Filter::default(), order, None, few, &Effort::default(), || true).expect("undamaged");
        assert!((2..20).contains(&page.entries.len()), "{}", page.entries.len());
        let rest = reader.page(&Filter::default(), order, page.next, all, &Effort::default(), || true).expect("undamaged");
        assert_eq!(page.entries.len() + rest.entries.len(), 2_000);
    }
}

#[tokio::test]
async fn the_newest_entry_that_says_something_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    for generation in 1..=3 {
        log.append(Draft::new(Event::Outcome, "PutBinding").with("policy_generation", generation)).await.expect("written");
        for number in 0..40 {
            log.append(read_draft(number).with("padding", "x".repeat(2_000))).await.expect("written");
        }
    }
    let reader = Reader::open(folder.path()).expect("listed");
    let found = reader.last_matching(|entry| entry.detail.contains_key("policy_generation")).expect("undamaged").expect("there is one");
    assert_eq!(found.detail["policy_generation"], "3");
    assert!(reader.last_matching(|entry| entry.method == "None").expect("undamaged").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_can_be_read_while_it_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    let writing = tokio::spawn(async move {
        for number in 0..1_500 {
            log.append(read_draft(number).with("padding", "x".repeat(300))).await.expect("written");
        }
    });
    let mut seen = 0;
    while !writing.is_finished() {
        let now = all(folder.path()).len();
        assert!(now >= seen, "{now} after {seen}");
        seen = now;
        tokio::task::yield_now().await;
    }
    writing.await.expect("no panic");
    assert_eq!(all(folder.path()).len(), 1_500);
}

#[test]
fn an_empty_folder_has_no_entries_and_a_missing_one_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(all(folder.path()).is_empty());
    assert!(matches!(Reader::open(&folder.path().join("none")), Err(AuditError::Io { .. })));
}
