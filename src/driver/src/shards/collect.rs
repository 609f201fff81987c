//! Which of the directories that were found are the shards of a plan. Decides, and does
//! no I/O.
//!
//! What belongs to another plan is the user's to mend, for nobody wants it merged. What
//! is damaged or hostile is set aside: its shard then counts as lost, so that one bad
//! archive turns its own tests red and hides nothing of the others. A shard that is there
//! twice is refused: to take the newer one would hide a failure behind a repetition, to
//! take both would count tests twice, and only the user knows which one is meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::intake::{Found, IntakeError, Origin};
use super::join::{self, Elsewhere, KernelsDiffer};
use super::plan::Plan;
use crate::chain;
use crate::model;
use crate::report::text_safety;
use crate::results::ResultsError;
use crate::results::format::Run;

/// Why nothing can be merged.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Nobody says what the shards are.
    #[error(
        "no directory knows the plan of its shards{}\n\
         hint: name the plan with `--plan FILE`",
        reasons(.0)
    )]
    NoPlan(Vec<String>),
    /// Runs of several plans, and none is named.
    #[error(
        "these are shards of different plans: `{}`\n\
         hint: name the one that is meant with `--plan FILE`, or directories of one plan",
        .0.join("`, `")
    )]
    Plans(Vec<String>),
    /// A directory that was named and has nothing to do with the plan.
    #[error(
        "`{path}` is no shard of the plan `{plan}`: {elsewhere}\n\
         hint: leave it out, or name its plan with `--plan FILE`"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Id of the plan.
        plan: String,
        /// What it is.
        elsewhere: Elsewhere,
    },
    /// Two directories of one shard.
    #[error(
        "shard {number} is there twice: `{one}` and `{other}`\n\
         hint: name only the one that is to count"
    )]
    Twice {
        /// The shard.
        number: u32,
        /// A directory of it.
        one: PathBuf,
        /// Another one.
        other: PathBuf,
    },
    /// A shard that is not over.
    #[error("shard {number} still goes on in `{path}`\nhint: merge when it has ended")]
    GoesOn {
        /// The shard.
        number: u32,
        /// Its directory.
        path: PathBuf,
    },
    /// Shards of different kernels.
    #[error(transparent)]
    Kernels(#[from] KernelsDiffer),
    /// Nobody can tell whether it is over.
    #[error(transparent)]
    Lock(#[from] ResultsError),
}

fn reasons(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("\n  {reason}")).collect()
}

/// The shards of one plan.
#[derive(Debug)]
pub struct Collected {
    /// The plan.
    pub plan: Plan,
    /// Records, by the number of their shard.
    pub runs: BTreeMap<u32, Run>,
    /// Where they were found.
    pub places: BTreeMap<u32, Found>,
    /// Why a shard is not among them, where it was found and set aside.
    pub absent: BTreeMap<u32, String>,
    /// Directories that were set aside, in sentences.
    pub notices: Vec<String>,
}

/// Sorts what was found. Without a plan it is the one that the directories have a copy of.
///
/// # Errors
///
/// Fails when it is not clear what the user wants merged.
pub fn collect(plan: Option<Plan>, found: Vec<Found>) -> Result<Collected, Refused> {
    let plan = match plan {
        Some(plan) => plan,
        None => common_plan(&found)?,
    };
    let mut runs = BTreeMap::new();
    let mut places: BTreeMap<u32, Found> = BTreeMap::new();
    let (mut absent, mut notices) = (BTreeMap::new(), Vec::new());
    for mut it in found {
        let run = match std::mem::replace(&mut it.run, Err(unread(&it.path))) {
            Ok(run) => run,
            // Of another plan, as far as one can tell.
            Err(_) if it.origin == Origin::Within && is_of_another(&it, &plan) => continue,
            Err(error) => {
                notices.push(set_aside(&it.path, &chain::text(&error)));
                continue;
            }
        };
        let number = match join::number(&plan, &run) {
            Ok(number) => number,
            Err(_) if it.origin == Origin::Within => continue,
            Err(elsewhere) => {
                return Err(Refused::Foreign { path: it.path, plan: plan.id().to_owned(), elsewhere });
            }
        };
        if std::mem::replace(&mut it.goes_on, Ok(false))? {
            return Err(Refused::GoesOn { number, path: it.path });
        }
        let Some(shard) = plan.shard(number) else {
            notices.push(set_aside(&it.path, &format!("the plan has no shard `{number}`")));
            continue;
        };
        if let Some(before) = places.get(&number) {
            return Err(Refused::Twice { number, one: before.path.clone(), other: it.path });
        }
        match join::check(&plan, shard, &run) {
            Ok(()) => {
                runs.insert(number, run);
            }
            Err(what) => {
                let why = format!("the record in `{}` {what}", it.path.display());
                notices.push(set_aside(&it.path, &why));
                absent.insert(number, first_line(&why));
            }
        }
        places.insert(number, it);
    }
    join::same_kernels(&runs)?;
    Ok(Collected { plan, runs, places, absent, notices })
}

/// Stands in the place of a record that was taken out.
fn unread(path: &Path) -> IntakeError {
    IntakeError::Odd { path: path.to_owned(), what: "read already" }
}

fn is_of_another(found: &Found, plan: &Plan) -> bool {
    matches!(&found.plan, Ok(Some(copy)) if copy.id() != plan.id())
}

fn set_aside(path: &Path, why: &str) -> String {
    first_line(&format!("`{}` is set aside: {why}", path.display()))
}

/// Without hints, which are for whoever made the directory.
fn first_line(text: &str) -> String {
    text_safety::verbatim(model::first_line(text))
}

fn common_plan(found: &[Found]) -> Result<Plan, Refused> {
    let mut plans: Vec<&Plan> = Vec::new();
    let mut why = Vec::new();
    for it in found {
        match &it.plan {
            Ok(Some(plan)) if !plans.iter().any(|known| known.id() == plan.id()) => plans.push(plan),
            Ok(Some(_)) => {}
            Ok(None) => why.push(format!("`{}` has no `{}`", it.path.display(), super::COPY_FILE)),
            Err(error) => why.push(first_line(&chain::text(error))),
        }
    }
    match plans.as_slice() {
        [plan] => Ok((*plan).clone()),
        [] => Err(Refused::NoPlan(why)),
        plans => Err(Refused::Plans(plans.iter().map(|plan| plan.id().to_owned()).collect())),
    }
}
