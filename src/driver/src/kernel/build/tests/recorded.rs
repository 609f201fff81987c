//! What is recorded of a kernel for those who compare many: what it lacks, what it
//! boots, and what it is made of.

use super::*;

#[test]
fn a_kernel_that_lacks_what_was_asked_for_is_no_answer_to_who_refuses_that() {
    let mut fixture = Fixture::new();
    let spec = plain(&fixture);
    let drop_it = "sed -i '/NETKIT/d' \"$out/.config\"";
    fixture.tool("olddefconfig", drop_it);
    fs::write(fixture.path().join("linux/Kconfig"), "config NET_NS\n\tbool \"x\"\n").expect("write");
    fragment(&mut fixture, "# Needed.\nCONFIG_NET_NS=y\n# Pairs.\nCONFIG_NETKIT=y\n");
    let strict = |fixture: &Fixture| refused(fixture, &spec);
    assert!(strict(&fixture).contains("CONFIG_NETKIT: asked y, got n; unknown to this kernel"));
    fixture.env.lacking = Lacking::Recorded;
    fixture.calls();
    for (found, calls) in [("built", &ALL[..]), ("hit", &[])] {
        let kernel = get(&fixture, &spec).expect("kernel");
        assert_eq!(kernel.info.facts["store"], found);
        assert_eq!(kernel.info.facts["config-absent"], "CONFIG_NETKIT: lacking in this revision");
        assert_eq!(fixture.calls(), calls);
    }
    fixture.env.lacking = Lacking::Refused;
    assert_eq!(kernel::stored(&spec, &fixture.env).expect("look"), None);
    assert!(strict(&fixture).contains("CONFIG_NETKIT"));
}

#[test]
fn a_kernel_that_lacks_nothing_answers_both() {
    let mut fixture = Fixture::new();
    let spec = plain(&fixture);
    fixture.env.lacking = Lacking::Recorded;
    let built = get(&fixture, &spec).expect("kernel");
    assert!(!built.info.facts.contains_key("config-absent"));
    for lacking in [Lacking::Refused, Lacking::Recorded] {
        fixture.env.lacking = lacking;
        let found = kernel::stored(&spec, &fixture.env).expect("look").expect("found");
        assert_eq!(found.image, built.image);
    }
}

#[test]
fn the_digest_of_what_boots_covers_image_and_modules() {
    let fixture = Fixture::new();
    let spec = plain(&fixture);
    let image = get(&fixture, &spec).expect("kernel").image_digest;
    assert_eq!(image, Some(Digest::of(testing::vmlinux(RELEASE, 18)).to_string()));
    // The same image with modules, and with a module that differs.
    let digest = |module: &str, file: &str| {
        fs::write(fixture.path().join("linux/net/core/dev.c"), file).expect("write");
        fixture.tool("olddefconfig", "echo CONFIG_MODULES=y >>\"$out/.config\"");
        fixture.set_module(module);
        get(&fixture, &spec).expect("kernel").image_digest.expect("known")
    };
    let (one, same, other) = (digest("ko", "int a;\n"), digest("ko", "int b;\n"), digest("ok", "int c;\n"));
    assert_eq!(one, same);
    assert_ne!(one, other);
    assert_ne!(Some(one), image);
}

#[test]
fn the_files_of_a_kernel_are_stored_with_it_where_they_are_known() {
    let fixture = Fixture::new();
    let spec = plain(&fixture);
    let unknown = get(&fixture, &spec).expect("kernel");
    assert_eq!(unknown.source_files().expect("no error"), None);
    fs::write(fixture.path().join("linux/net/core/dev.c"), "int other;\n").expect("write");
    fixture.tool(
        "compile",
        &format!(
            "{}\necho 'savedcmd_vmlinux.o := ld -r -o vmlinux.o init/main.o' >\"$out/.vmlinux.o.cmd\"\n\
             mkdir -p \"$out/init\"\n\
             printf 'source_init/main.o := %s/init/main.c\\n' '{}' >\"$out/init/.main.o.cmd\"",
            testing::COMPILE,
            fixture.path().join("linux").display()
        ),
    );
    for _ in ["built", "stored"] {
        let kernel = get(&fixture, &spec).expect("kernel");
        let files = kernel.source_files().expect("no error").expect("known");
        assert_eq!(files.into_iter().collect::<Vec<_>>(), ["init/main.c"]);
    }
}
