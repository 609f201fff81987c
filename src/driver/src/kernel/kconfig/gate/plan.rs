//! What to add to a fragment so that a symbol can have a value: a small search
//! through dependencies, for hints. It may find nothing; it never claims more than
//! that the terms it knows would hold.

use super::super::tree::{Comparison, Definition, Expr, Term, Values, is_constant};
use super::super::value::{ConfigValue, Symbol, Tristate};
use super::explain::{View, needed};

/// Symbols looked at for one hint. Bounds the time; hints that need more steps
/// than this finds are of no use to anybody.
const BUDGET: usize = 3000;

/// Symbols on the way from the one asked for.
const DEPTH: usize = 10;

/// Symbols that select the same one and are tried.
const SELECTORS: usize = 40;

/// What a hint would have people do, in order: dependencies first.
#[derive(Debug, Clone, Default)]
struct Plan {
    steps: Vec<(String, Tristate)>,
    /// Symbols on the way that the fragments ask for already.
    asked: Vec<String>,
}

impl Plan {
    fn get(&self, symbol: &str) -> Option<Tristate> {
        self.steps.iter().find(|(name, _)| name == symbol).map(|(_, value)| *value)
    }
}

/// The configuration as it would be under a plan.
struct Planned<'a> {
    view: View<'a>,
    plan: &'a Plan,
}

impl Values for Planned<'_> {
    fn tristate(&self, symbol: &str) -> Tristate {
        self.plan.get(symbol).unwrap_or_else(|| self.view.tristate(symbol))
    }

    fn text(&self, symbol: &str) -> String {
        self.plan.get(symbol).map_or_else(|| self.view.text(symbol), |value| value.to_string())
    }

    fn modules(&self) -> Tristate {
        self.tristate(self.view.tree.modules())
    }
}

/// What stops a search.
enum Obstacle {
    /// Only the build decides it.
    Build(String),
    /// The fragments ask for the opposite.
    Opposed(String),
}

struct Search<'a> {
    view: View<'a>,
    budget: usize,
    path: Vec<String>,
    obstacle: Option<Obstacle>,
}

impl View<'_> {
    /// A hint that says how a symbol that was asked for could be had.
    pub(super) fn remedy(&self, symbol: &Symbol, level: Tristate) -> Option<String> {
        let mut search = Search { view: *self, budget: BUDGET, path: Vec::new(), obstacle: None };
        if let Some(plan) = search.ways(symbol.name(), level, &Plan::default()) {
            let steps: Vec<_> = plan
                .steps
                .iter()
                .filter(|(name, _)| name != symbol.name())
                .filter_map(|(name, value)| Some((Symbol::new(name)?, value)))
                .map(|(symbol, value)| match value {
                    Tristate::No => format!("`{}`", ConfigValue::No.line(&symbol)),
                    value => format!("`{symbol}={value}`"),
                })
                .collect();
            if !steps.is_empty() {
                return Some(format!("add {}", steps.join(", ")));
            }
            let first = plan.asked.iter().find(|name| *name != symbol.name())?;
            let origin = &self.merged.get(first)?.origin;
            return Some(format!(
                "it needs `CONFIG_{first}`, which is asked for at {origin} and lost as well"
            ));
        }
        match search.obstacle? {
            Obstacle::Build(text) => Some(format!("`{text}` is for the compiler or another tool to tell")),
            Obstacle::Opposed(name) => {
                let want = self.merged.get(&name)?;
                let symbol = Symbol::new(&name)?;
                Some(format!("`{}` at {} is in the way", want.value.line(&symbol), want.origin))
            }
        }
    }
}

impl Search<'_> {
    /// Extends a plan so that a symbol gets at least `level`.
    fn reach(&mut self, name: &str, level: Tristate, plan: &Plan) -> Option<Plan> {
        if self.planned(plan).tristate(name) >= level {
            return Some(plan.clone());
        }
        if plan.get(name).is_some()
            || self.budget == 0
            || self.path.len() >= DEPTH
            || self.path.iter().any(|on_the_way| on_the_way == name)
        {
            return None;
        }
        self.budget -= 1;
        if let Some(asked) = self.view.merged.get(name).and_then(|want| want.value.tristate())
            && asked < level
        {
            self.obstacle.get_or_insert(Obstacle::Opposed(name.to_owned()));
            return None;
        }
        self.ways(name, level, plan)
    }

    /// Extends a plan so that a symbol can be set to `level`.
    fn ways(&mut self, name: &str, level: Tristate, plan: &Plan) -> Option<Plan> {
        self.path.push(name.to_owned());
        let found = self.by_prompt(name, level, plan).or_else(|| self.by_others(name, level, plan));
        self.path.pop();
        found
    }

    /// By asking for it, once its prompt is visible.
    fn by_prompt(&mut self, name: &str, level: Tristate, plan: &Plan) -> Option<Plan> {
        let view = self.view;
        let info = view.tree.symbol(name)?;
        let value = if level == Tristate::Yes { ConfigValue::Yes } else { ConfigValue::Module };
        let level = needed(info.kind, &value);
        let mut best: Option<Plan> = None;
        for definition in info.definitions.iter().filter(|definition| definition.prompt.is_some()) {
            if self.taken(name, definition, plan) {
                continue;
            }
            let conditions: Vec<_> = view.tree.conditions(definition).map(|(_, expr)| expr).collect();
            self.keep(&mut best, |search| search.all(&conditions, level, plan));
        }
        let mut plan = best?;
        if view.merged.get(name).is_none() {
            plan.steps.push((name.to_owned(), Tristate::Yes));
        } else {
            plan.asked.push(name.to_owned());
        }
        Some(plan)
    }

    /// Whether another member of the definition's choice is asked for or planned.
    fn taken(&mut self, name: &str, definition: &Definition, plan: &Plan) -> bool {
        let view = self.view;
        let Some(choice) = definition.choice else { return false };
        for member in view.tree.choice(choice).iter().filter(|member| *member != name) {
            if view.merged.get(member).is_some_and(|want| want.value == ConfigValue::Yes) {
                self.obstacle.get_or_insert(Obstacle::Opposed(member.clone()));
                return true;
            }
            if plan.get(member) == Some(Tristate::Yes) {
                return true;
            }
        }
        false
    }

    /// By what selects it or what its defaults follow.
    fn by_others(&mut self, name: &str, level: Tristate, plan: &Plan) -> Option<Plan> {
        let view = self.view;
        let info = view.tree.symbol(name)?;
        if info.definitions.iter().any(|definition| definition.prompt.is_some()) {
            return None;
        }
        let mut best = None;
        for definition in &info.definitions {
            for default in &definition.defaults {
                let mut conditions: Vec<_> = view.tree.conditions(definition).map(|(_, expr)| expr).collect();
                conditions.extend(default.condition.as_ref());
                conditions.push(&default.value);
                self.keep(&mut best, |search| search.all(&conditions, level, plan));
            }
        }
        for select in info.selected_by.iter().take(SELECTORS) {
            self.keep(&mut best, |search| {
                let plan = search.reach(&select.by, level, plan)?;
                match &select.condition {
                    Some(condition) => search.satisfy(condition, level, &plan),
                    None => Some(plan),
                }
            });
        }
        best
    }

    /// Keeps the shorter of two plans.
    fn keep(&mut self, best: &mut Option<Plan>, find: impl FnOnce(&mut Self) -> Option<Plan>) {
        if best.as_ref().is_some_and(|best| best.steps.is_empty()) {
            return;
        }
        if let Some(found) = find(self)
            && best.as_ref().is_none_or(|best| found.steps.len() < best.steps.len())
        {
            *best = Some(found);
        }
    }

    fn planned<'a>(&'a self, plan: &'a Plan) -> Planned<'a> {
        Planned { view: self.view, plan }
    }

    fn all(&mut self, conditions: &[&Expr], level: Tristate, plan: &Plan) -> Option<Plan> {
        conditions.iter().try_fold(plan.clone(), |plan, condition| self.satisfy(condition, level, &plan))
    }

    /// Extends a plan so that an expression comes to at least `level`.
    fn satisfy(&mut self, expr: &Expr, level: Tristate, plan: &Plan) -> Option<Plan> {
        if expr.evaluate(&self.planned(plan)).low >= level {
            return Some(plan.clone());
        }
        match expr {
            Expr::And(terms) => self.all(&terms.iter().collect::<Vec<_>>(), level, plan),
            Expr::Or(terms) => {
                let mut best = None;
                for term in terms {
                    self.keep(&mut best, |search| search.satisfy(term, level, plan));
                }
                best
            }
            Expr::Not(inner) => self.refute(inner, plan),
            Expr::Term(Term::Symbol(name)) if name == "m" => {
                let modules = self.view.tree.modules();
                self.reach(modules, Tristate::Yes, plan)
            }
            Expr::Term(Term::Symbol(name)) if !is_constant(name) => self.reach(name, level, plan),
            Expr::Compare(Comparison::Equal, Term::Symbol(name), Term::Symbol(value) | Term::Text(value)) => {
                match value.as_str() {
                    "y" => self.reach(name, Tristate::Yes, plan),
                    "n" => self.forbid(name, plan),
                    _ => None,
                }
            }
            Expr::Compare(
                Comparison::Unequal,
                Term::Symbol(name),
                Term::Symbol(value) | Term::Text(value),
            ) if value == "n" => self.reach(name, Tristate::Module, plan),
            Expr::Term(Term::Macro(text)) => {
                self.obstacle.get_or_insert(Obstacle::Build(text.clone()));
                None
            }
            Expr::Compare(_, Term::Symbol(name), _) => {
                self.computed(name);
                None
            }
            Expr::Term(_) | Expr::Compare(..) => None,
        }
    }

    /// Remembers a symbol as an obstacle if it is a result of the build's own probing.
    fn computed(&mut self, name: &str) {
        let definitions = self.view.tree.symbol(name).map_or(&[][..], |info| &info.definitions);
        let defaults = definitions.iter().flat_map(|definition| &definition.defaults);
        if let Some(text) =
            defaults.filter_map(|default| default.value.terms().into_iter().find_map(Term::as_macro)).next()
        {
            self.obstacle.get_or_insert(Obstacle::Build(text.to_owned()));
        }
    }

    /// Extends a plan so that an expression comes to n.
    fn refute(&mut self, expr: &Expr, plan: &Plan) -> Option<Plan> {
        if expr.evaluate(&self.planned(plan)).high == Tristate::No {
            return Some(plan.clone());
        }
        match expr {
            Expr::And(terms) => {
                let mut best = None;
                for term in terms {
                    self.keep(&mut best, |search| search.refute(term, plan));
                }
                best
            }
            Expr::Or(terms) => terms.iter().try_fold(plan.clone(), |plan, term| self.refute(term, &plan)),
            Expr::Not(inner) => self.satisfy(inner, Tristate::Yes, plan),
            Expr::Term(Term::Symbol(name)) if !is_constant(name) => self.forbid(name, plan),
            Expr::Term(Term::Macro(text)) => {
                self.obstacle.get_or_insert(Obstacle::Build(text.clone()));
                None
            }
            Expr::Term(_) | Expr::Compare(..) => None,
        }
    }

    /// Extends a plan so that a symbol is off.
    fn forbid(&mut self, name: &str, plan: &Plan) -> Option<Plan> {
        if plan.get(name).is_some() {
            return None;
        }
        let info = self.view.tree.symbol(name)?;
        if self.view.merged.get(name).is_some() {
            self.obstacle.get_or_insert(Obstacle::Opposed(name.to_owned()));
            return None;
        }
        if info.definitions.iter().all(|definition| definition.prompt.is_none()) {
            return None;
        }
        let mut plan = plan.clone();
        plan.steps.push((name.to_owned(), Tristate::No));
        Some(plan)
    }
}
