# Needs npm; ASC may name an AssemblyScript compiler that is there.
ASC ?= npx --yes -p assemblyscript asc

@NAME@.wasm: @NAME@.ts towpath.ts
	$(ASC) $< -O --runtime stub --exportStart _initialize --use abort= -o $@
