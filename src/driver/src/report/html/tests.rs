//! Of the whole page.

use super::*;
use crate::report::bisected::testdata as bisections;
use crate::report::series::testdata as series;
use crate::report::testdata::{self, HOSTILE};

/// Tags of a page with their attributes, as a parser of HTML that is as simple
/// as our pages are would see them.
fn tags(html: &str) -> Vec<String> {
    let body = html.split_once("</style>").expect("a style").1;
    body.split('<').skip(1).map(|rest| rest.split_once('>').expect("an end").0.to_owned()).collect()
}

fn pages() -> Vec<(&'static str, String)> {
    let run = testdata::run();
    let data = testdata::regression();
    let (hostile, hostile_run) = testdata::hostile();
    let mut pages = vec![
        ("comparison", of_comparison(&data.compared(&[&run]))),
        ("comparison-unchanged", of_comparison(&testdata::unchanged().compared(&[&run]))),
        ("comparison-empty", of_comparison(&testdata::empty().compared(&[]))),
        ("comparison-hostile", of_comparison(&hostile.compared(&[&hostile_run]))),
        ("comparison-huge", of_comparison(&testdata::huge(400).compared(&[&run]))),
        ("run", of_run(&run)),
        ("run-hostile", of_run(&hostile_run)),
        ("bisection-finding", of_bisection(&bisections::pass_fail())),
        ("bisection-exact", of_bisection(&bisections::exact())),
        ("bisection-hostile", of_bisection(&bisections::hostile())),
        ("bisection-250", of_bisection(&bisections::long(250))),
        ("bisection-10000", of_bisection(&bisections::long(10_000))),
    ];
    pages.extend(bisections::all().into_iter().map(|(name, it)| (name, of_bisection(&it))));
    pages.extend(series::all().into_iter().map(|(name, it)| (name, of_series(&it))));
    pages
}

#[test]
fn nothing_that_a_guest_writes_becomes_a_tag_or_an_attribute() {
    for (name, page) in pages() {
        let tags = tags(&page);
        let attributes = |tag: &String| {
            // Text within quotes is a value, whatever it says.
            let outside: Vec<&str> = tag.split('"').step_by(2).collect();
            outside.concat()
        };
        for tag in &tags {
            let outside = attributes(tag);
            assert!(!outside.contains("onload") && !outside.starts_with("script"), "{name}: <{tag}>");
        }
        assert!(!page.contains("<script"), "{name}");
        for raw in ["\u{1b}", "\u{202e}", "\" onload"] {
            assert!(!page.contains(raw), "{name} has {raw:?}");
        }
    }
}

#[test]
fn hostile_text_is_there_to_be_read_in_every_field() {
    let (data, run) = testdata::hostile();
    let runs = [&run];
    let compared = data.compared(&runs);
    let page = of_comparison(&compared);
    assert!(page.matches("&lt;script&gt;").count() > 40, "fields are missing");
    assert!(HOSTILE.contains('\u{1b}') && !page.contains("[31m"));
    let page = of_run(&run);
    assert!(page.matches("&lt;script&gt;").count() > 30, "fields are missing");
}

#[test]
fn a_page_needs_nothing_beside_it() {
    for (name, page) in pages() {
        let tags = tags(&page);
        for tag in tags {
            let loads = ["src=", "href=", "url(", "@import", "srcset="];
            let names = tag.split('"').step_by(2).collect::<String>();
            assert!(!loads.iter().any(|load| names.contains(load)), "{name}: <{tag}>");
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}

#[test]
fn every_tag_that_begins_ends() {
    const VOID: [&str; 4] = ["meta", "br", "!DOCTYPE", "hr"];
    for (name, page) in pages() {
        let mut open: Vec<String> = vec!["html".to_owned()];
        for tag in tags(&page).iter().skip_while(|tag| *tag != "body") {
            let word = tag.split([' ', '/']).next().unwrap_or_default();
            if tag.ends_with('/') || VOID.contains(&word) {
                continue;
            }
            match tag.strip_prefix('/') {
                Some(end) => assert_eq!(open.pop().as_deref(), Some(end), "{name}"),
                None => open.push(word.to_owned()),
            }
        }
        assert_eq!(open, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_verdict_stands_first_in_words() {
    let data = testdata::regression();
    let page = of_comparison(&data.compared(&[]));
    let body = page.split_once("<h1").expect("a heading").1;
    assert!(body.contains("✗</span><span>Regressed</span>"), "{}", &body[..200]);
    assert!(body.find("Regressed").expect("verdict") < body.find("<table").expect("a table"));
}

#[test]
fn every_table_and_plot_of_numbers_has_its_accelerator() {
    let run = testdata::run();
    let data = testdata::regression();
    for page in [of_comparison(&data.compared(&[&run])), of_run(&run)] {
        for section in
            page.split("<section").skip(1).filter(|it| it.contains("class=\"number\"") || it.contains("<svg"))
        {
            let heading = section.split("</h2>").next().expect("a heading");
            assert!(heading.contains("<span class=\"badge\">tcg</span>"), "{heading}");
        }
    }
}

#[test]
fn a_report_is_of_bounded_size_and_says_what_it_left_out() {
    let run = testdata::run();
    let usual = of_comparison(&testdata::regression().compared(&[&run]));
    assert!(usual.len() < 300 << 10, "{} bytes", usual.len());
    let huge = of_comparison(&testdata::huge(2000).compared(&[&run]));
    assert!(huge.len() < 2 << 20, "{} bytes", huge.len());
    assert!(huge.contains("5600 more metrics") && huge.contains("5940 more plots"));
}

#[test]
fn the_slope_of_each_side_is_told() {
    let page = of_comparison(&testdata::regression().compared(&[]));
    assert!(page.contains("Each namespace more costs 99"), "of base");
    assert!(page.contains(" → 15."), "of head");
}

#[test]
fn the_same_record_makes_the_same_page() {
    let run = testdata::run();
    assert_eq!(of_run(&run), of_run(&run));
}

/// Where `scripts/test-html` asks for them, the pages are left for a browser.
#[test]
fn pages_are_left_for_a_browser_that_asks() {
    let Some(directory) = std::env::var_os("KREGRESS_PAGES") else { return };
    let directory = std::path::PathBuf::from(directory);
    for (name, page) in pages() {
        std::fs::write(directory.join(format!("{name}.html")), page).expect("write a page");
    }
}
