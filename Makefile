# Two commands for people: `make run` and `make test`. The rest serves them.

SHELL := /bin/bash
CARGO ?= cargo

.DEFAULT_GOAL := run
.PHONY: run test lint workflows rings boots junit html fuzz faults demo demo-bisect deps test-deps virtme-ng bench clean

# Builds kregress and the default kernel, boots it, runs the smoke suite.
run: deps
	$(CARGO) build --release --locked
	$${CARGO_TARGET_DIR:-target}/release/kregress run $(ARGS)

# Everything that CI runs.
test: test-deps virtme-ng lint workflows rings fuzz boots junit html

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features --locked -- -D warnings

# The workflows and the action, by linters of others; `rings` executes their steps.
workflows:
	@scripts/install-deps --no-source nodejs npm shellcheck
	scripts/test-workflows

# Pure tests, and the whole command line against a fake QEMU: no kernel needed.
rings:
	$(CARGO) test --workspace --locked

# Random bytes for what reads the guest, a minute for each target; `scripts/fuzz 3600
# console` goes on longer.
fuzz: test-deps
	scripts/fuzz 60

# Real kernels under TCG, on both backends; the store keeps what is built.
boots: test-deps virtme-ng
	scripts/test-boots

# The JUnit of a hostile run and of a real one, read by programs of others.
junit: test-deps boots
	scripts/test-junit

# HTML reports in a real browser, at two widths, in light and dark; RUNS="NAME..."
# looks at runs besides. SHOTS=DIR keeps the pictures.
html: deps
	@scripts/install-deps chromium fonts-dejavu-core
	scripts/test-html $(RUNS)

# Deliberate faults in the kernel, and the tests that notice each: FAULTS="NAME..."
# runs some. About two minutes for each one, the first time.
faults: deps
	$(CARGO) build --locked
	scripts/faults $(FAULTS)

# A regression of Debian's kernels, found: from the packages to the report.
demo: deps
	$(CARGO) build --release --locked
	KREGRESS=$${CARGO_TARGET_DIR:-target}/release/kregress demos/teardown-regression

# The commit that made it slower, found: a history made from Debian's source packages.
demo-bisect: deps
	@scripts/install-deps git
	$(CARGO) build --release --locked
	KREGRESS=$${CARGO_TARGET_DIR:-target}/release/kregress demos/bisect-debian/run

# Time from exec to the guest, against bare QEMU and against virtme-ng.
bench: deps virtme-ng
	$(CARGO) build --release --locked
	scripts/bench-boot

# What make run needs of the system, and what the tests need in addition.
deps:
	@scripts/install-deps

test-deps:
	@scripts/install-deps git nodejs npm g++ stress-ng

# virtme-ng in a virtual environment of kregress's own, for the second backend.
virtme-ng: deps
	@scripts/install-virtme-ng

clean:
	$(CARGO) clean
