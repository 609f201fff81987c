//! What the stream that is written to can show: colours and columns.

use std::fmt::Display;
use std::os::fd::AsFd;

use anstyle::{AnsiColor, Style};

/// Columns where nothing is known of the reader.
const DEFAULT_WIDTH: usize = 80;

/// Narrowest and widest that is made use of. Below, a table is no table; above,
/// the eye loses the line.
const WIDTHS: std::ops::RangeInclusive<usize> = 60..=120;

/// Whether escape sequences may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// With colours.
    Always,
}

/// Whether lines can be drawn again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// A file, a pipe, a log of CI: what is written stays.
    Lines,
    /// A terminal that can move its cursor.
    Live,
}

/// How to write to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Colours.
    pub colour: Colour,
    /// Redrawing.
    pub screen: Screen,
    /// Columns to fill.
    pub width: usize,
}

impl Look {
    /// Plain text in 80 columns, for files and for whatever is no terminal.
    pub const PLAIN: Self = Self { colour: Colour::Never, screen: Screen::Lines, width: DEFAULT_WIDTH };

    /// Of standard output. Heeds `NO_COLOR`, `CLICOLOR_FORCE` and `TERM`.
    #[must_use]
    pub fn of_stdout() -> Self {
        Self::of(&std::io::stdout())
    }

    /// Of standard error, likewise.
    #[must_use]
    pub fn of_stderr() -> Self {
        Self::of(&std::io::stderr())
    }

    fn of(stream: &(impl anstream::stream::RawStream + AsFd)) -> Self {
        let colour = match anstream::AutoStream::choice(stream) {
            anstream::ColorChoice::Never => Colour::Never,
            _ => Colour::Always,
        };
        let terminal = stream.is_terminal();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let size = if terminal { rustix::termios::tcgetwinsize(stream).ok() } else { None };
        // A terminal of 0 columns is one that does not know, as in some containers.
        let columns = size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
        Self {
            colour,
            screen: if terminal && !dumb { Screen::Live } else { Screen::Lines },
            width: columns.unwrap_or(DEFAULT_WIDTH).clamp(*WIDTHS.start(), *WIDTHS.end()),
        }
    }

    /// The text in this style, if there are colours.
    pub(crate) fn paint(self, style: Style, text: impl Display) -> String {
        match self.colour {
            Colour::Never => text.to_string(),
            Colour::Always => format!("{style}{text}{style:#}"),
        }
    }
}

/// Style of a verdict's word.
pub(crate) fn verdict_style(word: &str) -> Style {
    match word {
        "pass" => AnsiColor::Green.on_default(),
        "fail" => AnsiColor::Red.on_default().bold(),
        "error" => AnsiColor::Magenta.on_default().bold(),
        _ => AnsiColor::Yellow.on_default(),
    }
}

/// Style of what is only of use to those who look for it.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Style of headings.
pub(crate) const HEADING: Style = Style::new().bold();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_has_no_escapes() {
        assert_eq!(Look::PLAIN.paint(verdict_style("fail"), "FAIL"), "FAIL");
    }

    #[test]
    fn colours_end_where_they_should() {
        let look = Look { colour: Colour::Always, ..Look::PLAIN };
        assert_eq!(look.paint(HEADING, "x"), "\u{1b}[1mx\u{1b}[0m");
    }
}
