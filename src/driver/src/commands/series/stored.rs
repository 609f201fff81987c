//! A series that was checked before, for `kregress report`.

use std::path::{Path, PathBuf};

use super::{DIRECTORY, RECORD, bytes, check_form};
use crate::commands::report::Form;
use crate::series::stored;

/// The record of a series: of its directory, of a file in it, or of the one whose name
/// begins so.
pub(in crate::commands) fn find(results: &Path, which: &str) -> Option<PathBuf> {
    let path = Path::new(which);
    let directory = if path.is_file() { path.parent().unwrap_or(path) } else { path };
    let named = [directory.to_owned(), results.join(which)].into_iter().map(|dir| dir.join(RECORD));
    if let Some(record) = named.into_iter().find(|record| record.is_file()) {
        return Some(record);
    }
    let entries = std::fs::read_dir(results.join(DIRECTORY)).ok()?;
    let is_meant =
        |dir: &PathBuf| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(which));
    let mut meant = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(only), None) if !which.is_empty() => Some(only.join(RECORD)).filter(|record| record.is_file()),
        _ => None,
    }
}

/// Shows it. Nothing on disk is changed.
///
/// # Errors
///
/// Fails where the record cannot be read or shown in this form.
pub(in crate::commands) fn show(record: &Path, form: Form<'_>) -> anyhow::Result<()> {
    check_form(form)?;
    let unread = |error: String| anyhow::anyhow!("cannot show the series `{}`: {error}", record.display());
    let text = std::fs::read(record).map_err(|error| unread(error.to_string()))?;
    let checked = stored::parse(&text).map_err(|error| unread(error.to_string()))?;
    form.put(|look| bytes(&checked, form.format, look))
}
