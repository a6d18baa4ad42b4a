# Needs a Rust compiler with the target wasm32-unknown-unknown.
RUSTC ?= rustc

@NAME@.wasm: @NAME@.rs towpath.rs
	$(RUSTC) --edition 2021 --target wasm32-unknown-unknown --crate-type cdylib -C opt-level=s -C lto=yes -C panic=abort -C strip=symbols -o $@ $<
