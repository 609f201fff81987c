//! Titles that stay the same from boot to boot: no addresses, process numbers,
//! times or offsets, so that equal bugs have equal titles.

use std::borrow::Cow;

use super::rules::Title;
use super::{stack, work};

/// Longest title in bytes, from experience with report tables.
const MAX_TITLE: usize = 300;

/// The title of a report that began with `headline`.
pub(super) fn of(rule: Title, headline: &str, message: Option<&str>, stack: &[String]) -> String {
    match rule {
        Title::Plain => normalise(headline),
        Title::Located => located(normalise(headline), stack),
        Title::Until(end) => located(normalise(headline.split(end).next().unwrap_or(headline)), stack),
        Title::Named(name) => located(name.to_owned(), stack),
        Title::Warn => warning(headline, message),
        Title::Trap => located(trap(headline), stack),
    }
}

/// Rewrites a line of the log as a title.
pub(super) fn normalise(text: &str) -> String {
    work::looked_at(text.len());
    let mut title = String::new();
    for word in without_taint(text).split_whitespace() {
        let (end, space) = (title.len(), if title.is_empty() { "" } else { " " });
        title.push_str(space);
        push_word(word, &mut title);
        if title.len() == end + space.len() {
            title.truncate(end);
        }
        if title.len() > MAX_TITLE {
            break;
        }
    }
    truncate(&mut title);
    title
}

/// `title` with the function where it happened, unless it names it already.
fn located(mut title: String, stack: &[String]) -> String {
    if let Some(function) = stack::cause(stack).first()
        && !title.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| word == function)
    {
        let end = title.trim_end_matches(['.', '!', ':', '{', ' ']);
        let end = end.strip_suffix(" at").unwrap_or(end).len();
        title.truncate(end);
        title.push_str(" in ");
        title.push_str(function);
        truncate(&mut title);
    }
    title
}

/// One form for both field orders of `WARN()`, with its message if it has one.
///
/// 6.12 and before: `WARNING: CPU: 0 PID: 12 at net/core/dev.c:1 foo+0x1/0x2`;
/// newer kernels: `WARNING: net/core/dev.c:1 at foo+0x1/0x2, CPU#0: comm/12`.
/// Either may lack the file.
fn warning(headline: &str, message: Option<&str>) -> String {
    let body = headline.strip_prefix("WARNING: ").unwrap_or(headline);
    let body = match body.strip_prefix("CPU: ").and_then(|after| after.split_once(" at ")) {
        Some((_, place)) => place,
        None => body.split_once(", CPU#").map_or(body, |(place, _)| place),
    };
    let words: Vec<_> = body.split_whitespace().filter(|word| *word != "at").collect();
    let file = words.iter().find(|word| is_place(word)).map(|word| word.trim_start_matches("../"));
    let function = words.iter().find_map(|word| stack::symbol(word));
    let mut title = match (file, function) {
        (Some(file), Some(function)) => format!("WARNING: {file} at {function}"),
        (Some(place), None) | (None, Some(place)) => format!("WARNING: {place}"),
        (None, None) => normalise(headline),
    };
    if let Some(message) = message {
        title.push_str(": ");
        title.push_str(&normalise(message));
    }
    truncate(&mut title);
    title
}

/// The file of a `WARN()`, to tell which subsystem complained.
pub(super) fn file_of(headline: &str) -> Option<&str> {
    headline.split_whitespace().find(|word| is_place(word)).map(|word| word.trim_start_matches("../"))
}

/// Cuts `: 0000 [#1] PREEMPT SMP` off a trap's line, and the `Oops: ` that
/// kernels since 6.10 put in front of what was the whole line before.
fn trap(headline: &str) -> String {
    let text = headline.split(" [#").next().unwrap_or(headline);
    let text = match text.rsplit_once(": ") {
        Some((text, code)) if code.len() == 4 && code.bytes().all(|b| b.is_ascii_hexdigit()) => text,
        _ => text,
    };
    let cause = text.strip_prefix("Oops: ").unwrap_or(text);
    normalise(if cause.is_empty() { text } else { cause })
}

/// Without `(Tainted: G    B   OE     )`: what happened before is another matter.
fn without_taint(text: &str) -> Cow<'_, str> {
    for mark in ["(Tainted: ", "(Not tainted)"] {
        if let Some((before, after)) = text.split_once(mark) {
            let after = if mark.ends_with(')') {
                after
            } else {
                after.split_once(')').map_or("", |(_, after)| after)
            };
            return Cow::Owned(format!("{}{after}", before.trim_end()));
        }
    }
    Cow::Borrowed(text)
}

/// `net/core/dev.c:123`, perhaps with a column or punctuation behind it.
pub(super) fn is_place(word: &str) -> bool {
    [".c:", ".h:", ".S:", ".rs:"].iter().any(|mark| {
        word.split_once(mark)
            .is_some_and(|(file, line)| !file.is_empty() && line.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// Per-CPU and pool threads of the kernel; what follows the slash is a number.
const KERNEL_THREADS: &[&str] =
    &["kworker/", "ksoftirqd/", "migration/", "cpuhp/", "rcuop/", "rcuc/", "swapper/"];

fn push_word(word: &str, title: &mut String) {
    if is_place(word) {
        title.push_str(word.trim_start_matches("../"));
        return;
    }
    let mut rest = word;
    while !rest.is_empty() && title.len() <= MAX_TITLE {
        let after_word = title.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if let Some(thread) = KERNEL_THREADS.iter().find(|name| rest.starts_with(**name)) {
            title.push_str(&thread[..thread.len() - 1]);
            let end =
                rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '/' | ':' | '-' | '+' | '_')));
            rest = &rest[end.unwrap_or(rest.len())..];
        } else if let Some(after) = rest.strip_prefix("+0x") {
            // Offset and size of a symbol.
            rest = after.trim_start_matches(|c: char| c.is_ascii_hexdigit());
            if let Some(size) = rest.strip_prefix("/0x") {
                rest = size.trim_start_matches(|c: char| c.is_ascii_hexdigit());
            }
        } else if let Some(digits) = rest.strip_prefix("0x").filter(|_| !after_word) {
            rest = digits.trim_start_matches(|c: char| c.is_ascii_hexdigit());
            title.push_str(if digits.len() - rest.len() > 8 { "ADDR" } else { "N" });
        } else {
            rest = push_number_or_char(rest, title, after_word);
        }
    }
}

/// Replaces a number or address at the beginning of `rest`; otherwise moves one
/// character. Returns what is left.
fn push_number_or_char<'a>(rest: &'a str, title: &mut String, after_word: bool) -> &'a str {
    if after_word || !rest.starts_with(is_word_char) {
        let size = rest.chars().next().map_or(0, char::len_utf8);
        title.push_str(&rest[..size]);
        return &rest[size..];
    }
    let run = rest.find(|c| !is_word_char(c)).unwrap_or(rest.len());
    let (token, after) = rest.split_at(run);
    let digits = token.len() - token.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let is_hex = token.bytes().all(|byte| byte.is_ascii_hexdigit());
    // `kmalloc-64`: the number is part of a name.
    let in_name = title.ends_with('-') && title[..title.len() - 1].ends_with(|c: char| c.is_alphanumeric());
    if is_hex && token.len() >= 8 && digits > 0 && !in_name || is_hex && token.len() >= 12 {
        title.push_str("ADDR");
    } else if digits > 0 && !in_name {
        // `23s` is a time: the unit stays.
        title.push('N');
        title.push_str(&token[digits..]);
    } else {
        title.push_str(token);
    }
    after
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn truncate(title: &mut String) {
    if title.len() > MAX_TITLE {
        let end = (0..=MAX_TITLE).rev().find(|at| title.is_char_boundary(*at)).unwrap_or(0);
        title.truncate(end);
        title.truncate(title.trim_end().len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_from_boot_to_boot_is_gone() {
        let cases = [
            (
                "unregister_netdevice: waiting for lo to become free. Usage count = 2",
                "unregister_netdevice: waiting for lo to become free. Usage count = N",
            ),
            (
                "BUG: soft lockup - CPU#1 stuck for 23s! [kworker/1:2:123]",
                "BUG: soft lockup - CPU#N stuck for Ns! [kworker]",
            ),
            (
                "INFO: task kworker/u8:2:33 blocked for more than 122 seconds.",
                "INFO: task kworker blocked for more than N seconds.",
            ),
            (
                "INFO: task ip:4711 blocked for more than 61 seconds.",
                "INFO: task ip:N blocked for more than N seconds.",
            ),
            (
                "BUG: scheduling while atomic: kregress/77/0x00000002",
                "BUG: scheduling while atomic: kregress/N/N",
            ),
            (
                "BUG: KASAN: slab-use-after-free in tcp_zap+0x1b/0x30 [mod]",
                "BUG: KASAN: slab-use-after-free in tcp_zap [mod]",
            ),
            (
                "list_del corruption. prev->next should be ffff888003a1c008, but was dead000000000122. (prev=ffff888003a1c108)",
                "list_del corruption. prev->next should be ADDR, but was ADDR. (prev=ADDR)",
            ),
            ("BUG kmalloc-64 (Not tainted): Poison overwritten", "BUG kmalloc-64: Poison overwritten"),
            (
                "BUG kmalloc-64 (Tainted: G    B   OE    ): Poison overwritten",
                "BUG kmalloc-64: Poison overwritten",
            ),
            (
                "UBSAN: array-index-out-of-bounds in ../net/core/dev.c:12:34",
                "UBSAN: array-index-out-of-bounds in net/core/dev.c:12:34",
            ),
            ("kernel BUG at net/core/dev.c:11234!", "kernel BUG at net/core/dev.c:11234!"),
            (
                "BUG: Bad rss-counter state mm:00000000a1b2c3d4 type:MM_ANONPAGES val:17",
                "BUG: Bad rss-counter state mm:ADDR type:MM_ANONPAGES val:N",
            ),
            ("refcount_t: underflow; use-after-free.", "refcount_t: underflow; use-after-free."),
            ("  deadbeef   facade feedface ", "deadbeef facade feedface"),
            ("error_code(0x0002) at 0xffffffff81234567", "error_code(N) at ADDR"),
            ("veth12 ipv6 8021q", "veth12 ipv6 Nq"),
        ];
        for (line, expected) in cases {
            assert_eq!(normalise(line), expected);
        }
    }

    #[test]
    fn both_field_orders_of_a_warning_give_the_same_title() {
        let cases = [
            (
                "WARNING: CPU: 0 PID: 12 at net/core/dev.c:123 foo+0x1b/0x30",
                "WARNING: net/core/dev.c:123 at foo",
            ),
            (
                "WARNING: net/core/dev.c:123 at foo+0x1b/0x30, CPU#0: ip/12",
                "WARNING: net/core/dev.c:123 at foo",
            ),
            (
                "WARNING: CPU: 0 PID: 12 at ../net/core/dev.c:9 foo.cold+0x1/0x3 [m]",
                "WARNING: net/core/dev.c:9 at foo",
            ),
            ("WARNING: CPU: 0 PID: 12 at foo+0x1b/0x30", "WARNING: foo"),
            ("WARNING: at foo+0x1b/0x30, CPU#0: ip/12", "WARNING: foo"),
            ("WARNING: CPU: 0 PID: 12 at 0xffffffffc0123456", "WARNING: CPU: N PID: N at ADDR"),
        ];
        for (line, expected) in cases {
            assert_eq!(warning(line, None), expected);
        }
        assert_eq!(warning(cases[0].0, Some("count is 7")), "WARNING: net/core/dev.c:123 at foo: count is N");
    }

    #[test]
    fn a_trap_is_named_alike_by_old_and_new_kernels() {
        let gpf = "general protection fault, probably for non-canonical address 0xdffffc0000000000: 0000";
        let expected = "general protection fault, probably for non-canonical address ADDR";
        assert_eq!(trap(&format!("{gpf} [#1] PREEMPT SMP KASAN NOPTI")), expected);
        assert_eq!(trap(&format!("Oops: {gpf} [#1] PREEMPT SMP KASAN NOPTI")), expected);
        assert_eq!(trap("Oops: 0002 [#1] SMP"), "Oops");
        assert_eq!(trap("divide error: 0000 [#2] SMP"), "divide error");
    }

    #[test]
    fn the_function_is_added_once() {
        let stack = ["foo".to_owned()];
        assert_eq!(located("BUG: sleeping at x.c:1".into(), &stack), "BUG: sleeping at x.c:1 in foo");
        assert_eq!(located("BUG: KASAN: bad in foo".into(), &stack), "BUG: KASAN: bad in foo");
        assert_eq!(located("blocked for N seconds.".into(), &stack), "blocked for N seconds in foo");
        assert_eq!(located("plain.".into(), &[]), "plain.");
    }

    proptest! {
        #[test]
        fn a_title_is_short_and_never_changes_again(text in "[a-f0-9x/:.+ #_-]{0,80}|\\PC{0,400}") {
            let once = normalise(&text);
            prop_assert!(once.len() <= MAX_TITLE);
            prop_assert_eq!(normalise(&once), once);
            let _ = warning(&text, Some(&text));
            let _ = trap(&text);
        }
    }
}
