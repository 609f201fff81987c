//! Reads what the function_graph tracer writes: calls of one root function with
//! their times, each after those that it made. Pure.

use std::collections::BTreeMap;

/// A call that has come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// Name of the function.
    pub(crate) name: String,
    /// From entry to return, in nanoseconds.
    pub(crate) duration_ns: u64,
    /// What it called, in order; only what was traced.
    pub(crate) children: Vec<Call>,
}

/// A trace, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Graph {
    /// Calls of the root function, whole ones only.
    pub(crate) roots: Vec<Call>,
    /// The kernel dropped events.
    pub(crate) lost: bool,
}

/// Takes the text of a trace apart. Tasks are told apart by their number, which
/// the option `funcgraph-proc` shows.
pub(crate) fn parse(text: &str, root: &str) -> Graph {
    let mut graph = Graph::default();
    let mut stacks: BTreeMap<i32, Vec<Call>> = BTreeMap::new();
    for line in text.lines() {
        if line.contains("LOST") && line.contains("EVENTS") {
            graph.lost = true;
        }
        if let Some((written, held)) = entries(line) {
            graph.lost |= written != held;
        }
        let Some(step) = step(line) else { continue };
        let stack = stacks.entry(step.task).or_default();
        match step.what {
            What::Enter(name) => {
                stack.push(Call { name: name.to_owned(), duration_ns: 0, children: Vec::new() });
            }
            What::Leaf(name) => {
                let call =
                    Call { name: name.to_owned(), duration_ns: step.duration_ns, children: Vec::new() };
                finish(stack, call, root, &mut graph);
            }
            // The end of a call that began before the trace has no beginning. Nor has
            // that of one whose task went to another processor meanwhile: the kernel
            // may take it for a leaf, with the return of the next.
            What::Leave(name) => {
                let named = |call: &Call| name.is_none_or(|name| call.name == name);
                if let Some(at) = stack.iter().rposition(named) {
                    // The kernel does not trace the return of every call; what such
                    // a one has called belongs to its caller.
                    while stack.len() > at + 1 {
                        let open = stack.pop().map(|call| call.children).unwrap_or_default();
                        stack[at].children.extend(open);
                    }
                    if let Some(mut call) = stack.pop() {
                        call.duration_ns = step.duration_ns;
                        finish(stack, call, root, &mut graph);
                    }
                }
            }
        }
    }
    graph
}

fn finish(stack: &mut [Call], call: Call, root: &str, graph: &mut Graph) {
    match stack.last_mut() {
        Some(parent) => parent.children.push(call),
        None if call.name == root => graph.roots.push(call),
        None => {}
    }
}

/// `# entries-in-buffer/entries-written: 12/15   #P:2`, the written first.
fn entries(line: &str) -> Option<(u64, u64)> {
    let numbers = line.strip_prefix("# entries-in-buffer/entries-written:")?.split_whitespace().next()?;
    let (held, written) = numbers.split_once('/')?;
    Some((written.parse().ok()?, held.parse().ok()?))
}

struct Step<'a> {
    task: i32,
    duration_ns: u64,
    what: What<'a>,
}

enum What<'a> {
    Enter(&'a str),
    Leaf(&'a str),
    /// With its name, where the option `funcgraph-tail` shows it.
    Leave(Option<&'a str>),
}

/// ` 1)  kworker-33  | + 10.123 us   |    function();`, after whatever else comes
/// before it.
fn step(line: &str) -> Option<Step<'_>> {
    if line.starts_with('#') {
        return None;
    }
    let (head, code) = line.rsplit_once('|')?;
    let (head, duration) = head.rsplit_once('|')?;
    let task = head.trim_end().rsplit_once('-')?.1.trim().parse().ok()?;
    let (code, comment) = code.split_once("/*").unwrap_or((code, ""));
    let code = code.trim();
    let what = if code == "}" {
        What::Leave(comment.trim().strip_suffix("*/").map(|name| function(name.trim())))
    } else if let Some(name) = code.strip_suffix("() {") {
        What::Enter(function(name))
    } else {
        What::Leaf(function(code.strip_suffix("();")?))
    };
    Some(Step { task, duration_ns: nanoseconds(duration).unwrap_or(0), what })
}

/// A function without the module that may follow it in brackets.
fn function(name: &str) -> &str {
    name.split([' ', '[']).next().unwrap_or(name)
}

/// `+ 10.123 us`: the mark in front tells of long calls.
fn nanoseconds(text: &str) -> Option<u64> {
    let number = text.trim().strip_suffix("us")?.trim_end();
    let number = number.trim_start_matches(|c: char| !c.is_ascii_digit());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut fraction = fraction.get(..3).unwrap_or(fraction).to_owned();
    while fraction.len() < 3 {
        fraction.push('0');
    }
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(1000)?.checked_add(fraction.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "\
# tracer: function_graph
#
# CPU  TASK/PID         DURATION                  FUNCTION CALLS
# |     |    |           |   |                     |   |   |   |
 0)  kworker-12    |               |  cleanup_net() {
 0)  kworker-12    |   1.500 us    |    down_read();
 ------------------------------------------
 1)    init-70     =>  kworker-12
 ------------------------------------------
 1)  kworker-12    |               |    ops_exit_list() {
 1)    init-70     |   2.000 us    |  cleanup_net();
 1)  kworker-12    |               |      xfrm_net_exit [xfrm]() {
 1)  kworker-12    | # 5000.250 us |        synchronize_rcu();
 1)  kworker-12    | # 5001.000 us |      } /* xfrm_net_exit [xfrm] */
 1)  kworker-12    | # 5002 us     |    }
 0)  kworker-12    | @ 120000.125 us |  } /* cleanup_net */
 0)  kworker-12    |   1.000 us    |  }
";

    fn call(name: &str, duration_ns: u64, children: Vec<Call>) -> Call {
        Call { name: name.to_owned(), duration_ns, children }
    }

    #[test]
    fn calls_nest_within_their_task_across_processors() {
        let graph = parse(TRACE, "cleanup_net");
        let wait = call("synchronize_rcu", 5_000_250, vec![]);
        let list = call("ops_exit_list", 5_002_000, vec![call("xfrm_net_exit", 5_001_000, vec![wait])]);
        let expected = [
            call("cleanup_net", 2_000, vec![]),
            call("cleanup_net", 120_000_125, vec![call("down_read", 1_500, vec![]), list]),
        ];
        assert_eq!(graph.roots, expected);
        assert!(!graph.lost);
    }

    #[test]
    fn an_overrun_of_the_buffer_is_seen() {
        assert!(parse("# entries-in-buffer/entries-written: 12/15   #P:2\n", "f").lost);
        assert!(!parse("# entries-in-buffer/entries-written: 15/15   #P:2\n", "f").lost);
        assert!(parse("CPU:0 [LOST 3 EVENTS]\n", "f").lost);
    }

    #[test]
    fn an_end_that_no_open_call_has_is_left_out() {
        // Seen on 6.1: the task slept in the wait and woke up on the other processor.
        let text = "\
 0)   kworker-25   |               |  cleanup_net() {
 0)   kworker-25   |               |    xfrm_net_exit() {
 0)   kworker-25   | * 13574.44 us |      synchronize_rcu();
 1)   kworker-25   | * 10370.98 us |      } /* synchronize_rcu */
 1)   kworker-25   | * 10509.71 us |    } /* xfrm_net_exit */
 1)   kworker-25   | * 10600.00 us |  } /* cleanup_net */
";
        let graph = parse(text, "cleanup_net");
        assert_eq!(graph.roots.len(), 1);
        assert_eq!(
            (graph.roots[0].duration_ns, graph.roots[0].children[0].duration_ns),
            (10_600_000, 10_509_710)
        );
    }

    #[test]
    fn a_call_that_has_not_ended_is_no_root() {
        let text = " 0)  kworker-12    |               |  cleanup_net() {\n";
        assert_eq!(parse(text, "cleanup_net").roots, []);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~\\n|{}();#/*]{0,300}") {
            parse(&text, "cleanup_net");
        }

        #[test]
        fn durations_are_read_to_the_nanosecond(ns in 0_u64..10_000_000_000) {
            let text = format!(" $ {}.{:03} us ", ns / 1000, ns % 1000);
            prop_assert_eq!(nanoseconds(&text), Some(ns));
        }
    }
}
