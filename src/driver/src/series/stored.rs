//! A series that was checked before, read back. A file that comes from elsewhere is
//! refused where it would mislead whoever shows it. Pure.

use serde::Deserialize;

use super::checked::{Checked, Found, Image, Performance, Since, VERSION};

/// Why a text is no series that can be shown.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// It is no JSON, or of another shape.
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Something else, or nothing that this version knows.
    #[error(
        "it is version {0} of the format, and this kregress reads version {VERSION}\nhint: take the kregress that wrote it, or a newer one"
    )]
    Version(u32),
    /// A place that its list of revisions does not have.
    #[error("it is damaged: {what} is of revision {at}, and there are {count}")]
    Nowhere {
        /// What speaks of it.
        what: &'static str,
        /// Which place.
        at: usize,
        /// How many revisions there are.
        count: usize,
    },
    /// A list in which something has to be.
    #[error("it is damaged: {0} names no revision")]
    Empty(&'static str),
}

#[derive(Deserialize)]
struct Stamp {
    version: u32,
}

/// Reads a series as `report::series::json` writes it.
///
/// # Errors
///
/// Fails for what was cut off or changed so that it cannot be shown.
pub fn parse(bytes: &[u8]) -> Result<Checked, StoredError> {
    let Stamp { version } = serde_json::from_slice(bytes)?;
    if version != VERSION {
        return Err(StoredError::Version(version));
    }
    let checked: Checked = serde_json::from_slice(bytes)?;
    let count = checked.revisions.len();
    let within = |what, at: usize, count: usize| match at < count {
        true => Ok(()),
        false => Err(StoredError::Nowhere { what, at, count }),
    };
    let some_within = |what, places: &[usize]| match places {
        [] => Err(StoredError::Empty(what)),
        places => places.iter().try_for_each(|at| within(what, *at, count)),
    };
    if count == 0 {
        return Err(StoredError::Empty("the series"));
    }
    for (own, revision) in checked.revisions.iter().enumerate() {
        if let Image::SameAs { revision } = revision.image {
            // Only what was booted before can stand for it.
            within("an image", revision, own)?;
        }
    }
    for defect in &checked.defects {
        if let Since::Patches { revisions, .. } = &defect.since {
            some_within("a defect", revisions)?;
        }
        defect.until.map_or(Ok(()), |until| within("the end of a defect", until, count))?;
    }
    if let Performance::Measured { changes, .. } = &checked.performance {
        for change in changes {
            within("a metric", change.head, count)?;
            if let Found::Patches { answers } = &change.found {
                if answers.is_empty() {
                    return Err(StoredError::Empty("a search"));
                }
                answers.iter().try_for_each(|answer| some_within("an answer", &answer.revisions))?;
            }
        }
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::report::look::Look;
    use crate::report::series::{self, testdata};

    fn bytes(checked: &Checked) -> Vec<u8> {
        let mut bytes = Vec::new();
        series::json(checked, &mut bytes).expect("to memory");
        bytes
    }

    /// Every report, so that one that cannot bear it is found.
    fn shown(checked: &Checked) -> usize {
        let (mut human, mut junit) = (Vec::new(), Vec::new());
        series::human(checked, Look::PLAIN, &mut human).expect("to memory");
        series::junit(checked, &mut junit).expect("to memory");
        let texts = [
            series::html(checked),
            series::markdown(checked),
            series::text(checked),
            series::annotations(checked),
        ];
        texts.iter().map(String::len).sum::<usize>() + human.len() + junit.len()
    }

    fn changed(change: impl FnOnce(&mut Value)) -> String {
        let mut value: Value = serde_json::from_slice(&bytes(&testdata::six())).expect("JSON");
        change(&mut value);
        parse(value.to_string().as_bytes()).expect_err("refused").to_string()
    }

    #[test]
    fn what_was_written_is_read_back_as_it_was() {
        for checked in [testdata::good(), testdata::six(), testdata::murky(), testdata::refused()] {
            assert_eq!(parse(&bytes(&checked)).expect("a series"), checked);
        }
    }

    #[test]
    fn a_place_that_is_not_there_is_refused() {
        let same = json!({"image": "same-as", "revision": 3});
        insta::assert_snapshot!(changed(|it| it["revisions"][1]["image"] = same), @"it is damaged: an image is of revision 3, and there are 1");
        insta::assert_snapshot!(changed(|it| it["revisions"] = json!([])), @"it is damaged: the series names no revision");
        insta::assert_snapshot!(changed(|it| it["defects"][0]["until"] = json!(99)), @"it is damaged: the end of a defect is of revision 99, and there are 7");
        let nobody = json!({"since": "patches", "revisions": [], "probability": 1.0});
        insta::assert_snapshot!(changed(|it| it["defects"][0]["since"] = nobody), @"it is damaged: a defect names no revision");
    }

    #[test]
    fn another_version_is_told_from_damage() {
        insta::assert_snapshot!(changed(|it| it["version"] = json!(2)), @r"
        it is version 2 of the format, and this kregress reads version 1
        hint: take the kregress that wrote it, or a newer one
        ");
        assert!(
            parse(b"{\"version\": 1").expect_err("cut off").to_string().starts_with("it is damaged: EOF")
        );
    }

    /// Puts another value in place of one, or takes one away.
    fn disturb(value: &mut Value, steps: &[prop::sample::Index], by: &Value) {
        let Some((step, rest)) = steps.split_first() else {
            *value = by.clone();
            return;
        };
        match value {
            Value::Array(items) if !items.is_empty() => {
                let at = step.index(items.len());
                disturb(&mut items[at], rest, by);
            }
            Value::Object(entries) if !entries.is_empty() => {
                let name = entries.keys().nth(step.index(entries.len())).cloned().unwrap_or_default();
                if let Some(entry) = entries.get_mut(&name) {
                    disturb(entry, rest, by);
                }
            }
            other => *other = by.clone(),
        }
    }

    proptest! {
        #[test]
        fn whatever_is_changed_in_the_file_is_refused_or_can_be_shown(
            steps in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
            which in 0..4_usize,
            by in prop_oneof![
                // Places that may be there, and the largest that fit.
                (0..9_u64).prop_map(Value::from),
                Just(Value::from(u32::MAX)),
                any::<u64>().prop_map(Value::from),
                any::<i64>().prop_map(Value::from),
                any::<f64>().prop_map(Value::from),
                ".{0,12}".prop_map(Value::from),
                Just(json!([])),
                Just(json!({})),
                Just(Value::Null),
            ],
        ) {
            let all = [testdata::six, testdata::murky, testdata::refused, testdata::repaired];
            let mut value: Value = serde_json::from_slice(&bytes(&all[which]())).expect("JSON");
            disturb(&mut value, &steps, &by);
            if let Ok(checked) = parse(value.to_string().as_bytes()) {
                prop_assert!(shown(&checked) > 0);
            }
        }
    }
}
