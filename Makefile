# Two commands for people: `make run` and `make test`. The rest serves them.

SHELL := /bin/bash
CARGO ?= cargo

.DEFAULT_GOAL := run
.PHONY: run test lint rings boots deps virtme-ng clean

# Builds kregress and the default kernel, boots it, runs the smoke suite.
run: deps
	$(CARGO) build --release --locked
	target/release/kregress run $(ARGS)

# Everything that CI runs.
test: deps virtme-ng lint rings boots

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features --locked -- -D warnings

# Pure tests, and the whole command line against a fake QEMU: no kernel needed.
rings:
	$(CARGO) test --workspace --locked

# Real kernels under TCG, on both backends; the store keeps what is built.
boots: deps virtme-ng
	scripts/test-boots

# What make run and make test need of the system.
deps:
	@scripts/install-deps

# virtme-ng in a virtual environment of kregress's own, for the second backend.
virtme-ng: deps
	@scripts/install-virtme-ng

clean:
	$(CARGO) clean
