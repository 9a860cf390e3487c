//! What is kept of denials, and what they say: one decision explained, and why an org is blocked.

use std::collections::BTreeMap;

use smallvec::smallvec;

use super::{Context, OrgState};
use crate::{
    bounds::{DENIAL_SPELL_MS, DENIALS_EVALUATED, DENIALS_LATELY_MS, DENIALS_OVER},
    domain::{
        command::{Acquire, AskWhy, Explain, Known, NoteDenials},
        decision::Decision,
        denials::{Asked, Block, DenialFilter, DenialPage, DenialRow, Explained, Operation, Why},
        events::Happening,
        gate::Gate,
        ids::{Meter, Plane, Scope},
        trace::TraceId,
    },
};

/// What two calls have in common that the same thing denies: gate, limit, and whose limit it is.
type Obstacle = (Gate, String, Scope);

fn obstacle(row: &DenialRow) -> Option<Obstacle> {
    let (gate, _) = row.denied_by()?;
    let limit = row.limit();
    let name = limit.map(|limit| limit.texts.name.clone()).unwrap_or_default();
    Some((gate, name, limit.map(|limit| limit.scope.clone()).unwrap_or_else(Scope::org)))
}

impl OrgState {
    /// Keeps a decision that denied, or that let a call through without an evaluated gate.
    pub(super) fn keep_denial(
        &mut self,
        asked: Asked,
        decision: &Decision,
        slice: u64,
        trace: Option<TraceId>,
        ctx: &Context<'_>,
    ) {
        let row = DenialRow::of(asked, decision, slice, trace, &self.clocks, &self.node);
        self.keep_denial_row(row, ctx);
    }

    fn keep_denial_row(&mut self, row: DenialRow, ctx: &Context<'_>) {
        self.denials.day_begins(self.now, self.admitted_total);
        match row.denied_by() {
            Some((gate, _)) if !row.shadow => self.denials.count(gate, true, row.count),
            Some(_) => {}
            None => {
                for (gate, _) in row.all_unevaluated() {
                    self.denials.count(gate, false, row.count);
                }
            }
        }
        self.denials.note(row, ctx.bounds.denials_per_org as usize);
        self.changed = true;
    }

    /// Keeps what was decided where the org could not be asked.
    pub(in crate::domain) fn note_denials(&mut self, noted: &NoteDenials, ctx: &Context<'_>) {
        let NoteDenials { rows, unstored } = noted;
        for row in rows {
            self.keep_denial_row(row.clone(), ctx);
        }
        // Those that were let through were charged nowhere.
        let let_through = rows.iter().filter(|row| row.denied_by().is_none());
        let calls = let_through.clone().map(|row| row.count).fold(*unstored, u64::saturating_add);
        if calls > 0 {
            let since = let_through.map(|row| row.first_at).min().unwrap_or(self.now);
            self.announce(Happening::OverAdmitted { calls, since });
        }
    }

    pub(in crate::domain) fn list_denials(&self, filter: &DenialFilter) -> DenialPage {
        self.denials.page(filter, self.admitted_total)
    }

    pub(in crate::domain) fn explain(&self, asked: &Explain) -> Option<Box<Explained>> {
        let (row, certain) = match asked {
            Explain::Decision(id) => self.denials.of_decision(*id)?,
            Explain::Last(scope) => (self.denials.last(scope)?, true),
            Explain::At(at, scope) => (self.denials.of_time(*at, scope)?, false),
        };
        let certain = certain || row.count == 1;
        Some(Box::new(Explained { row: row.clone(), certain }))
    }

    /// Judges again what was denied lately, as it was asked; of another time it says what was denied then.
    pub(in crate::domain) fn why(&mut self, ask: &AskWhy, ctx: &Context<'_>) -> Box<Why> {
        let at = ask.at.unwrap_or(0);
        let was = |row: &DenialRow| row.first_at <= at && at < row.last_at.saturating_add(DENIAL_SPELL_MS);
        let held = |row: &&DenialRow| row.concerns(&ask.scope) && (ask.at.is_none() || was(row));
        let kept: Vec<DenialRow> = self.denials.newest().filter(held).cloned().collect();
        let mut blocks = Blocks::default();
        let (mut over, mut let_through, mut evaluated) = (Vec::new(), Vec::new(), 0);
        for row in kept.into_iter().filter(|row| !row.shadow) {
            if row.denied_by().is_none() {
                let_through.push(row);
                continue;
            }
            // What is not judged again is taken for what it was.
            let now = match ask.at {
                None if evaluated < DENIALS_EVALUATED && !row.mixed => {
                    evaluated += 1;
                    self.judged_again(&row.asked, ask.known, ctx)
                }
                _ => Some(row.clone()),
            };
            match now {
                Some(now) if now.denied_by().is_some() => blocks.add(now, &row),
                _ => over.push(row),
            }
        }
        if ask.at.is_none() {
            let plain = Acquire::of(ask.scope.clone().into(), smallvec![(Meter::executions(), 1)]);
            let plain = self.judged_again(&Asked::of(&plain), ask.known, ctx);
            plain.into_iter().filter(|now| now.denied_by().is_some()).for_each(|now| blocks.also(now));
        }
        over.truncate(DENIALS_OVER);
        let_through.truncate(DENIALS_OVER);
        Box::new(Why {
            name: self.name(ctx.org),
            is_known: self.is_known(),
            plan: ctx.policy.plan.clone(),
            blocks: blocks.in_order(),
            over,
            let_through,
            days: self.denials.days_until_now(self.admitted_total),
            at: self.now,
        })
    }

    /// What a call that asks for the same would be answered now; `None` = its pool is gone.
    fn judged_again(&mut self, asked: &Asked, known: Known, ctx: &Context<'_>) -> Option<DenialRow> {
        let exhausted = match &asked.pool {
            Some(pool) => self.choose(pool, ctx).ok()?.err(),
            None => None,
        };
        let decision = match (asked.operation, exhausted) {
            (Operation::Pick, None) => return None,
            (Operation::Pick, Some(denial)) => Decision::allowed(None).denied_by(Gate::Accounts, denial, false),
            (_, exhausted) => self.peek_of_pool(asked.again(), exhausted.as_ref(), known, ctx),
        };
        // A session takes what is left, and is denied where that is not even one.
        Some(DenialRow::of(asked.clone(), &decision, 1, None, &self.clocks, &self.node))
    }
}

/// What blocks, by what denies.
#[derive(Debug, Default)]
struct Blocks(BTreeMap<Obstacle, Block>);

impl Blocks {
    /// Counts a denial that would be one again, for what denies it now.
    fn add(&mut self, now: DenialRow, row: &DenialRow) {
        let Some(obstacle) = obstacle(&now) else { return };
        let (since, last_at) = (row.first_at, row.last_at);
        let block = self.0.entry(obstacle).or_insert_with(|| Block {
            now,
            count: 0,
            since,
            last_at,
            planes: Vec::new(),
            scopes: Vec::new(),
        });
        block.count = block.count.saturating_add(row.count);
        block.last_at = block.last_at.max(last_at);
        // Newest first: a spell that began long after this one had ended is another one.
        if last_at.saturating_add(DENIALS_LATELY_MS) >= block.since {
            block.since = block.since.min(since);
        }
        let plane = &row.asked.plane;
        match block.planes.iter_mut().find(|(known, _)| known == plane) {
            Some((_, count)) => *count = count.saturating_add(row.count),
            None => block.planes.push((plane.clone(), row.count)),
        }
        if !block.scopes.contains(&row.asked.scopes) {
            block.scopes.push(row.asked.scopes.clone());
        }
    }

    /// A call that nobody has asked for yet.
    fn also(&mut self, now: DenialRow) {
        let Some(obstacle) = obstacle(&now) else { return };
        let (since, last_at) = (now.last_at, now.last_at);
        let (planes, scopes): (Vec<(Plane, u64)>, _) = (Vec::new(), Vec::new());
        self.0.entry(obstacle).or_insert(Block { now, count: 0, since, last_at, planes, scopes });
    }

    /// What denied last comes first.
    fn in_order(self) -> Vec<Block> {
        let mut blocks: Vec<Block> = self.0.into_values().collect();
        blocks.iter_mut().for_each(|block| block.planes.sort_by_key(|(_, count)| std::cmp::Reverse(*count)));
        blocks.sort_by_key(|block| std::cmp::Reverse((block.count > 0, block.last_at)));
        blocks
    }
}
