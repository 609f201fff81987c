//! SVG that takes its colours from the page: `plotters` knows colours only as
//! numbers, so each [`Ink`] is a number that stands for a CSS class, and
//! [`finish`] puts the class in its place. Pure.

use maud::PreEscaped;
use plotters::style::RGBColor;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, Writer};

/// What something is drawn with; `style.css` gives each a colour for light and dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// Numbers and labels.
    Text,
    /// Axes and grid.
    Grid,
    /// The base side, and all there is where there are no sides.
    Base,
    /// The head side.
    Head,
    /// The range in which a difference does not count.
    Floor,
}

impl Ink {
    const ALL: [Self; 5] = [Self::Text, Self::Grid, Self::Base, Self::Head, Self::Floor];

    /// The number that stands for it while it is drawn.
    pub(super) fn colour(self) -> RGBColor {
        RGBColor(0, 0, self as u8 + 1)
    }

    fn class(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Grid => "grid",
            Self::Base => "base",
            Self::Head => "head",
            Self::Floor => "floor",
        }
    }

    fn of(colour: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ink| colour.eq_ignore_ascii_case(&format!("#00000{}", *ink as u8 + 1)))
    }
}

/// The drawing for a page: colours are classes, the size is that of its box,
/// `label` is what is read aloud.
pub(super) fn finish(svg: &str, label: &str) -> Result<PreEscaped<String>, quick_xml::Error> {
    let mut reader = Reader::from_str(svg);
    let mut writer = Writer::new(Vec::new());
    loop {
        match reader.read_event()? {
            Event::Eof => break,
            Event::Start(tag) => writer.write_event(Event::Start(recoloured(&tag, label)?))?,
            Event::Empty(tag) => writer.write_event(Event::Empty(recoloured(&tag, label)?))?,
            // The lines of the file are no part of the picture, apart from text.
            Event::Text(text) => {
                let text = text.into_inner();
                let text = String::from_utf8_lossy(&text);
                let text = quick_xml::events::BytesText::from_escaped(text.trim_matches('\n').to_owned());
                writer.write_event(Event::Text(text))?;
            }
            Event::End(tag) => writer.write_event(Event::End(tag))?,
            // Entities of text; there are no others in a drawing.
            Event::GeneralRef(reference) => writer.write_event(Event::GeneralRef(reference))?,
            Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    Ok(PreEscaped(String::from_utf8_lossy(&writer.into_inner()).into_owned()))
}

fn recoloured(tag: &BytesStart<'_>, label: &str) -> Result<BytesStart<'static>, quick_xml::Error> {
    let name = String::from_utf8_lossy(tag.name().as_ref()).into_owned();
    let mut out = BytesStart::new(name.clone());
    let mut classes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute?;
        let key = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
        let value = String::from_utf8_lossy(&attribute.value).into_owned();
        match key.as_str() {
            "fill" | "stroke" if value == "none" => out.push_attribute((key.as_str(), "none")),
            // A colour that stands for nothing is that of the text around it.
            "fill" | "stroke" => match Ink::of(&value) {
                Some(ink) => classes.push(format!("{}-{}", &key[..1], ink.class())),
                None => out.push_attribute((key.as_str(), "currentColor")),
            },
            // The page's own font, and the size of its box.
            "font-family" | "xmlns" => {}
            "width" | "height" if name == "svg" => {}
            "opacity" | "stroke-opacity" if value == "1" => {}
            _ => out.push_attribute((key.as_bytes(), value.as_bytes())),
        }
    }
    if !classes.is_empty() {
        out.push_attribute(("class", classes.join(" ").as_str()));
    }
    if name == "svg" {
        out.push_attribute(("role", "img"));
        out.push_attribute(("aria-label", label));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes_and_the_size_is_left_to_the_page() {
        let svg = "<svg width=\"360\" height=\"9\" viewBox=\"0 0 360 9\" xmlns=\"http://www.w3.org/2000/svg\">\n\
                   <circle cx=\"1\" fill=\"#000003\" stroke=\"#000004\" opacity=\"0.5\"/>\n\
                   <text font-family=\"sans-serif\" fill=\"#123456\">\n1 &lt; 2\n</text>\n</svg>";
        assert_eq!(
            finish(svg, "a \"plot\" <b>").expect("xml").0,
            "<svg viewBox=\"0 0 360 9\" role=\"img\" aria-label=\"a &quot;plot&quot; &lt;b&gt;\">\
             <circle cx=\"1\" opacity=\"0.5\" class=\"f-base s-head\"/>\
             <text fill=\"currentColor\">1 &lt; 2</text></svg>"
        );
    }

    #[test]
    fn what_is_no_drawing_is_an_error() {
        assert!(finish("<svg><g></svg>", "").is_err());
    }
}
