//! Places in the code of a kernel, as stack traces have them.

/// A frame of a finding's stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Where in the code; none where the kernel did not say.
    pub place: Option<Place>,
    /// Lines of the source, the innermost inlined callee first; empty until
    /// somebody who has debug information fills them in, and where there is none.
    pub lines: Vec<SourceLine>,
}

/// `symbol+0x12/0x34 [module]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As the kernel has it, with what the compiler appended.
    pub symbol: String,
    /// From the beginning of the function, in bytes.
    pub offset: u64,
    /// Of the function with the padding behind it, in bytes.
    pub size: u64,
    /// Its module; none of the kernel itself.
    pub module: Option<String>,
    /// What the address is.
    pub kind: PlaceKind,
}

/// What the address of a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    /// The instruction that was executed.
    Exact,
    /// The instruction behind a call.
    Return,
}

/// A line of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine {
    /// The function that the line is of.
    pub function: String,
    /// Relative to the kernel tree.
    pub file: String,
    /// From 1.
    pub line: u32,
}

/// Longest names that are kept, in bytes: `KSYM_NAME_LEN` and `MODULE_NAME_LEN`.
const MAX_SYMBOL: usize = 512;
const MAX_MODULE: usize = 64;

impl Place {
    /// Reads `symbol+0x12/0x34 [module]` at the beginning of a text.
    #[must_use]
    pub fn parse(text: &str, kind: PlaceKind) -> Option<Self> {
        let (symbol, rest) = text.split_once("+0x")?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$');
        if symbol.is_empty() || symbol.len() > MAX_SYMBOL || !symbol.chars().all(is_name) {
            return None;
        }
        let (offset, rest) = rest.split_once("/0x")?;
        let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        let (size, rest) = rest.split_at(end);
        let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
        // `[veth]`, or with a build id `[veth 0123456789abcdef]`.
        let inside = rest.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let module = inside.and_then(|(inside, _)| inside.split_whitespace().next());
        let module =
            module.filter(|name| name.len() <= MAX_MODULE && name.chars().all(|c| is_name(c) || c == '-'));
        Some(Self {
            symbol: symbol.to_owned(),
            offset: number(offset)?,
            size: number(size)?,
            module: module.map(str::to_owned),
            kind,
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{:#x}/{:#x}", self.symbol, self.offset, self.size)?;
        match &self.module {
            Some(module) => write!(f, " [{module}]"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_has_offset_size_and_module() {
        for (text, shown) in [
            ("cleanup_net+0x2ab/0x490", Some("cleanup_net+0x2ab/0x490")),
            ("veth_xmit.cold+0x1/0x20 [veth]", Some("veth_xmit.cold+0x1/0x20 [veth]")),
            ("veth_xmit+0x1/0x20 [veth 0123456789abcdef]", Some("veth_xmit+0x1/0x20 [veth]")),
            ("foo+0x1/0x20 and more", Some("foo+0x1/0x20")),
            ("foo+0x1", None),
            ("foo (net/core/dev.c:12)", None),
            ("a b+0x1/0x2", None),
            ("+0x1/0x2", None),
            ("foo+0xzz/0x2", None),
            ("foo+0x11111111111111111/0x2", None),
        ] {
            let place = Place::parse(text, PlaceKind::Return).map(|place| place.to_string());
            assert_eq!(place.as_deref(), shown, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([a-z_.]{0,3}|\\+0x|/0x|[0-9a-f]{0,17}|[ \\[\\]]|\\PC){0,12}") {
            let _ = Place::parse(&text, PlaceKind::Exact);
        }
    }
}
