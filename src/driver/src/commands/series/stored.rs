//! A series that was checked before, for `kregress report`.

use std::path::{Path, PathBuf};

use super::{DIRECTORY, RECORD, bytes, check_form};
use crate::commands::report::Form;
use crate::results;
use crate::series::stored;

/// Records of series: that of this directory, of a file in it, or of this name; or else
/// all whose names begin so.
pub(in crate::commands) fn find(results_dir: &Path, which: &str) -> Vec<PathBuf> {
    let path = Path::new(which);
    let directory = if path.is_file() { path.parent().unwrap_or(path) } else { path };
    let named = [directory.to_owned(), results_dir.join(which)].map(|dir| dir.join(RECORD));
    if let Some(record) = named.into_iter().find(|record| record.is_file()) {
        return vec![record];
    }
    let all = results_dir.join(DIRECTORY);
    let meant = results::meant(&results::holding(&all, RECORD), which);
    meant.iter().map(|name| all.join(name).join(RECORD)).collect()
}

/// What the series of a record is called among runs.
pub(in crate::commands) fn name(record: &Path) -> String {
    let directory = record.parent().and_then(Path::file_name).unwrap_or_default();
    format!("{DIRECTORY}/{}", directory.to_string_lossy())
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
