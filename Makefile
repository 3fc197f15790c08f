# The verbs of this repository: one line each, everything longer is a script or cargo's business.

export PATH := $(PATH):/usr/sbin:/sbin:$(HOME)/.cargo/bin
# Who may make loop devices and mount: root, or sudo for the one command that needs it.
ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PREFIX ?= /usr/local

.DEFAULT_GOAL := help

help: ## print the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

setup: ## install what is missing to build and test
	@packaging/setup

build: ## the optimised program, target/release/mtctl (installs what is missing)
	@packaging/setup build && cargo build --release --locked -p mtctl -p mt-demo

demo: build ## see it work on loop devices: disks, check, prepare, apply, and refusals
	$(ROOT) target/release/mtctl-demo

test: setup ## everything: style, lints, documentation, licences, all tests
	@tests/run

test-vm: setup ## the cases in machines alone; CASE=part of a name, or --images for boot times
	cargo test --locked -p vm-images --test vm -- $(CASE)

lint: ## clippy, with every warning an error
	cargo clippy --workspace --all-targets --locked -- -D warnings

doc: ## the documentation of the crates, with every warning an error
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

fmt: ## format the code
	cargo fmt --all

man: ## write man pages and completions anew from the command line's definition
	MTCTL_UPDATE=1 cargo test --locked -p mtctl --test generated

audit: ## licences of all dependencies, and the style rules
	cargo fetch --locked && cargo test --locked -p mt-tests --test tidy

bench: ## measure whole commands against their peers; writes bench/results.json (needs root)
	@packaging/setup bench && cargo build --release --locked -p mtctl -p mt-bench && $(ROOT) target/release/mt-bench

profile: ## where the time goes, by thread and stage; writes bench/profile.json (needs root)
	@packaging/setup bench && RUSTFLAGS=-Cforce-frame-pointers=yes cargo build --release --locked --target-dir target/profile -p mtctl -p mt-bench && $(ROOT) target/profile/release/mt-bench profile

fuzz: ## one minute for each decoder (needs cargo-fuzz)
	@fuzz/run

install: build ## install program, man pages and completions below PREFIX (/usr/local)
	$(ROOT) packaging/install $(PREFIX)

clean: ## remove everything that was built
	cargo clean

.PHONY: help setup build demo test test-vm lint doc fmt man audit bench profile fuzz install clean
