# Needs clang and lld.
CLANG ?= clang

@NAME@.wasm: @NAME@.c towpath.h
	$(CLANG) --target=wasm32 -O2 -Wall -nostdlib -Wl,--no-entry -Wl,--strip-all -o $@ $<
