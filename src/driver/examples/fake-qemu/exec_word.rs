//! The command that virtme-ng puts on the kernel command line for its init:
//! ``virtme.exec=`BASE64` ``, a line for a shell.

/// Words of the command, if the command line has one that is whole.
pub(crate) fn find(cmdline: &str) -> Option<Vec<String>> {
    let encoded = cmdline.split_once("virtme.exec=`")?.1.split_once('`')?.0;
    let line = String::from_utf8(decode(encoded)?).ok()?;
    split(&line)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').bytes().map(|digit| match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    });
    let digits = digits.collect::<Option<Vec<u8>>>()?;
    let bytes = digits.chunks(4).flat_map(|four| {
        let bits = four.iter().fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit));
        let bits = bits << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    Some(bytes.collect())
}

/// Splits a line as a shell does that finds nothing but quotes to obey.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' => words.extend(word.take()),
            '\'' => {
                let quoted = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        other => quoted.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_found_among_other_words() {
        // printf "/k __agent '/run dir/plan'" | base64
        let line = "quiet virtme.exec=`L2sgX19hZ2VudCAnL3J1biBkaXIvcGxhbic=` ro";
        let words = find(line).expect("a command");
        assert_eq!(words, ["/k", "__agent", "/run dir/plan"]);
    }

    #[test]
    fn a_command_that_is_cut_off_is_none() {
        assert_eq!(find("quiet virtme.exec=`L2sgX19hZ2Vud"), None);
        assert_eq!(find("quiet"), None);
    }
}
