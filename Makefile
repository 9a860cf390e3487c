# The commands of a day's work; each is one line that runs without make as well. See CONTRIBUTING.md.

.PHONY: help run check fix test test-all bench

help: ## What there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

run: ## A node on loopback with the defaults
	cargo run --release --locked -- serve

check: ## Format, lints, house rules; writes no source file
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked --quiet --test tidy

fix: ## What the tools can correct by themselves
	cargo clippy --locked --all-targets --fix --allow-dirty --allow-staged
	cargo fmt

test: ## Unit and property tests, few histories
	cargo test --locked --lib

test-all: ## Every test, with what they need installed
	scripts/test

bench: ## The figures of docs/benchmarks.md
	cargo bench --locked --bench decision
	cargo bench --locked --bench loopback
