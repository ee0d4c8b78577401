//! A transaction on its way, from the login to the confirmation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};
use uci::{Change, Config, Edit, PackageName, Section, SectionName};

use crate::staging;
use crate::transaction::error::{BoxError, Step, TransactionError};
use crate::transaction::{Outcome, Settings};
use crate::{Client, Session, Status, UbusError};

/// The methods of rpcd's `uci` object that every transaction may need.
const METHODS: [&str; 9] = ["get", "changes", "add", "set", "delete", "revert", "apply", "confirm", "rollback"];

/// What has been done that must be undone on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing. The session may be another program's.
    Nothing,
    /// The session is ours and has nothing staged.
    Begun,
    /// Something may be staged.
    Staged,
    /// The change may be applied, since then.
    Applied(Instant),
}

pub(super) struct Running {
    pub(super) client: Arc<Client>,
    pub(super) settings: Settings,
    pub(super) session: Session,
    pub(super) progress: Progress,
    packages: Vec<PackageName>,
    /// What was found.
    pub(super) before: Config,
    /// What is asked.
    pub(super) target: Config,
    /// The sections that change.
    pub(super) touched: BTreeSet<(PackageName, SectionName)>,
}

impl Running {
    pub(super) async fn begin(
        client: Arc<Client>,
        settings: Settings,
        packages: &[PackageName],
    ) -> Result<Self, TransactionError> {
        // Nobody calls in the session while the effect is awaited, and it must outlast that.
        let timeout = Duration::from_secs(300).max(settings.rollback * 3);
        let session = client.login(Some(timeout)).await;
        let session = session.map_err(|source| TransactionError::Call { step: Step::Login, source })?;
        Ok(Self {
            client,
            settings,
            session,
            progress: Progress::Nothing,
            packages: packages.to_vec(),
            before: Config::new(),
            target: Config::new(),
            touched: BTreeSet::new(),
        })
    }

    pub(super) async fn drive<P, E, V, F>(&mut self, plan: P, verify: V) -> Result<Outcome, TransactionError>
    where
        P: FnOnce(&Config) -> Result<Vec<Change>, E>,
        E: Into<BoxError>,
        V: FnMut() -> F,
        F: Future<Output = Result<(), BoxError>>,
    {
        if self.plan(plan).await? == Outcome::Unchanged {
            return Ok(Outcome::Unchanged);
        }
        self.apply().await?;
        self.verify(verify).await?;
        self.confirm_as_planned().await?;
        Ok(Outcome::Confirmed)
    }

    /// Reads the packages and stages what the plan says.
    pub(super) async fn plan<P, E>(&mut self, plan: P) -> Result<Outcome, TransactionError>
    where
        P: FnOnce(&Config) -> Result<Vec<Change>, E>,
        E: Into<BoxError>,
    {
        self.check_rights()?;
        self.check_pending().await?;
        self.progress = Progress::Begun;
        self.before = self.read(Step::Read, &self.packages).await?;
        let changes = plan(&self.before).map_err(|error| TransactionError::Plan { source: error.into() })?;
        if changes.is_empty() {
            return Ok(Outcome::Unchanged);
        }
        let (calls, records) = self.prepare(changes)?;
        self.stage(&calls).await?;
        self.read_back(&records).await?;
        Ok(Outcome::Confirmed)
    }

    /// Confirms what nobody else has changed since.
    pub(super) async fn confirm_as_planned(&self) -> Result<(), TransactionError> {
        self.check_sections(Step::Confirm).await?;
        self.confirm().await
    }

    /// Ends the session of a transaction that succeeded. It would end by itself, so that failing is no harm.
    pub(super) async fn end(self) {
        if let Err(error) = self.session.destroy().await {
            tracing::debug!(cause = &error as &dyn std::error::Error, "a session is left to expire");
        }
    }

    /// Without these rights a transaction would fail half-way, and look as if its session had expired.
    fn check_rights(&self) -> Result<(), TransactionError> {
        let rights = self.session.rights();
        let method = METHODS.iter().find(|method| !rights.allow("ubus", "uci", method));
        if let Some(method) = method {
            return Err(TransactionError::Denied { what: format!("call uci {method}") });
        }
        for (package, verb) in self.packages.iter().flat_map(|package| [(package, "read"), (package, "write")]) {
            if !rights.allow("uci", package.as_str(), verb) {
                return Err(TransactionError::Denied { what: format!("{verb} package {package}") });
            }
        }
        Ok(())
    }

    /// While a change is pending, rpcd refuses to revert in any session, and gives the session that applied it to
    /// whoever logs in as the same user.
    async fn check_pending(&self) -> Result<(), TransactionError> {
        let staged = self.call(Step::Probe, "changes", json!({})).await?;
        let is_empty = match staged.as_ref().and_then(|staged| staged.get("changes")) {
            Some(Value::Object(packages)) => packages.is_empty(),
            Some(Value::Array(packages)) => packages.is_empty(),
            _ => {
                let source = UbusError::malformed("uci", "changes", "an object under \"changes\"");
                return Err(TransactionError::Call { step: Step::Probe, source });
            }
        };
        if !is_empty {
            return Err(TransactionError::Busy);
        }
        let Some(package) = self.packages.first() else { return Ok(()) };
        match self.call(Step::Probe, "revert", json!({"config": package.as_str()})).await {
            Err(error) if has_status(&error, Status::PermissionDenied) => Err(TransactionError::Busy),
            done => done.map(|_| ()),
        }
    }

    async fn read(&self, step: Step, packages: &[PackageName]) -> Result<Config, TransactionError> {
        read(&self.session, packages).await.map_err(|source| TransactionError::Call { step, source })
    }

    /// The calls to make, and what rpcd will write down about them, by package.
    fn prepare(&mut self, changes: Vec<Change>) -> Result<(Vec<Change>, Records), TransactionError> {
        let mut calls = Vec::new();
        for change in changes {
            let split = staging::split(change);
            calls.extend(split.map_err(|source| TransactionError::Call { step: Step::Stage, source })?);
        }
        self.target = self.before.clone();
        let mut records = Records::new();
        for call in &calls {
            let Some(package) = self.target.get_mut(call.config.as_str()) else {
                return Err(TransactionError::Unread { package: call.config.clone() });
            };
            let written = uci::apply(package, std::slice::from_ref(call));
            let written = written.map_err(|error| TransactionError::Plan { source: error.into() })?;
            records.entry(call.config.clone()).or_default().extend(written.iter().map(staging::record));
            self.touched.extend(sections(&call.edit).map(|section| (call.config.clone(), section.clone())));
        }
        Ok((calls, records))
    }

    async fn stage(&mut self, calls: &[Change]) -> Result<(), TransactionError> {
        self.progress = Progress::Staged;
        for call in calls {
            self.call(Step::Stage, call.edit.method(), staging::args(call)).await?;
        }
        Ok(())
    }

    async fn read_back(&self, records: &Records) -> Result<(), TransactionError> {
        for (package, expected) in records {
            let answer = self.call(Step::ReadBack, "changes", json!({"config": package.as_str()})).await?;
            let Some(found) = answer.as_ref().and_then(|answer| answer.get("changes")).and_then(Value::as_array) else {
                let source = UbusError::malformed("uci", "changes", "a list under \"changes\"");
                return Err(TransactionError::Call { step: Step::ReadBack, source });
            };
            if found != expected {
                let same = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
                let (found, expected) = (found.len(), expected.len());
                return Err(TransactionError::NotAsAsked { package: package.clone(), at: same + 1, found, expected });
            }
        }
        self.check_sections(Step::ReadBack).await
    }

    /// Looks whether the sections that change are as planned, which they are not when somebody else committed to them.
    async fn check_sections(&self, step: Step) -> Result<(), TransactionError> {
        let found = self.read(step, &self.changed_packages()).await?;
        match self.unplanned(&found) {
            Some((package, section)) => Err(TransactionError::Conflict { package, section }),
            None => Ok(()),
        }
    }

    /// The first section that is not as planned.
    fn unplanned(&self, found: &Config) -> Option<(PackageName, SectionName)> {
        let differs = |(package, section): &&(PackageName, SectionName)| {
            section_of(found, package, section) != section_of(&self.target, package, section)
        };
        self.touched.iter().find(differs).cloned()
    }

    pub(super) fn changed_packages(&self) -> Vec<PackageName> {
        let packages: BTreeSet<_> = self.touched.iter().map(|(package, _)| package).collect();
        packages.into_iter().cloned().collect()
    }

    pub(super) async fn apply(&mut self) -> Result<(), TransactionError> {
        self.progress = Progress::Applied(Instant::now());
        let args = json!({"rollback": true, "timeout": self.settings.rollback.as_secs()});
        let applied = self.call(Step::Apply, "apply", args).await;
        let Err(error) = applied else {
            tracing::info!(rollback_s = self.settings.rollback.as_secs(), "configuration is applied");
            return Ok(());
        };
        if matches!(&error, TransactionError::Call { source, .. } if source.was_refused()) {
            self.progress = Progress::Staged;
        }
        if has_status(&error, Status::PermissionDenied) {
            return Err(TransactionError::Busy);
        }
        Err(error)
    }

    async fn verify<V, F>(&self, mut verify: V) -> Result<(), TransactionError>
    where
        V: FnMut() -> F,
        F: Future<Output = Result<(), BoxError>>,
    {
        let start = Instant::now();
        let deadline = start + self.settings.verify;
        let mut last = None;
        loop {
            match timeout_at(deadline, verify()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => last = Some(error),
                Err(_) => {}
            }
            if Instant::now() + self.settings.pause >= deadline {
                return Err(TransactionError::Unverified { waited: start.elapsed(), source: last });
            }
            sleep(self.settings.pause).await;
        }
    }

    async fn confirm(&self) -> Result<(), TransactionError> {
        let Progress::Applied(applied) = self.progress else { return Ok(()) };
        let deadline = applied + self.settings.rollback;
        loop {
            let error = match self.call(Step::Confirm, "confirm", json!({})).await {
                Ok(_) => break,
                Err(error) => error,
            };
            if has_status(&error, Status::NoData) {
                // Nothing is pending: an earlier confirmation arrived though its answer did not, or it came too late.
                let witness = self.client.login(None).await;
                let witness = witness.map_err(|source| TransactionError::Call { step: Step::Confirm, source })?;
                if !self.is_confirmed(&witness).await? {
                    return Err(TransactionError::TakenBack);
                }
                break;
            }
            let was_refused = matches!(&error, TransactionError::Call { source, .. } if source.was_refused());
            if was_refused || Instant::now() >= deadline {
                return Err(error);
            }
            sleep(self.settings.pause).await;
        }
        tracing::info!("configuration is confirmed");
        Ok(())
    }

    /// Whether another session finds what was asked. Our own would show it also when it is merely staged again.
    async fn is_confirmed(&self, witness: &Session) -> Result<bool, TransactionError> {
        let found = read(witness, &self.changed_packages()).await;
        let found = found.map_err(|source| TransactionError::Call { step: Step::Confirm, source })?;
        Ok(self.unplanned(&found).is_none())
    }

    async fn call(&self, step: Step, method: &str, args: Value) -> Result<Option<Value>, TransactionError> {
        let answer = self.session.call("uci", method, args).await;
        answer.map_err(|source| TransactionError::Call { step, source })
    }
}

/// What rpcd writes down, by package.
type Records = BTreeMap<PackageName, Vec<Value>>;

pub(super) async fn read(session: &Session, packages: &[PackageName]) -> Result<Config, UbusError> {
    let mut config = Config::new();
    for name in packages {
        let answer = session.call("uci", "get", json!({"config": name.as_str()})).await?;
        config.insert(staging::package(name, answer)?);
    }
    Ok(config)
}

/// A section, if it is there.
pub(super) fn section_of<'a>(config: &'a Config, package: &PackageName, section: &SectionName) -> Option<&'a Section> {
    config.get(package.as_str())?.section(section.as_str())
}

/// The sections that an edit names.
fn sections(edit: &Edit) -> impl Iterator<Item = &SectionName> {
    let (one, other): (Option<&SectionName>, &[SectionName]) = match edit {
        Edit::Add { name, .. } => (Some(name), &[]),
        Edit::Set { section, .. }
        | Edit::DeleteSection { section }
        | Edit::DeleteOptions { section, .. }
        | Edit::RenameOption { section, .. } => (Some(section), &[]),
        Edit::RenameSection { section, name } => (Some(section), std::slice::from_ref(name)),
        Edit::Order { sections } => (None, sections),
    };
    one.into_iter().chain(other)
}

fn has_status(error: &TransactionError, status: Status) -> bool {
    matches!(error, TransactionError::Call { source, .. } if source.status() == Some(status))
}
