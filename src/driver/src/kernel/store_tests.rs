use super::*;
use std::time::{Duration, SystemTime};

struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = Store::new(dir.path().join("store"), dir.path().join("requests"));
    Fixture { dir, store }
}

fn meta() -> Meta {
    Meta {
        release: "6.12.117".into(),
        format: ImageFormat::Vmlinux,
        modules: Modules::None,
        compiler: "gcc 12".into(),
        config: Digest::of("config"),
        image: Digest::of("elf"),
        modules_digest: None,
        seconds: 228,
    }
}

fn staged(store: &Store, vmlinux: &str) -> Staged {
    let staged = store.stage().expect("stage");
    for (name, text) in [("vmlinux", vmlinux), ("bzImage", "bz"), ("config", "CONFIG_X=y\n")] {
        fs::write(staged.path().join(name), text).expect("write");
    }
    staged
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("read_dir");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_committed_kernel_is_found_by_its_key() {
    let Fixture { store, .. } = fixture();
    let key = Digest::of("key");
    assert_eq!(store.lookup(key), None);
    let entry = store.commit(staged(&store, "elf"), key, &meta()).expect("commit");
    assert_eq!(store.lookup(key), Some(entry.clone()));
    assert_eq!(fs::read_to_string(entry.image()).expect("image"), "elf");
    assert_eq!(fs::read_to_string(entry.config()).expect("config"), "CONFIG_X=y\n");
    assert_eq!(entry.modules(), None);
    assert_eq!(names(store.directory()), [key.to_string()]);
}

#[test]
fn modules_are_where_modprobe_expects_them() {
    let Fixture { store, .. } = fixture();
    let staged = staged(&store, "elf");
    fs::create_dir_all(staged.path().join("lib/modules/6.12.117/kernel")).expect("mkdir");
    let meta = Meta { modules: Modules::Some, ..meta() };
    let entry = store.commit(staged, Digest::of("key"), &meta).expect("commit");
    let modules = entry.modules().expect("modules");
    assert!(modules.ends_with("lib/modules/6.12.117") && modules.is_dir());
    fs::remove_dir_all(&modules).expect("remove");
    assert_eq!(store.lookup(Digest::of("key")), None, "an entry without its modules is none");
}

#[test]
fn an_entry_that_is_not_committed_is_never_seen() {
    let Fixture { store, .. } = fixture();
    let staged = staged(&store, "elf");
    assert_eq!(store.lookup(Digest::of("key")), None);
    drop(staged);
    assert_eq!(names(store.directory()), Vec::<String>::new());
}

#[test]
fn who_comes_second_takes_what_is_there() {
    let Fixture { store, .. } = fixture();
    let key = Digest::of("key");
    let (first, second) = (staged(&store, "first"), staged(&store, "second"));
    store.commit(first, key, &meta()).expect("first");
    let entry = store.commit(second, key, &meta()).expect("second");
    assert_eq!(fs::read_to_string(entry.image()).expect("image"), "first");
    assert_eq!(names(store.directory()), [key.to_string()], "nothing is left of the second");
}

#[test]
fn a_damaged_entry_is_none_and_is_replaced() {
    for damage in ["vmlinux", "bzImage", "config", "meta.json"] {
        let Fixture { store, .. } = fixture();
        let key = Digest::of("key");
        store.commit(staged(&store, "elf"), key, &meta()).expect("commit");
        let entry = store.directory().join(key.to_string());
        fs::write(entry.join(damage), "").expect("truncate");
        assert_eq!(store.lookup(key), None, "{damage}");
        let entry = store.commit(staged(&store, "elf"), key, &meta()).expect("again");
        assert_eq!(store.lookup(key), Some(entry), "{damage}");
        assert_eq!(names(store.directory()), [key.to_string()], "{damage}");
    }
}

#[test]
fn an_entry_of_another_format_is_none() {
    let Fixture { store, .. } = fixture();
    let key = Digest::of("key");
    store.commit(staged(&store, "elf"), key, &meta()).expect("commit");
    let path = store.directory().join(key.to_string()).join("meta.json");
    let text = fs::read_to_string(&path).expect("meta");
    fs::write(&path, text.replace("\"format\": 1", "\"format\": 2")).expect("write");
    assert_eq!(store.lookup(key), None);
}

#[test]
fn a_request_leads_to_its_kernel_as_long_as_that_is_there() {
    let Fixture { store, .. } = fixture();
    let (request, key) = (Digest::of("request"), Digest::of("key"));
    assert_eq!(store.recall(request), None);
    let answer =
        Answer { key, absent: vec!["NETKIT: since 6.7".into()], unverified: Some("no Kconfig".into()) };
    store.remember(request, &answer).expect("remember");
    assert_eq!(store.recall(request), None, "the kernel is not there yet");
    let entry = store.commit(staged(&store, "elf"), key, &meta()).expect("commit");
    assert_eq!(store.recall(request), Some((entry, answer)));
}

#[test]
fn a_damaged_request_is_none() {
    let Fixture { dir, store } = fixture();
    let (request, key) = (Digest::of("request"), Digest::of("key"));
    store.commit(staged(&store, "elf"), key, &meta()).expect("commit");
    store.remember(request, &Answer { key, absent: Vec::new(), unverified: None }).expect("remember");
    fs::write(dir.path().join(format!("requests/{request}.json")), "{\"format\": 1").expect("damage");
    assert_eq!(store.recall(request), None);
}

#[test]
fn every_input_changes_the_key() {
    let inputs = || Inputs { source: "s", config: "c", compiler: "g", flags: &[("A", "1")] };
    let keys = [
        inputs().key(),
        Inputs { source: "x", ..inputs() }.key(),
        Inputs { config: "x", ..inputs() }.key(),
        Inputs { compiler: "x", ..inputs() }.key(),
        Inputs { flags: &[("A", "2")], ..inputs() }.key(),
        Inputs { flags: &[], ..inputs() }.key(),
    ];
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[index + 1..].contains(key), "input {index}");
    }
    assert_eq!(inputs().key(), keys[0]);
}

#[test]
fn every_part_of_a_request_changes_its_name() {
    let asked = || Asked {
        source: "s",
        fragments: "f",
        base: None,
        compiler: "g",
        flags: &[("A", "1")],
        lacking: None,
    };
    let names = [
        asked().request(),
        Asked { source: "x", ..asked() }.request(),
        Asked { fragments: "x", ..asked() }.request(),
        Asked { base: Some(""), ..asked() }.request(),
        Asked { base: Some("x"), ..asked() }.request(),
        Asked { compiler: "x", ..asked() }.request(),
        Asked { flags: &[], ..asked() }.request(),
        Asked { lacking: Some("x"), ..asked() }.request(),
    ];
    for (index, name) in names.iter().enumerate() {
        assert!(!names[index + 1..].contains(name), "part {index}");
    }
}

#[test]
fn leftovers_are_removed_after_a_day_and_not_before() {
    let Fixture { store, .. } = fixture();
    let (old, young) = (store.directory().join(".partial-old"), store.directory().join(".partial-young"));
    for dir in [&old, &young] {
        fs::create_dir_all(dir).expect("mkdir");
    }
    let two_days_ago = u64::try_from(clock::unix_seconds()).expect("after 1970") - 2 * 86_400;
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(two_days_ago);
    fs::File::open(&old).expect("open").set_modified(time).expect("time");
    drop(store.stage().expect("stage"));
    assert!(!old.exists() && young.exists());
}

#[test]
fn a_store_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().expect("tempdir");
    fs::write(dir.path().join("store"), "a file").expect("write");
    let store = Store::new(dir.path().join("store"), dir.path().join("requests"));
    let error = store.stage().expect_err("a file");
    assert!(error.to_string().starts_with("cannot create `"), "{error}");
}
