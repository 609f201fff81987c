//! `kregress report`: shows a run that was made before, one that goes on, or a series.
//! Also the forms in which a comparison is shown, whoever made it.

use std::io::{self, Write};
use std::path::Path;

use super::{Context, MessageFormat, series, usage};
use crate::analysis::compare;
use crate::report::compared::Compared;
use crate::report::look::Look;
use crate::report::{annotations, comparison_human, html, human, json, junit, ktap, markdown, text};
use crate::results::format::Run;
use crate::results::{self, ResultsError};

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// The table that also stands at the end of a run.
    Human,
    /// One self-contained page.
    Html,
    /// For a pull request, or the summary of a job.
    Markdown,
    /// Workflow commands that annotate.
    Annotations,
    /// 72 columns, for a commit message or a cover letter.
    Text,
    /// KTAP version 1.
    Ktap,
    /// JUnit XML.
    Junit,
    /// The record as `run.json` has it, with an error for every verdict that
    /// never came.
    Json,
}

/// Writes a report of what was made before: of a run, by its name, the beginning of its
/// name or a path, by default the latest; or of a series. Nothing on disk is changed.
/// The command has done its work when the report is written, whatever it says.
///
/// # Errors
///
/// Fails when there is no such run, its record cannot be read, or the report cannot be
/// written. A reader who has seen enough and closed the pipe is no error.
pub fn run(results_dir: &Path, which: Option<&str>, form: Form<'_>) -> anyhow::Result<()> {
    let Some(which) = which else {
        return show_run(&results::load(&results::find(results_dir, None)?)?, form);
    };
    let series = series::stored::find(results_dir, which);
    match (results::find(results_dir, Some(which)), series.as_slice()) {
        (Ok(run), []) => show_run(&results::load(&run)?, form),
        (Err(error), []) => Err(error.into()),
        (
            Err(ResultsError::NoSuchRun { .. } | ResultsError::NoRecord { .. } | ResultsError::Read { .. }),
            [only],
        ) => series::stored::show(only, form),
        (found, series) => {
            let mut runs = match found {
                Ok(run) => vec![run.file_name().unwrap_or_default().to_string_lossy().into_owned()],
                Err(ResultsError::Ambiguous { runs, .. }) => runs,
                Err(_) => Vec::new(),
            };
            runs.extend(series.iter().map(|record| series::stored::name(record)));
            Err(ResultsError::Ambiguous { which: which.to_owned(), runs }.into())
        }
    }
}

pub(super) fn write(bytes: &[u8], out: &mut dyn Write) -> anyhow::Result<()> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!("cannot write the report: {error}"))
        }
        _ => Ok(()),
    }
}

pub(super) fn write_file(bytes: &[u8], path: &Path) -> anyhow::Result<()> {
    std::fs::write(path, bytes)
        .map_err(|error| anyhow::anyhow!("cannot write the report to `{}`: {error}", path.display()))
}

/// Form and place of a report.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a> {
    /// In which form.
    pub format: ReportFormat,
    /// The file, or standard output.
    pub output: Option<&'a Path>,
}

impl Form<'_> {
    /// Fails where standard output would have to carry events and a report.
    pub(super) fn check_beside_events(self, context: &Context) -> anyhow::Result<()> {
        let to_people = self.format == ReportFormat::Human || self.output.is_some();
        if to_people || context.messages != MessageFormat::Json {
            return Ok(());
        }
        Err(usage(anyhow::anyhow!(
            "standard output cannot carry events and a report\nhint: write the report to a file: --output FILE"
        )))
    }

    /// Writes a report to its place, in the look of that.
    pub(super) fn put(self, report: impl FnOnce(Look) -> anyhow::Result<Vec<u8>>) -> anyhow::Result<()> {
        match self.output {
            Some(path) => write_file(&report(Look::PLAIN)?, path),
            None => write(&report(Look::of_stdout())?, &mut io::stdout().lock()),
        }
    }
}

/// Shows a comparison that was just made.
///
/// # Errors
///
/// Fails where the report cannot be written, and where JUnit is asked for of two
/// runs, each of which has its own.
pub fn show(compared: &Compared<'_>, form: Form<'_>) -> anyhow::Result<()> {
    form.put(|look| {
        let mut bytes = Vec::new();
        of_comparison(compared, form.format, look, &mut bytes)?;
        Ok(bytes)
    })
}

fn of_comparison(
    compared: &Compared<'_>,
    format: ReportFormat,
    look: Look,
    bytes: &mut Vec<u8>,
) -> anyhow::Result<()> {
    let both = match compared.runs {
        [run] => Some(*run),
        _ => None,
    };
    match (format, both) {
        (ReportFormat::Human, both) => comparison_human::write(compared.comparison, both, look, bytes)?,
        (ReportFormat::Html, _) => *bytes = html::of_comparison(compared).into_bytes(),
        (ReportFormat::Annotations, _) => *bytes = annotations::of_comparison(compared).into_bytes(),
        (ReportFormat::Markdown, _) => *bytes = markdown::of_comparison(compared).into_bytes(),
        (ReportFormat::Text, _) => *bytes = text::of_comparison(compared).into_bytes(),
        (ReportFormat::Ktap, _) => *bytes = ktap::of_comparison(compared).into_bytes(),
        (ReportFormat::Json, _) => json::write_comparison(compared, bytes)?,
        (ReportFormat::Junit, Some(run)) => junit::write(run, bytes)?,
        (ReportFormat::Junit, None) => {
            return Err(usage(anyhow::anyhow!(
                "JUnit is of one run, and these are two\n\
                 hint: `kregress report RUN --format junit` writes that of each; `ktap` is there for both"
            )));
        }
    }
    Ok(())
}

/// Shows a run that was just made.
///
/// # Errors
///
/// Fails where the report cannot be written.
pub fn show_run(run: &Run, form: Form<'_>) -> anyhow::Result<()> {
    form.put(|look| of_run(run, form.format, look))
}

fn of_run(run: &Run, format: ReportFormat, look: Look) -> anyhow::Result<Vec<u8>> {
    // Made first and written in one go, so that a report is whole or not there.
    let mut bytes = Vec::new();
    match compare::of_run(run) {
        Some(comparison) => {
            let compared = Compared { comparison: &comparison, overall: comparison.overall(), runs: &[run] };
            of_comparison(&compared, format, look, &mut bytes)?;
        }
        None => match format {
            ReportFormat::Human => human::write(run, look, &mut bytes)?,
            ReportFormat::Html => bytes = html::of_run(run).into_bytes(),
            ReportFormat::Annotations => bytes = annotations::of_run(run).into_bytes(),
            ReportFormat::Markdown => bytes = markdown::of_run(run).into_bytes(),
            ReportFormat::Text => bytes = text::of_run(run).into_bytes(),
            ReportFormat::Ktap => bytes = ktap::of_run(run).into_bytes(),
            ReportFormat::Junit => junit::write(run, &mut bytes)?,
            ReportFormat::Json => json::write(run, &mut bytes)?,
        },
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::series::testdata;
    use crate::results::{Recorder, RunDir, testing};

    /// A results directory with a run that passed and, later, one that was killed.
    fn results() -> tempfile::TempDir {
        let results = tempfile::tempdir().expect("results");
        let events = testing::whole_run(&["stable"], &["smoke/a"], 1);
        for count in [events.len(), 4] {
            let dir = RunDir::create(results.path()).expect("create");
            let mut recorder = Recorder::new(dir).expect("open");
            for event in &events[..count] {
                recorder.record(event).expect("record");
            }
        }
        results
    }

    fn report(results: &Path, which: Option<&str>, format: ReportFormat) -> String {
        let file = tempfile::NamedTempFile::new().expect("a file");
        run(results, which, Form { format, output: Some(file.path()) }).expect("report");
        std::fs::read_to_string(file.path()).expect("utf-8")
    }

    fn names(results: &Path) -> Vec<String> {
        let entries =
            std::fs::read_dir(results).expect("list").map(|entry| entry.expect("entry").file_name());
        let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }

    #[test]
    fn every_format_shows_a_run_by_its_name() {
        let results = results();
        let all = names(results.path()).into_iter().map(|name| {
            let human = report(results.path(), Some(&name), ReportFormat::Human);
            assert!(human.contains(&name), "{human}");
            let junit = report(results.path(), Some(&name), ReportFormat::Junit);
            assert!(junit.starts_with("<?xml") && junit.ends_with("</testsuites>\n"), "{junit}");
            let json = report(results.path(), Some(&name), ReportFormat::Json);
            let json: serde_json::Value = serde_json::from_str(&json).expect("json");
            json["state"].as_str().expect("state").to_owned()
        });
        let mut states: Vec<String> = all.collect();
        states.sort_unstable();
        assert_eq!(states, ["finished", "unfinished"]);
    }

    #[test]
    fn every_format_names_the_run_that_it_is_of_or_its_command() {
        let results = results();
        let name = &names(results.path())[0];
        for (format, start) in [
            (ReportFormat::Html, "<!DOCTYPE html>"),
            (ReportFormat::Markdown, "## "),
            (ReportFormat::Text, "kregress: "),
            (ReportFormat::Ktap, "KTAP version 1\n"),
        ] {
            let text = report(results.path(), Some(name), format);
            assert!(text.starts_with(start) && text.contains("smoke"), "{format:?}: {text}");
        }
    }

    #[test]
    fn a_report_goes_into_a_file_and_a_file_that_cannot_be_is_named() {
        let results = results();
        let form = |path| Form { format: ReportFormat::Html, output: Some(path) };
        let file = results.path().join("report.html");
        run(results.path(), None, form(&file)).expect("written");
        assert!(std::fs::read_to_string(&file).expect("a file").ends_with("</html>"));
        let nowhere = results.path().join("no/such/directory.html");
        let error = run(results.path(), None, form(&nowhere)).expect_err("no directory");
        assert!(error.to_string().contains("no/such/directory.html`: "), "{error}");
    }

    #[test]
    fn a_run_that_is_not_there_is_an_error_with_a_hint() {
        let results = results();
        let form = Form { format: ReportFormat::Human, output: None };
        let error = run(results.path(), Some("1999"), form).expect_err("no such run").to_string();
        assert!(error.starts_with("there is no run `1999`") && error.contains("\nhint: "), "{error}");
    }

    #[test]
    fn a_series_is_shown_by_its_name_its_beginning_its_directory_or_a_file_in_it() {
        let results = results();
        let name = "19990101-000000-abcd";
        let directory = results.path().join("series").join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        let record = directory.join("series.json");
        let mut bytes = Vec::new();
        crate::report::series::json(&testdata::six(), &mut bytes).expect("to memory");
        std::fs::write(&record, &bytes).expect("written");
        let (directory, record) = (directory.display().to_string(), record.display().to_string());
        for which in [name, "1999", "series/19990101-000000-abcd", &directory, &record] {
            let text = report(results.path(), Some(which), ReportFormat::Text);
            assert!(text.contains("5/6"), "{which}: {text}");
        }
        // A run of the same day.
        let first = names(results.path()).remove(0);
        let twin = format!("{}zzzz", &first[..first.len() - 4]);
        let other = results.path().join("series").join(&twin);
        std::fs::create_dir_all(&other).expect("a directory");
        std::fs::write(other.join("series.json"), &bytes).expect("written");
        let form = Form { format: ReportFormat::Human, output: None };
        let error = super::run(results.path(), Some(&first[..8]), form).expect_err("several").to_string();
        assert!(error.contains(&first) && error.contains(&format!("series/{twin}")), "{error}");
        std::fs::write(&record, &bytes[..bytes.len() / 2]).expect("cut off");
        let form = Form { format: ReportFormat::Human, output: None };
        let error = run(results.path(), Some("1999"), form).expect_err("damaged").to_string();
        assert!(error.contains("series.json`: it is damaged: EOF"), "{error}");
    }

    #[test]
    fn a_reader_who_has_seen_enough_is_no_error_and_a_full_disk_is_one() {
        struct Fails(io::ErrorKind);
        impl Write for Fails {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(write(b"text", &mut Fails(io::ErrorKind::BrokenPipe)).is_ok());
        assert!(write(b"text", &mut Fails(io::ErrorKind::StorageFull)).is_err());
    }
}
