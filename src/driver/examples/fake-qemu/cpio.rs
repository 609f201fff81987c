//! Reads files out of an initramfs: uncompressed `newc` archives, one behind
//! the other, with zeros between them, as the kernel takes them
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

const HEADER: usize = 110;
const TRAILER: &str = "TRAILER!!!";

/// Why an initramfs cannot be unpacked; in the kernel's words where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CpioError {
    /// Something else than an archive, perhaps a compressed one.
    #[error("no cpio magic")]
    Magic,
    /// A header that holds no hexadecimal numbers.
    #[error("broken header")]
    Header,
    /// The archive ends in the middle of an entry.
    #[error("unexpected EOF")]
    Eof,
}

/// The content of a file, given by its path without leading slash. The last
/// archive that has it counts, as it would in the kernel.
pub(crate) fn find<'a>(archives: &'a [u8], path: &str) -> Result<Option<&'a [u8]>, CpioError> {
    let mut found = None;
    let mut at = 0;
    while at < archives.len() {
        // Archives may be padded to any length.
        if archives[at] == 0 {
            at += 1;
            continue;
        }
        let entry = entry(archives, at)?;
        if entry.name == path || entry.name.strip_prefix("./") == Some(path) {
            found = Some(entry.data);
        }
        at = entry.next;
    }
    Ok(found)
}

struct Entry<'a> {
    name: &'a str,
    data: &'a [u8],
    next: usize,
}

fn entry(bytes: &[u8], at: usize) -> Result<Entry<'_>, CpioError> {
    let header = bytes.get(at..at + HEADER);
    let magic = bytes.get(at..at + 6).ok_or(CpioError::Magic)?;
    if magic != b"070701" && magic != b"070702" {
        return Err(CpioError::Magic);
    }
    let header = header.ok_or(CpioError::Eof)?;
    let field = |number: usize| {
        let digits = &header[6 + 8 * number..14 + 8 * number];
        let text = std::str::from_utf8(digits).map_err(|_| CpioError::Header)?;
        u32::from_str_radix(text, 16).map(|value| value as usize).map_err(|_| CpioError::Header)
    };
    let (size, name_size) = (field(6)?, field(11)?);
    let name_at = at + HEADER;
    let name = bytes.get(name_at..name_at + name_size).ok_or(CpioError::Eof)?;
    let name = name.strip_suffix(b"\0").ok_or(CpioError::Header)?;
    let name = std::str::from_utf8(name).map_err(|_| CpioError::Header)?;
    // Padding counts from the beginning of the archive, which is itself aligned.
    let data_at = (name_at + name_size).next_multiple_of(4);
    let data = bytes.get(data_at..data_at + size).ok_or(CpioError::Eof)?;
    let next = if name == TRAILER { data_at } else { (data_at + size).next_multiple_of(4) };
    Ok(Entry { name, data, next })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An archive with these files and a trailer.
    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, data) in files.iter().copied().chain([(TRAILER, &b""[..])]) {
            let mut fields = [0; 13];
            (fields[6], fields[11]) = (data.len(), name.len() + 1);
            bytes.extend_from_slice(b"070701");
            for field in fields {
                bytes.extend_from_slice(format!("{field:08X}").as_bytes());
            }
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend_from_slice(data);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn a_file_is_found_in_any_of_several_archives_and_the_last_one_counts() {
        let mut bytes = archive(&[("init", b"#!"), ("kregress", b""), ("kregress/plan.json", b"old")]);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes.extend(archive(&[("./kregress/plan.json", b"the plan"), ("x", b"12345")]));
        assert_eq!(find(&bytes, "kregress/plan.json"), Ok(Some(&b"the plan"[..])));
        assert_eq!(find(&bytes, "x"), Ok(Some(&b"12345"[..])));
        assert_eq!(find(&bytes, "init"), Ok(Some(&b"#!"[..])));
        assert_eq!(find(&bytes, "plan.json"), Ok(None));
    }

    #[test]
    fn nothing_is_found_in_nothing() {
        assert_eq!(find(b"", "init"), Ok(None));
        assert_eq!(find(&[0; 100], "init"), Ok(None));
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        assert_eq!(find(b"\x1f\x8b\x08 compressed", "init"), Err(CpioError::Magic));
        assert_eq!(find(b"0707", "init"), Err(CpioError::Magic));
    }

    #[test]
    fn an_archive_that_ends_early_is_refused_wherever_it_is_cut() {
        let bytes = archive(&[("kregress/plan.json", b"the plan")]);
        let trailer = bytes.len() - archive(&[]).len();
        for end in 6..trailer {
            assert_eq!(find(&bytes[..end], "init"), Err(CpioError::Eof), "cut at {end}");
        }
    }

    #[test]
    fn a_header_without_numbers_is_refused() {
        let mut bytes = archive(&[("a", b"")]);
        bytes[60] = b'-';
        assert_eq!(find(&bytes, "a"), Err(CpioError::Header));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(mut bytes: Vec<u8>, at in 0_usize..300, name in "[a-z/.]{0,20}") {
            let _ = find(&bytes, &name);
            let mut damaged = archive(&[("init", b"#!"), (&name, &bytes)]);
            bytes.truncate(20);
            let end = damaged.len().min(at + bytes.len());
            let start = at.min(end);
            damaged.splice(start..end, bytes);
            let _ = find(&damaged, "init");
        }
    }
}
