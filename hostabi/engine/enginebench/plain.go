package enginebench

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/towpath/towpath/hostabi"
)

// plain runs the measured guests as wazero's documentation would have it: the module as it was built, compiled once,
// instantiated and initialized for each turn.
type plain struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
}

func newPlain(ctx context.Context, wasm []byte) (*plain, error) {
	p := &plain{runtime: wazero.NewRuntime(ctx)}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, p.runtime); err != nil {
		return nil, err
	}
	b := p.runtime.NewHostModuleBuilder(hostabi.Module)
	for name, f := range map[string]struct {
		params []api.ValueType
		call   func(h *host, m api.Memory, s []uint64) uint32
	}{
		"take": {[]api.ValueType{api.ValueTypeI32, api.ValueTypeI32}, func(h *host, m api.Memory, s []uint64) uint32 {
			m.Write(uint32(s[0]), h.request[:min(len(h.request), int(uint32(s[1])))])
			return uint32(len(h.request))
		}},
		"request": {nil, func(h *host, _ api.Memory, _ []uint64) uint32 { return uint32(len(h.request)) }},
		"emit": {[]api.ValueType{api.ValueTypeI32, api.ValueTypeI32}, func(h *host, m api.Memory, s []uint64) uint32 {
			m.Read(uint32(s[0]), uint32(s[1]))
			return h.emit()
		}},
		"wait":   {[]api.ValueType{api.ValueTypeI32, api.ValueTypeI64}, func(*host, api.Memory, []uint64) uint32 { return 0 }},
		"finish": {[]api.ValueType{api.ValueTypeI32, api.ValueTypeI32}, func(*host, api.Memory, []uint64) uint32 { return 0 }},
	} {
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, s []uint64) {
			r := f.call(ctx.Value(hostKey{}).(*host), m.Memory(), s)
			s[0] = uint64(r)
		}), f.params, []api.ValueType{api.ValueTypeI32}).Export(name)
	}
	if _, err := b.Instantiate(ctx); err != nil {
		return nil, err
	}
	var err error
	p.compiled, err = p.runtime.CompileModule(ctx, wasm)
	return p, err
}

type hostKey struct{}

func (p *plain) run(ctx context.Context, h *host) error {
	ctx = context.WithValue(ctx, hostKey{}, h)
	m, err := p.instance(ctx)
	if err != nil {
		return err
	}
	defer m.Close(ctx)
	code, err := m.ExportedFunction(hostabi.ExportTurn).Call(ctx)
	if err == nil && code[0] != 0 {
		err = fmt.Errorf("plain turn returned %d", code[0])
	}
	return err
}

func (p *plain) instance(ctx context.Context) (api.Module, error) {
	return p.runtime.InstantiateModule(ctx, p.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions(hostabi.ExportInitialize))
}

func (p *plain) close(ctx context.Context) { p.runtime.Close(ctx) }
