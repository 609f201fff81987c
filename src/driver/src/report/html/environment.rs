//! The environment as a table, folded below what one reads first. Pure.

use maud::{Markup, html};

use crate::report::environment::{Environment, Group};

/// Longest list of facts of a group.
const FACTS: usize = 100;

/// The section, where there is something to tell.
pub(super) fn section(environment: &Environment) -> Markup {
    let columns = environment.columns.len();
    html! {
        @if columns > 0 {
            section.long {
                h2 { "Environment" }
                @if columns > 1 { p.faint.small { "What differs between the kernels is bold." } }
                @for group in &environment.groups {
                    details open[matches!(group.name, "run" | "machine" | "host")] {
                        summary { b { (super::sentence(group.name)) } }
                        div.scroll { (table(group, &environment.columns)) }
                    }
                }
            }
        }
    }
}

fn table(group: &Group, columns: &[String]) -> Markup {
    let split = group.rows.iter().any(|row| row.common().is_none());
    html! {
        table.facts.one[!split] {
            @if split {
                thead { tr { th {} @for column in columns { th { (column) } } } }
            }
            tbody {
                @for row in group.rows.iter().take(FACTS) {
                    tr {
                        th scope="row" { (row.name) }
                        @match row.common() {
                            Some(value) => td colspan=(if split { columns.len() } else { 1 }) { (value) },
                            None => @for value in &row.values {
                                td.differs { (value.as_deref().unwrap_or("not known")) }
                            },
                        }
                    }
                }
            }
        }
        (super::left_out(group.rows.len(), FACTS, "fact"))
    }
}
