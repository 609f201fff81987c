//! Paths as users write them: `~/src/linux`, `../linux`, `/usr/src/*.tar.*`.
//! Pure: nothing is looked up.

use std::path::{Component, Path, PathBuf};

use super::error::PathError;

/// Where written paths start from.
#[derive(Debug, Clone)]
pub(super) struct Base {
    /// Absolute; relative paths are below it.
    pub(super) directory: PathBuf,
    /// What `~` is.
    pub(super) home: Option<PathBuf>,
}

impl Base {
    /// An absolute path.
    ///
    /// # Errors
    ///
    /// For a text that no file can be named by.
    pub(super) fn resolve(&self, text: &str) -> Result<PathBuf, PathError> {
        let (start, rest) = self.split(text)?;
        let path = start.join(rest);
        // `./x` and `x//y` name the same as `x` and `x/y`; `..` stays, for it
        // depends on symbolic links.
        Ok(path.components().filter(|component| *component != Component::CurDir).collect())
    }

    /// An absolute glob pattern; what comes before the text is taken literally.
    ///
    /// # Errors
    ///
    /// As [`Self::resolve`], and for a text that is no pattern.
    pub(super) fn resolve_pattern(&self, text: &str) -> Result<String, PathError> {
        let (start, rest) = self.split(text)?;
        let pattern = if Path::new(rest).is_absolute() {
            rest.to_owned()
        } else {
            let start = start
                .to_str()
                .ok_or_else(|| PathError::NotText { text: text.to_owned(), directory: start.to_owned() })?;
            let rest = rest.strip_prefix("./").unwrap_or(rest);
            format!("{}/{rest}", glob::Pattern::escape(start.trim_end_matches('/')))
        };
        match glob::Pattern::new(&pattern) {
            Ok(_) => Ok(pattern),
            Err(error) => Err(PathError::Pattern { text: text.to_owned(), reason: error.msg }),
        }
    }

    fn split<'a>(&'a self, text: &'a str) -> Result<(&'a Path, &'a str), PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(PathError::Control(text.to_owned()));
        }
        let Some(rest) = text.strip_prefix('~') else { return Ok((&self.directory, text)) };
        if !rest.is_empty() && !rest.starts_with('/') {
            return Err(PathError::OtherHome(text.to_owned()));
        }
        let home = self.home.as_deref().ok_or_else(|| PathError::NoHome(text.to_owned()))?;
        Ok((home, rest.trim_start_matches('/')))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base() -> Base {
        Base { directory: "/net".into(), home: Some("/home/me".into()) }
    }

    #[test]
    fn paths_start_at_the_directory_the_home_or_the_root() {
        for (text, path) in [
            ("linux", "/net/linux"),
            ("./linux/", "/net/linux"),
            ("../linux", "/net/../linux"),
            ("/usr/src/linux", "/usr/src/linux"),
            ("~", "/home/me"),
            ("~/", "/home/me"),
            ("~/src/linux", "/home/me/src/linux"),
            ("a~b", "/net/a~b"),
        ] {
            assert_eq!(base().resolve(text), Ok(PathBuf::from(path)), "{text}");
        }
    }

    #[test]
    fn only_the_text_of_a_pattern_is_a_pattern() {
        let odd = Base { directory: "/srv/[net]".into(), home: None };
        assert_eq!(odd.resolve_pattern("linux-*.tar"), Ok("/srv/[[]net[]]/linux-*.tar".into()));
        assert_eq!(odd.resolve_pattern("/usr/src/linux-*"), Ok("/usr/src/linux-*".into()));
        assert_eq!(base().resolve_pattern("~/l?.tar"), Ok("/home/me/l?.tar".into()));
        assert_eq!(base().resolve_pattern("./l.tar"), Ok("/net/l.tar".into()));
    }

    #[test]
    fn a_path_that_names_nothing_is_refused() {
        assert_eq!(base().resolve(""), Err(PathError::Empty));
        assert_eq!(base().resolve("a\0b"), Err(PathError::Control("a\0b".into())));
        assert_eq!(base().resolve("~root/x"), Err(PathError::OtherHome("~root/x".into())));
        let homeless = Base { home: None, ..base() };
        assert_eq!(homeless.resolve("~/x"), Err(PathError::NoHome("~/x".into())));
        assert!(matches!(base().resolve_pattern("l***"), Err(PathError::Pattern { .. })));
    }

    proptest! {
        #[test]
        fn whatever_is_resolved_is_absolute(text: String) {
            if let Ok(path) = base().resolve(&text) {
                prop_assert!(path.is_absolute());
            }
            if let Ok(pattern) = base().resolve_pattern(&text) {
                prop_assert!(pattern.starts_with('/'));
            }
        }
    }
}
