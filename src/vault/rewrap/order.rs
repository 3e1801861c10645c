//! What needs a permit: start, pause, resume, list, watch.

use std::time::Duration;

use tokio::sync::watch::Receiver;

use crate::gate::{Permit, Unreleased, Visibility};
use crate::model::{NamespaceId, NamespaceName, Timestamp, limits};

use super::super::page::{Page, PageLimits, Shown};
use super::super::record::{RewrapJob, RewrapState};
use super::super::{Error, Open, author, record};
use super::job::{Job, Now, Writing};

/// What a rewrap is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RewrapOrder {
    /// Whether payloads are encrypted anew, too.
    pub reencrypt: bool,
    /// Rows a second, at most; 0 for the default.
    pub rate_per_s: u32,
}

/// How far a rewrap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewrapStatus {
    /// It goes on.
    Running,
    /// It waits until it is resumed.
    Paused,
    /// Every row was looked at.
    Done,
}

/// A rewrap as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewrapInfo {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The key version that all rows are put under.
    pub target_version: u32,
    /// Whether payloads are encrypted anew.
    pub reencrypt: bool,
    /// Rows a second, at most.
    pub rate_per_s: u32,
    /// How far it is.
    pub status: RewrapStatus,
    /// Rows that there were when it began; 0 while they are counted.
    pub total: u64,
    /// Rows that it has looked at.
    pub seen: u64,
    /// Rows that it has put under the target.
    pub rewrapped: u64,
    /// Rows that could not be opened.
    pub damaged: u64,
    /// When it was ordered.
    pub started: Timestamp,
    /// Who ordered it.
    pub started_by: String,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Rows a second, lately.
    pub rows_per_s: u32,
    /// How long it will take at this pace, where that can be told.
    pub time_left: Option<Duration>,
}

/// A rewrap that is watched. It holds no key, and may outlive the open vault.
pub struct RewrapWatch {
    namespace: NamespaceId,
    now: Receiver<Now>,
}

impl RewrapWatch {
    /// Waits until it has changed. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Error::Sealed`].
    pub async fn changed(&mut self) -> Result<(), Error> {
        self.now.changed().await.map_err(|_| Error::Sealed)
    }
}

impl RewrapOrder {
    /// Whether the rate is one.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn check(self) -> Result<(), Error> {
        if self.rate_per_s > limits::REWRAP_RATE_PER_S {
            return Err(Error::Invalid { field: "rate_per_s", why: "must be 1 to 1,000,000, or 0 for the default" });
        }
        Ok(())
    }

    const fn rate(self) -> u32 {
        if self.rate_per_s == 0 { limits::DEFAULT_REWRAP_RATE_PER_S } else { self.rate_per_s }
    }

    /// A job of this order from the beginning. Payloads that an unfinished job was to encrypt anew still are.
    pub(in crate::vault) fn begin(self, job: &mut RewrapJob, target: u32, permit: &Permit<NamespaceId>) {
        let is_owed = job.reencrypt && matches!(job.state(), RewrapState::Running | RewrapState::Paused);
        *job = RewrapJob {
            target_version: target,
            reencrypt: self.reencrypt || is_owed,
            rate_per_s: self.rate(),
            state: RewrapState::Running.into(),
            started_ms: permit.now().unix_ms(),
            started_by: author(permit),
            intent: permit.intent(),
            ..RewrapJob::default()
        };
    }
}

impl Open {
    /// Puts every data key of a namespace under its active key version. One that is under way to the same goes on, at the new
    /// rate.
    ///
    /// # Errors
    /// [`Error::Invalid`], or the store's.
    pub async fn start_rewrap(&self, permit: Permit<NamespaceId>, order: RewrapOrder) -> Result<Unreleased<RewrapInfo>, Error> {
        order.check()?;
        let id = *permit.granted();
        let target = self.namespace(id)?.keys().keyring.active().0;
        let job = self.rewraps.of(id);
        let writing = self.write_rewrap(&job, true, |record| {
            let is_it = record.target_version == target && (record.reencrypt || !order.reencrypt);
            if is_it && matches!(record.state(), RewrapState::Running | RewrapState::Paused) {
                record.set_state(RewrapState::Running);
                record.rate_per_s = order.rate();
                record.intent = permit.intent();
            } else {
                order.begin(record, target, &permit);
            }
            Ok(())
        });
        self.order(writing.await?, &permit).await
    }

    /// Has a rewrap wait until it is resumed. One that waits or has ended is left as it is.
    ///
    /// # Errors
    /// [`Error::Absent`] where there was none.
    pub async fn pause_rewrap(&self, permit: Permit<NamespaceId>) -> Result<Unreleased<RewrapInfo>, Error> {
        let job = self.rewraps.existing(*permit.granted()).ok_or(ABSENT)?;
        let writing = self.write_rewrap(&job, false, |record| {
            if record.state() == RewrapState::Running {
                record.set_state(RewrapState::Paused);
            }
            record.intent = permit.intent();
            Ok(())
        });
        self.order(writing.await?, &permit).await
    }

    /// Has a paused rewrap go on where it was; 0: at the rate that it had. One that has ended is left as it is.
    ///
    /// # Errors
    /// [`Error::Absent`] where there was none, [`Error::Invalid`].
    pub async fn resume_rewrap(&self, permit: Permit<NamespaceId>, rate_per_s: u32) -> Result<Unreleased<RewrapInfo>, Error> {
        RewrapOrder { reencrypt: false, rate_per_s }.check()?;
        let job = self.rewraps.existing(*permit.granted()).ok_or(ABSENT)?;
        let writing = self.write_rewrap(&job, false, |record| {
            if record.state() == RewrapState::Paused {
                record.set_state(RewrapState::Running);
            }
            if rate_per_s > 0 {
                record.rate_per_s = rate_per_s;
            }
            record.intent = permit.intent();
            Ok(())
        });
        self.order(writing.await?, &permit).await
    }

    async fn order(&self, writing: Writing<'_>, permit: &Permit<NamespaceId>) -> Result<Unreleased<RewrapInfo>, Error> {
        self.commit_rewrap(writing).await?;
        let info = self.wake_rewrap(*permit.granted())?;
        let (version, rate) = (info.target_version, info.rate_per_s);
        Ok(Unreleased::new(info).version(version.into()).with("rate_per_s", rate))
    }

    /// A rotation's part of it: to be committed together with the new keyring.
    pub(in crate::vault) async fn order_with_rotation<'a>(
        &self,
        job: &'a Job,
        order: RewrapOrder,
        target: u32,
        permit: &Permit<NamespaceId>,
    ) -> Result<Writing<'a>, Error> {
        let begin = |record: &mut RewrapJob| {
            order.begin(record, target, permit);
            Ok(())
        };
        self.write_rewrap(job, true, begin).await
    }

    /// Something was ordered: whoever runs jobs looks at once.
    pub(in crate::vault) fn wake_rewrap(&self, id: NamespaceId) -> Result<RewrapInfo, Error> {
        self.rewraps.wake.notify_one();
        self.rewrap_info(id)
    }

    /// The newest rewrap of a namespace.
    pub(in crate::vault) fn rewrap_info(&self, id: NamespaceId) -> Result<RewrapInfo, Error> {
        let job = self.rewraps.existing(id).ok_or(ABSENT)?;
        RewrapInfo::of(self.namespace(id)?.info.name.clone(), &job.now())
    }

    /// Lists the newest rewrap of each namespace that may be shown, or of one.
    ///
    /// # Errors
    /// A page token of another list; [`Error::Absent`] for a namespace that may not be shown.
    pub fn list_rewraps(
        &self,
        permit: &Permit<Visibility>,
        only: Option<&NamespaceName>,
        page: PageLimits,
        page_token: &str,
    ) -> Result<Unreleased<Page<RewrapInfo>>, Error> {
        let visible = self.visible_namespaces(permit.granted());
        let asked: Vec<_> = visible.iter().filter(|namespace| only.is_none_or(|name| *name == namespace.info.name)).collect();
        if asked.is_empty() && only.is_some() {
            return Err(Error::Absent("namespace"));
        }
        let of = |id| self.rewraps.existing(id).is_some().then(|| self.rewrap_info(id));
        let infos: Vec<_> = asked.into_iter().filter_map(|namespace| of(namespace.info.id)).collect::<Result<_, _>>()?;
        let filter = format!("rewraps {only:?}");
        let position = |info: &RewrapInfo| info.namespace.to_string().into_bytes();
        Ok(Unreleased::new(self.paging(permit, &filter, page).cut(infos, page_token, position)?))
    }

    /// Begins to watch a namespace's rewrap.
    ///
    /// # Errors
    /// [`Error::Absent`] where there was none.
    pub fn watch_rewrap(&self, permit: &Permit<NamespaceId>) -> Result<Unreleased<RewrapWatch>, Error> {
        let namespace = *permit.granted();
        let job = self.rewraps.existing(namespace).ok_or(ABSENT)?;
        Ok(Unreleased::new(RewrapWatch { namespace, now: job.watch() }))
    }

    /// How far a watched rewrap is, for the holder of a permit of this moment.
    ///
    /// # Errors
    /// [`Error::Absent`] if the permit is for another namespace.
    pub fn watched_rewrap(&self, permit: &Permit<NamespaceId>, watch: &mut RewrapWatch) -> Result<Unreleased<RewrapInfo>, Error> {
        if *permit.granted() != watch.namespace {
            return Err(Error::Absent("namespace"));
        }
        let name = self.namespace(watch.namespace)?.info.name.clone();
        let info = RewrapInfo::of(name, &watch.now.borrow_and_update());
        info.map(Unreleased::new)
    }
}

const ABSENT: Error = Error::Absent("rewrap: start one");

impl RewrapInfo {
    fn of(namespace: NamespaceName, now: &Now) -> Result<Self, Error> {
        let Now { record, rows_per_s, .. } = now;
        let status = match record.state() {
            RewrapState::Running => RewrapStatus::Running,
            RewrapState::Paused => RewrapStatus::Paused,
            RewrapState::Done => RewrapStatus::Done,
            RewrapState::Unspecified => return Err(ABSENT),
        };
        let left = record.total.saturating_sub(record.seen).checked_div((*rows_per_s).into());
        Ok(Self {
            namespace,
            target_version: record.target_version,
            reencrypt: record.reencrypt,
            rate_per_s: record.rate_per_s,
            status,
            total: record.total,
            seen: record.seen,
            rewrapped: record.rewrapped,
            damaged: record.damaged,
            started: record::time(record.started_ms)?,
            started_by: record.started_by.clone(),
            finished: record::optional_time(record.finished_ms)?,
            rows_per_s: *rows_per_s,
            time_left: left.filter(|_| status == RewrapStatus::Running && record.total > 0).map(Duration::from_secs),
        })
    }
}

impl Shown for RewrapInfo {
    fn shown_bytes(&self) -> usize {
        256 + self.started_by.len()
    }
}
