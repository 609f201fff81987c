//! The options of `vng`, and what it makes of them.

use crate::shell;

/// Options with a value that the driver may use, as long as the oldest version.
const VALUES: &[&str] =
    &["run", "qemu", "user", "cwd", "cpus", "memory", "append", "qemu-opts", "exec", "root", "rodir"];

/// Options without one.
const FLAGS: &[&str] = &["force-9p", "disable-microvm", "disable-kvm", "verbose"];

/// What came after 1.25.
const NEW_FLAGS: &[&str] = &["disable-monitor"];
const NEW_VALUES: &[&str] = &["shell"];

/// What was given.
#[derive(Debug, Default)]
pub(crate) struct Options {
    given: Vec<(String, Option<String>)>,
}

/// Whether a version makes its lines as 1.25 does.
fn is_old(version: &str) -> bool {
    version == "1.25"
}

impl Options {
    /// Reads them as argparse does.
    pub(crate) fn parse(args: &[String], version: &str) -> Result<Self, String> {
        let new = !is_old(version);
        let mut given = Vec::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let Some(option) = arg.strip_prefix("--") else {
                return Err(format!("unrecognized arguments: {arg}"));
            };
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (option, None),
            };
            if VALUES.contains(&name) || (new && NEW_VALUES.contains(&name)) {
                let value = value.or_else(|| args.next().cloned());
                let Some(value) = value else {
                    return Err(format!("argument --{name}: expected one argument"));
                };
                given.push((name.to_owned(), Some(value)));
            } else if FLAGS.contains(&name) || (new && NEW_FLAGS.contains(&name)) {
                given.push((name.to_owned(), None));
            } else {
                return Err(format!("unrecognized arguments: {arg}"));
            }
        }
        Ok(Self { given })
    }

    /// Takes what the user's configuration says over what was given.
    pub(crate) fn obey(&mut self, configuration: &serde_json::Value) {
        let options = configuration["default_opts"].as_object();
        for (name, value) in options.into_iter().flatten() {
            let value = value.as_str().map(str::to_owned);
            self.given.retain(|(given, _)| given != name);
            self.given.push((name.clone(), value));
        }
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(given, _)| given == name)?.1.as_deref()
    }

    /// The arguments of `virtme-run`, as a line for a shell. What is quoted here and
    /// what is not is what the version does.
    pub(crate) fn line(&self, version: &str) -> String {
        let mut line = String::new();
        let mut add = |option: &str, text: &str| {
            line.push_str(option);
            line.push(' ');
            line.push_str(text);
            line.push(' ');
        };
        let old = is_old(version);
        match self.value("exec") {
            Some(exec) if old => add("--script-sh", &format!("\"{exec}\"")),
            Some(exec) => add("--script-sh", &shell::quoted(exec)),
            None => {}
        }
        let words = self.value("append").unwrap_or_default();
        let words: Vec<String> = match old {
            true => words.split_whitespace().map(str::to_owned).collect(),
            false => shell::split(words).iter().map(|word| shell::quoted(word)).collect(),
        };
        words.iter().for_each(|word| add("--kopt", word));
        for (name, option) in [
            ("run", "--kimg"),
            ("qemu", "--qemu-bin"),
            ("user", "--user"),
            ("cwd", "--cwd"),
            ("cpus", "--cpus"),
            ("memory", "--memory"),
            ("root", "--root"),
            ("rodir", "--rodir"),
        ] {
            if let Some(value) = self.value(name) {
                add(option, value);
            }
        }
        for flag in ["force-9p", "disable-microvm", "disable-kvm", "verbose"] {
            if self.given.iter().any(|(name, _)| name == flag) {
                add(&format!("--{flag}"), "");
            }
        }
        add("--qemu-opts", self.value("qemu-opts").unwrap_or_default());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &[&str]) -> Vec<String> {
        line.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn an_option_of_a_later_version_is_refused_by_an_old_one() {
        let line = args(&["--disable-monitor"]);
        assert!(Options::parse(&line, "1.42").is_ok());
        let error = Options::parse(&line, "1.25").expect_err("refused");
        assert_eq!(error, "unrecognized arguments: --disable-monitor");
    }

    #[test]
    fn the_old_one_quotes_nothing_that_is_not_in_double_quotes() {
        let line = args(&["--exec", "a $b", "--append=x=(y) z", "--run", "/a b"]);
        let options = Options::parse(&line, "1.25").expect("options");
        assert_eq!(
            options.line("1.25"),
            "--script-sh \"a $b\" --kopt x=(y) --kopt z --kimg /a b --qemu-opts  "
        );
        let options = Options::parse(&line, "1.42").expect("options");
        assert_eq!(
            options.line("1.42"),
            "--script-sh 'a $b' --kopt 'x=(y)' --kopt z --kimg /a b --qemu-opts  "
        );
    }
}
