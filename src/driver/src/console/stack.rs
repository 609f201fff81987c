//! Function names out of stack traces.
//!
//! Knows the formats of x86 and arm64 frames and which functions only carry a
//! report to the log. Does not know where a trace begins or ends.

use super::place::{Place, PlaceKind};
use super::{title, work};

/// Longest function name that is kept, in bytes; `KSYM_NAME_LEN` is 512, names
/// above this are only seen from mangled Rust.
const MAX_NAME: usize = 200;

/// One line of a stack trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// The unwinder vouches for it.
    Reliable(&'a str),
    /// Found on the stack by scanning (`? `); may be left over from earlier calls.
    Unreliable,
    /// A return address without a symbol.
    Nameless,
}

/// Reads a line such as ` ? foo+0x12/0x34 [mod]`, `[<ffff...>] foo+0x1/0x2` or,
/// once decoded, `foo (net/core/dev.c:12)`. `None` when it is no frame.
pub(super) fn frame(text: &str) -> Option<Frame<'_>> {
    let text = text.trim_start_matches(' ');
    // Kernels before 4.10 and some dumps put the address in front.
    let text = match text.strip_prefix("[<") {
        Some(after) => after.split_once(">]")?.1.trim_start_matches(' '),
        None => text,
    };
    let (unreliable, text) = match text.strip_prefix("? ") {
        Some(after) => (true, after),
        None => (false, text),
    };
    if is_address(text) {
        return Some(Frame::Nameless);
    }
    let name = symbol(text)?;
    Some(if unreliable { Frame::Unreliable } else { Frame::Reliable(name) })
}

/// Where the code of a [`frame`] is.
pub(super) fn frame_place(text: &str) -> Option<Place> {
    let text = text.trim_start_matches(' ');
    let text = text.strip_prefix("[<").map_or(Some(text), |after| Some(after.split_once(">]")?.1))?;
    Place::parse(text.trim_start_matches(' '), PlaceKind::Return)
}

/// Where the code of an [`instruction_pointer`] is.
pub(super) fn pointed_place(text: &str) -> Option<Place> {
    let text = text.trim_start_matches(' ');
    let place = match text.strip_prefix("RIP: ") {
        Some(after) => after.split_once(':')?.1,
        None => text.strip_prefix("pc : ")?,
    };
    Place::parse(place, PlaceKind::Exact)
}

/// The function in `RIP: 0010:foo+0x12/0x34` or `pc : foo+0x12/0x34`: where the
/// kernel stood. `None` for a user space address and for a jump into nowhere.
pub(super) fn instruction_pointer(text: &str) -> Option<&str> {
    let text = text.trim_start_matches(' ');
    let place = match text.strip_prefix("RIP: ") {
        Some(after) => after.split_once(':')?.1,
        None => text.strip_prefix("pc : ")?,
    };
    symbol(place)
}

/// The name in `name+0x12/0x34` at the beginning of `text`, without what the
/// compiler appended to it.
pub(super) fn symbol(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !is_symbol_char(c)).unwrap_or(text.len());
    work::looked_at(end);
    let (name, rest) = text.split_at(end);
    let first = name.chars().next()?;
    let placed =
        rest.strip_prefix("+0x").is_some_and(|after| after.starts_with(|c: char| c.is_ascii_hexdigit()));
    let decoded = rest.strip_prefix(" (").is_some_and(title::is_place);
    if first.is_ascii_digit() || name.len() > MAX_NAME || !(placed || decoded) {
        return None;
    }
    Some(source_name(name))
}

fn is_symbol_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$')
}

fn is_address(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or("");
    digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Without `.constprop.0`, `.isra.0`, `.part.0`, `.cold`, `.llvm.123`: another
/// compiler splits other functions, and the same bug should look the same.
fn source_name(name: &str) -> &str {
    match name.find('.') {
        // A leading dot belongs to the name.
        Some(at) if at > 0 => &name[..at],
        _ => name,
    }
}

/// Removes from the front what only printed the report. Leaves everything if
/// nothing else is there. Gives the number of functions that are gone.
pub(super) fn without_machinery(stack: &mut Vec<String>) -> usize {
    let first = stack.iter().position(|name| !is_machinery(name)).unwrap_or(0);
    stack.drain(..first);
    first
}

/// The stack from the first function that says something about the bug: not how
/// it waits or takes a lock, but for what.
pub(super) fn cause(stack: &[String]) -> &[String] {
    stack.iter().position(|name| !is_waiting(name)).map_or(stack, |first| &stack[first..])
}

/// Functions that stand on top of a trace whatever the bug is. Collected by
/// reading the reporters' sources in 6.1 and 6.12.
fn is_machinery(name: &str) -> bool {
    const PREFIXES: &[&str] = &[
        "__alloc_frozen_pages",
        "__alloc_pages",
        "__asan_",
        "__folio_alloc",
        "__hwasan_",
        "__kasan_check_",
        "__tsan_",
        "__ubsan_handle_",
        "alloc_pages",
        "asm_exc_",
        "exc_",
        "kasan_",
        "kcsan_",
        "lockdep_",
        "nmi_trigger_",
        "print_",
    ];
    const NAMES: &[&str] = &[
        // the dumpers themselves
        "__dump_stack",
        "dump_stack",
        "dump_stack_lvl",
        "show_regs",
        "show_stack",
        "show_trace_log_lvl",
        "nmi_cpu_backtrace",
        "rcu_dump_cpu_stacks",
        "sched_show_task",
        // WARN, BUG and panic
        "__report_bug",
        "__warn",
        "__warn_printk",
        "check_panic_on_warn",
        "handle_bug",
        "nmi_panic",
        "panic",
        "report_bug",
        "vpanic",
        "warn_slowpath_fmt",
        // sanitizers
        "__asan",
        "check_region_inline",
        "handle_overflow",
        "ubsan_epilogue",
        // lockdep
        "__lock_acquire",
        "__lock_release",
        "check_deadlock",
        "check_irq_usage",
        "check_noncircular",
        "check_prev_add",
        "check_prevs_add",
        "check_wait_context",
        "debug_check_no_locks_freed",
        "lock_acquire",
        "lock_release",
        "mark_lock",
        "mark_lock_irq",
        "mark_usage",
        "register_lock_class",
        "valid_state",
        "validate_chain",
        // atomic context
        "__might_fault",
        "__might_resched",
        "__might_sleep",
        "__schedule_bug",
        "check_preemption_disabled",
        "debug_smp_processor_id",
        // allocators
        "___slab_alloc",
        "alloc_debug_processing",
        "bad_page",
        "check_bytes_and_report",
        "check_object",
        "check_slab",
        "dump_header",
        "free_debug_processing",
        "free_to_partial_list",
        "get_partial_node",
        "object_err",
        "on_freelist",
        "oom_kill_process",
        "out_of_memory",
        "slab_err",
        "warn_alloc",
        // list_debug
        "__list_add_valid",
        "__list_add_valid_or_report",
        "__list_del_entry_valid",
        "__list_del_entry_valid_or_report",
        // refcount
        "refcount_warn_saturate",
        // ref_tracker
        "ref_tracker_alloc",
        "ref_tracker_free",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name)
}

/// Functions that wait or take a lock on behalf of their caller, and allocators.
fn is_waiting(name: &str) -> bool {
    const PREFIXES: &[&str] = &[
        "__kmalloc",
        "__kmem_cache_alloc",
        "__mutex_lock",
        "__raw_spin_lock",
        "__mutex_unlock",
        "__schedule",
        "_raw_read_lock",
        "_raw_read_unlock",
        "_raw_spin_lock",
        "_raw_spin_unlock",
        "_raw_write_lock",
        "_raw_write_unlock",
        "down_read",
        "down_write",
        "kmalloc_",
        "kmem_cache_alloc",
        "mutex_lock",
        "mutex_unlock",
        "preempt_schedule",
        "queued_spin_lock_",
        "native_queued_spin_lock_",
        "rwsem_down_",
        "schedule_",
        "wait_for_completion",
    ];
    const NAMES: &[&str] =
        &["__cond_resched", "__wait_for_common", "io_schedule", "msleep", "schedule", "slab_free_hook"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(names: &[&str]) -> Vec<String> {
        let mut stack = names.iter().map(|name| (*name).to_owned()).collect();
        without_machinery(&mut stack);
        stack
    }

    #[test]
    fn frames_of_every_format_give_their_function() {
        let cases = [
            (" cleanup_net+0x1b/0x4d0", Some(Frame::Reliable("cleanup_net"))),
            (" ? cleanup_net+0x1b/0x4d0", Some(Frame::Unreliable)),
            (" veth_xmit+0x1/0x2 [veth]", Some(Frame::Reliable("veth_xmit"))),
            (" veth_xmit+0x1/0x2 [veth 0123456789abcdef]", Some(Frame::Reliable("veth_xmit"))),
            (" [<ffffffff81234567>] old_style+0x1/0x2", Some(Frame::Reliable("old_style"))),
            (" [<ffffffff81234567>] ? old_style+0x1/0x2", Some(Frame::Unreliable)),
            ("foo.constprop.0.isra.3+0x1/0x2", Some(Frame::Reliable("foo"))),
            ("foo.cold+0x1/0x2", Some(Frame::Reliable("foo"))),
            ("__pfx_foo+0x10/0x10", Some(Frame::Reliable("__pfx_foo"))),
            ("foo (net/core/dev.c:12 (discriminator 3))", Some(Frame::Reliable("foo"))),
            ("0xffffffffc0a01234", Some(Frame::Nameless)),
            ("RAX: 0000000000000000 RBX: ffff888003a1c000", None),
            ("Code: 0f 0b e9", None),
            ("</TASK>", None),
            ("0x12", None),
            ("1abc+0x1/0x2", None),
            ("foo+bar", None),
            ("foo (no place)", None),
            ("backtrace (crc 5ba0d1c2):", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(frame(text), expected, "{text}");
        }
    }

    #[test]
    fn the_instruction_pointer_counts_only_in_the_kernel() {
        assert_eq!(instruction_pointer("RIP: 0010:foo+0x1/0x2 [mod]"), Some("foo"));
        assert_eq!(instruction_pointer("pc : foo+0x1/0x2"), Some("foo"));
        assert_eq!(instruction_pointer("RIP: 0033:0x7f12a0b1c2d3"), None);
        assert_eq!(instruction_pointer("RIP: 0010:0x0"), None);
        assert_eq!(instruction_pointer("RSP: 0018:ffffc90000013d50 EFLAGS: 00010246"), None);
    }

    #[test]
    fn the_reporters_own_functions_are_not_the_bug() {
        let kasan = ["dump_stack_lvl", "print_report", "kasan_report", "tcp_zap", "tcp_recv", "kasan_report"];
        assert_eq!(stack(&kasan), ["tcp_zap", "tcp_recv", "kasan_report"]);
    }

    #[test]
    fn the_cause_of_a_hang_is_what_it_waits_for() {
        let names =
            ["__schedule", "schedule", "schedule_timeout", "__wait_for_common", "rcu_barrier", "schedule"];
        let hung = stack(&names);
        assert_eq!(hung, names);
        assert_eq!(cause(&hung), ["rcu_barrier", "schedule"]);
        let idle = stack(&["__schedule", "schedule"]);
        assert_eq!(cause(&idle), idle);
    }

    #[test]
    fn a_stack_of_nothing_but_machinery_is_kept() {
        assert_eq!(stack(&["dump_stack", "panic"]), ["dump_stack", "panic"]);
        assert!(stack(&[]).is_empty());
    }
}
