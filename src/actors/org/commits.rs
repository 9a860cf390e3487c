//! What of an org is handed over to the store, and what became of it.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use super::{OrgTask, Work};
use crate::{
    actors::Answers,
    domain::{promise::Promise, rows::OrgWrite},
    error::ServiceError,
    ports::{CommitDone, CommitError},
};

/// How far the store has come with this org.
#[derive(Debug, Default)]
pub(super) struct Progress {
    commits: AtomicU64,
    admissions: AtomicU64,
    /// Writes as the state counts them.
    pub(super) writes: AtomicU64,
    /// The first commit that is not durable.
    pub(super) broken: OnceLock<CommitError>,
}

impl OrgTask {
    /// Admissions that no durable commit has.
    pub(super) fn unflushed(&self) -> u64 {
        self.admissions.saturating_sub(self.durable.admissions.load(Ordering::Acquire))
    }

    /// Too much is unflushed, or nothing may be.
    pub(super) fn must_wait(&self) -> bool {
        self.unflushed() > self.shared.write_behind.max
            || (self.shared.write_behind.interval.is_zero() && self.state.has_changes())
    }

    /// It comes when the store is up.
    pub(super) fn ask_for_flush(&mut self) {
        if self.state.has_changes() && !self.flush_asked && !self.shared.write_behind.interval.is_zero() {
            self.flush_asked = true;
            self.shared.changed.note(self.org.clone(), self.me.clone());
        }
    }

    pub(super) fn reply_when_durable(&mut self, work: Work, mut answers: Answers) {
        let commands = work.commands;
        self.commit(Box::new(move |result| {
            if let Err(error) = result {
                let error = ServiceError::from(error);
                for (command, answer) in commands.iter().zip(&mut answers) {
                    if answer.is_ok() && command.promise() != Promise::Nothing {
                        *answer = Err(error.clone());
                    }
                }
            }
            drop(work.reply.send(answers));
        }));
    }

    /// Hands everything changed to the store; `done` runs when it, and everything before it, is
    /// durable. A reply waits for it.
    pub(super) fn commit(&mut self, done: CommitDone) {
        self.hand_over(true, done);
    }

    /// The same where no reply waits.
    pub(super) fn flush(&mut self, done: CommitDone) {
        self.hand_over(false, done);
    }

    fn hand_over(&mut self, awaited: bool, done: CommitDone) {
        if let Some(error) = self.durable.broken.get() {
            return done(Err(error.clone()));
        }
        let may_purge = self.shared.clock.may_purge();
        self.state.hold(self.shared.holding.has(&self.org));
        let taken = self.state.take_write(&self.org, &self.policy, may_purge);
        let Some(write) = taken.or_else(|| self.barrier()) else {
            return done(Ok(()));
        };
        if write.wipe {
            self.shared.holding.wiped(&self.org);
        }
        let write = OrgWrite { awaited, ..write };
        self.handed_over += 1;
        let (commits, admissions, durable) = (self.handed_over, self.admissions, self.durable.clone());
        let writes = self.state.writes();
        let has_events = self.shared.watched.concerns(&write.puts);
        let (has_exports, has_undelivered) = (self.state.has_exports(), self.state.has_undelivered());
        let open = self.state.open_holds();
        let holds = (open != self.holds).then_some(open);
        self.holds = open;
        let (shared, me, org) = (self.shared.clone(), self.me.clone(), self.org.clone());
        self.shared.store.commit(
            write,
            self.tenure.epoch,
            Box::new(move |result| {
                // The first that is not durable says what is known of all behind it.
                let result = result.map_err(|error| durable.broken.get_or_init(|| error).clone());
                if result.is_err() {
                    shared.stale.note(&org, me, &shared);
                } else {
                    durable.commits.store(commits, Ordering::Release);
                    durable.admissions.store(admissions, Ordering::Release);
                    durable.writes.store(writes, Ordering::Release);
                    if has_events {
                        shared.watched.note(&org);
                    }
                    if has_exports {
                        shared.exports.note(&org);
                    }
                    if has_undelivered {
                        shared.undelivered.note(&org);
                    }
                    if let Some(open) = holds {
                        shared.holds.committed(&org, open);
                    }
                }
                done(result);
            }),
        );
    }

    /// Nothing changed, but an earlier commit is still on its way: an empty one behind it.
    fn barrier(&self) -> Option<OrgWrite> {
        let on_its_way = self.durable.commits.load(Ordering::Acquire) != self.handed_over;
        on_its_way.then(|| OrgWrite::empty(&self.org))
    }
}
