//! A namespace that gives numbers to others, and hears what becomes of them.

use super::ledger::{Fate, Ledger, Line};
use super::marked::{Marked, leads_to};
use crate::context::{Context, Stop};
use crate::netlink::{Listener, Notice, Reach, Route, nsid};
use crate::netns::Home;

/// A namespace, with someone who listens in it.
#[derive(Debug)]
pub(super) struct Observer {
    /// For messages.
    pub(super) name: String,
    pub(super) place: Marked,
    pub(super) route: Route,
    pub(super) listener: Listener,
    /// What the listener has to hear next.
    pub(super) ledger: Ledger,
}

impl Observer {
    /// Makes a namespace, and goes back.
    pub(super) fn create(home: &Home, name: String, reach: Reach) -> Result<Self, Stop> {
        Self::create_hearing(home, name, &[nsid::GROUP], reach)
    }

    /// As [`Self::create`], and hears of other things too.
    pub(super) fn create_hearing(
        home: &Home,
        name: String,
        groups: &[u32],
        reach: Reach,
    ) -> Result<Self, Stop> {
        let place = Marked::create(0)?;
        let listener = Listener::join_reaching(groups, reach)?;
        let route = Route::here()?;
        home.back()?;
        Ok(Self { name, place, route, listener, ledger: Ledger::default() })
    }

    /// Gives a number, of the kernel's choice without one; which it is.
    pub(super) fn assign(&mut self, ctx: &Context<'_>, peer: &Marked, id: Option<i32>) -> Result<i32, Stop> {
        let asked = id.unwrap_or(nsid::NOT_ASSIGNED);
        nsid::assign(&mut self.route, peer.peer(), asked)
            .map_err(|error| error.stop(&format!("RTM_NEWNSID with number {asked} in {}", self.name)))?;
        let given = self.number_of(peer)?;
        let Some(given) = given else {
            return Err(Stop::Fail(format!("a namespace got no number in {} by RTM_NEWNSID", self.name)));
        };
        ctx.check(id.is_none_or(|id| id == given), || {
            format!("{} asked for number {asked} and got {given}", self.name)
        })?;
        self.ledger.expect(Line { from: None, id: given }, Fate::Given);
        Ok(given)
    }

    /// The number that it has for another.
    pub(super) fn number_of(&mut self, peer: &Marked) -> Result<Option<i32>, Stop> {
        nsid::number(&mut self.route, peer.peer())
            .map_err(|error| error.stop(&format!("RTM_GETNSID in {}", self.name)))
    }

    /// A number leads to that namespace, or nowhere.
    pub(super) fn expect_leads_to(
        &mut self,
        ctx: &Context<'_>,
        id: i32,
        whose: Option<&Marked>,
    ) -> Result<(), Stop> {
        let found = leads_to(&mut self.route, id)
            .map_err(|error| error.stop(&format!("RTM_GETLINK of number {id} in {}", self.name)))?;
        let expected = whose.map(Marked::mark);
        let word =
            |mark: Option<u32>| mark.map_or("nowhere".into(), |mark| format!("to the one marked {mark}"));
        ctx.check(found == expected, || {
            let (expected, found) = (word(expected), word(found));
            format!("number {id} in {} has to lead {expected} and leads {found}", self.name)
        })
    }

    /// Nobody has this number: it cannot be asked about, and leads nowhere.
    pub(super) fn expect_free(&mut self, ctx: &Context<'_>, id: i32) -> Result<(), Stop> {
        let answer = nsid::number(&mut self.route, nsid::Peer::Id(id));
        match answer {
            Err(error) if error.errno() == Some(rustix::io::Errno::NOENT) => ctx.checked(1),
            Ok(answer) => {
                return Err(Stop::Fail(format!(
                    "number {id} in {} outlives its namespace: RTM_GETNSID answers {answer:?}",
                    self.name
                )));
            }
            Err(error) => {
                return Err(error.stop(&format!("RTM_GETNSID with the number {id} of a dead namespace")));
            }
        }
        self.expect_leads_to(ctx, id, None)
    }

    /// What a dump lists is exactly this, in any order.
    pub(super) fn expect_listed(&mut self, ctx: &Context<'_>, mut ids: Vec<i32>) -> Result<(), Stop> {
        let listed = nsid::all(&mut self.route);
        let mut listed =
            listed.map_err(|error| error.stop(&format!("dump of RTM_GETNSID in {}", self.name)))?;
        listed.sort_unstable();
        ids.sort_unstable();
        ctx.check(listed == ids, || format!("a dump in {}: {}", self.name, difference(&listed, &ids)))
    }

    /// Compares what was heard since the last time; how much there had to be.
    pub(super) fn settle(&mut self, ctx: &Context<'_>, when: &str) -> Result<usize, Stop> {
        let heard = self.take()?;
        self.settle_with(ctx, &heard, when)
    }

    /// All that was heard since the last time.
    pub(super) fn take(&mut self) -> Result<Vec<Notice>, Stop> {
        self.listener.take().map_err(|error| error.stop(&format!("notifications in {}", self.name)))
    }

    /// As [`Self::settle`], with notices that were taken before.
    pub(super) fn settle_with(
        &mut self,
        ctx: &Context<'_>,
        heard: &[Notice],
        when: &str,
    ) -> Result<usize, Stop> {
        let expected = self.ledger.count();
        match self.ledger.settle(heard) {
            Ok(()) => {
                ctx.checked(u64::try_from(expected).unwrap_or(0) + 1);
                Ok(expected)
            }
            Err(wrong) => Err(Stop::Fail(format!("{} heard something else {when}: {wrong}", self.name))),
        }
    }
}

/// What a sorted list has too much and too little.
fn difference(listed: &[i32], expected: &[i32]) -> String {
    let first = |from: &[i32], other: &[i32]| {
        from.iter().find(|id| !other.contains(id)).map_or("none".into(), i32::to_string)
    };
    format!(
        "{} numbers are listed, there are {}; the first one missing: {}, the first one too many: {}",
        listed.len(),
        expected.len(),
        first(expected, listed),
        first(listed, expected)
    )
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_list_that_is_cut_off_is_told_by_where_it_ends() {
        assert_eq!(
            difference(&[0, 1], &[0, 1, 2, 3]),
            "2 numbers are listed, there are 4; the first one missing: 2, the first one too many: none"
        );
    }

    #[test]
    fn a_number_that_is_listed_twice_shows_in_the_counts() {
        let text = difference(&[5, 5], &[5]);
        assert!(text.starts_with("2 numbers are listed, there are 1; "), "{text}");
    }
}
