//! All metrics of a comparison on their way through the looks: who has a
//! verdict, who needs more boots.
//!
//! A verdict that has fallen stays. Holm's correction runs over the noisy
//! metrics of one weight; one that was found to have changed at an earlier look
//! leaves its share of the error probability to the others, one that was found
//! unchanged does not. So the probability that any metric of the weight is
//! wrongly said to have changed is at most the sum of the thresholds.

use super::comparison::{Change, Rule, Weight};
use super::exact::{is_exact, judge_exact};
use super::gate::{Gate, Reading};
use super::stats::holm;
use super::subject::{Judgement, Subject};

/// The metrics of a comparison.
#[derive(Debug, Clone)]
pub struct Family {
    gate: Gate,
    members: Vec<Member>,
}

#[derive(Debug, Clone, Default)]
struct Member {
    /// The last judgement.
    judgement: Option<Judgement>,
    /// Position of the last look that it was judged at.
    looked: Option<usize>,
}

impl Member {
    fn is_settled(&self) -> bool {
        self.judgement.as_ref().is_some_and(|judgement| !matches!(judgement.change, Change::Inconclusive(_)))
    }

    /// A change that was found and tested for.
    fn has_changed(&self) -> bool {
        self.judgement.as_ref().is_some_and(|judgement| {
            judgement.rule == Rule::Noisy && matches!(judgement.change, Change::Regressed | Change::Improved)
        })
    }
}

impl Family {
    /// A family that no boot was seen of.
    #[must_use]
    pub fn new(gate: Gate) -> Self {
        Self { gate, members: Vec::new() }
    }

    /// How it is judged.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Judges all metrics by the boots there are: all of them, not only the new
    /// ones, and the same metrics in the same order every time. The result is
    /// in that order.
    ///
    /// A metric has one chance at each look: asked again before it has boots for
    /// the next, it gets new numbers and no verdict.
    pub fn look(&mut self, subjects: &[Subject<'_>]) -> Vec<Judgement> {
        self.members.resize_with(subjects.len(), Member::default);
        let mut judged: Vec<Option<Judgement>> = self
            .members
            .iter()
            .map(|member| member.is_settled().then(|| member.judgement.clone()).flatten())
            .collect();
        let mut readings: Vec<(usize, Reading)> = Vec::new();
        for (index, subject) in subjects.iter().enumerate() {
            if judged[index].is_some() {
                continue;
            }
            if is_exact(subject) {
                judged[index] = Some(judge_exact(subject, &self.gate));
                continue;
            }
            match Reading::of(subject, &self.gate) {
                Ok(reading) => readings.push((index, reading)),
                Err(why) => {
                    let floor = self.gate.floor;
                    judged[index] = Some(Judgement::unknown(Rule::Noisy, why, floor, subject.noise));
                }
            }
        }
        for weight in [Weight::Gates, Weight::Informs] {
            self.judge_weight(weight, subjects, &readings, &mut judged);
        }
        let judgements: Vec<Judgement> = judged.into_iter().flatten().collect();
        for ((member, judgement), subject) in self.members.iter_mut().zip(&judgements).zip(subjects) {
            if !member.is_settled() {
                member.looked = member.looked.max(self.gate.look(subject.boots()));
            }
            member.judgement = Some(judgement.clone());
        }
        judgements
    }

    fn judge_weight(
        &self,
        weight: Weight,
        subjects: &[Subject<'_>],
        readings: &[(usize, Reading)],
        judged: &mut [Option<Judgement>],
    ) {
        let readings: Vec<_> = readings.iter().filter(|(_, reading)| reading.weight() == weight).collect();
        // Those without a reading now: found unchanged before, they keep their
        // share; found changed, they have handed it on.
        let unchanged = self
            .members
            .iter()
            .zip(subjects)
            .filter(|(member, subject)| {
                let noisy = member.judgement.as_ref().is_some_and(|judgement| judgement.rule == Rule::Noisy);
                subject.weight == weight && noisy && member.is_settled() && !member.has_changed()
            })
            .count();
        let looks: Vec<Option<usize>> = readings
            .iter()
            .map(|(index, _)| {
                let look = self.gate.look(subjects[*index].boots());
                look.filter(|_| look > self.members[*index].looked)
            })
            .collect();
        let family = readings.len() + unchanged;
        let mut p: Vec<f64> = readings.iter().map(|(_, reading)| reading.careful_p(&self.gate)).collect();
        p.resize(family, 1.0);
        let corrected = holm(&p);
        for (((index, reading), look), p_holm) in readings.iter().zip(looks).zip(corrected) {
            judged[*index] = Some(reading.judge(p_holm, family, look, &self.gate));
        }
    }

    /// Whether a metric has no verdict that more boots could give it. True before
    /// the first look.
    #[must_use]
    pub fn is_open(&self, metric: usize) -> bool {
        self.members.get(metric).and_then(|member| member.judgement.as_ref()).is_none_or(Judgement::is_open)
    }

    /// Boots a side that the next look needs, after this many were had of each;
    /// none where every metric has its verdict or the last look was.
    #[must_use]
    pub fn next_look(&self, boots: u32) -> Option<u32> {
        let open = self.members.is_empty() || (0..self.members.len()).any(|metric| self.is_open(metric));
        self.gate.next_look(boots).filter(|_| open).map(|look| look.boots)
    }

    /// Noisy metrics that gate: those that share the error probability.
    #[must_use]
    pub fn gating(&self, subjects: &[Subject<'_>]) -> u32 {
        let gating = self.members.iter().zip(subjects).filter(|(member, subject)| {
            subject.weight == Weight::Gates
                && member.judgement.as_ref().is_some_and(|judgement| judgement.p.is_some())
        });
        u32::try_from(gating.count()).unwrap_or(u32::MAX)
    }
}

/// Judges metrics once, by the boots there are.
#[must_use]
pub fn judge(subjects: &[Subject<'_>], gate: Gate) -> Vec<Judgement> {
    Family::new(gate).look(subjects)
}
