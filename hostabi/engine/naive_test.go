package engine

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/abitest"
)

// Another host passes the kit too: it says what the ABI is, and not what this engine does.
func TestAPlainHostKeepsToTheABI(t *testing.T) {
	n := newNaive(t, abitest.Turn)
	abitest.Turn.Run(t, n)
}

// A host that does one thing wrong is told so.
func TestTheKitNoticesAHostThatIsWrong(t *testing.T) {
	n := newNaive(t, abitest.Turn)
	for _, n.wrong = range []string{
		"keeps what was taken", "keeps what was parked", "goes on after finish", "refuses what is outside", "knows no limits", "writes where it only reads",
		"runs turns in one memory",
	} {
		noticed := false
		for i := 0; i < len(abitest.Turn.Tests) && !noticed; i++ {
			_, err := abitest.Turn.Check(t.Context(), i, n)
			noticed = err != nil
		}
		if !noticed {
			t.Errorf("a host that %s passes", n.wrong)
		}
	}
}

// naive is a second host: wazero as it comes, with the ABI written down once more and nothing shared with the engine. It has
// no meter and no WASI.
type naive struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	wrong    string // what it does against the ABI
	kept     api.Module
}

// visit is one turn of a naive host.
type visit struct {
	world    hostabi.Host
	parked   []byte
	finished bool
}

type visitKey struct{}

var errOutside = errors.New("a pointer is outside of memory")

// refuse parks a refusal's message and gives its code.
func (v *visit) refuse(err error) int64 {
	refusal := (*hostabi.Error)(nil)
	if !errors.As(err, &refusal) {
		panic(err)
	}
	v.parked = []byte(refusal.Message)
	return -int64(refusal.Code)
}

func (v *visit) answer(n uint32, err error) int64 {
	if err != nil {
		return v.refuse(err)
	}
	return int64(n)
}

func (v *visit) key(k []byte) (string, error) {
	if len(k) > hostabi.MaxKey {
		return "", hostabi.Errorf(hostabi.E2BIG, "a long key")
	}
	if len(k) == 0 || !utf8.Valid(k) || bytes.Contains(k, []byte{0}) {
		return "", hostabi.Errorf(hostabi.EINVAL, "a key is text")
	}
	return string(k), nil
}

// naiveCalls gives each function its meaning: texts are what its pointers lead to, numbers its other arguments.
var naiveCalls = map[string]struct {
	limits []int // of its texts
	effect bool  // refused after finish
	call   func(ctx context.Context, v *visit, texts [][]byte, numbers []int64) int64
}{
	"request": {call: func(_ context.Context, v *visit, _ [][]byte, _ []int64) int64 {
		v.parked = v.world.Request()
		return int64(len(v.parked))
	}},
	"now": {call: func(_ context.Context, v *visit, _ [][]byte, _ []int64) int64 { return v.world.Now() }},
	"random": {limits: []int{math.MaxInt}, call: func(_ context.Context, v *visit, texts [][]byte, _ []int64) int64 {
		v.world.Random(texts[0])
		return 0
	}},
	"log": {limits: []int{math.MaxInt}, call: func(_ context.Context, v *visit, texts [][]byte, n []int64) int64 {
		if n[0] < -1 || n[0] > 2 {
			return v.refuse(hostabi.Errorf(hostabi.EINVAL, "no such level"))
		}
		v.world.Log(int32(n[0]), texts[0][:min(len(texts[0]), hostabi.MaxLog)])
		return 0
	}},
	"emit": {[]int{hostabi.MaxEvent}, true, func(ctx context.Context, v *visit, texts [][]byte, _ []int64) int64 {
		return v.answer(v.world.Emit(ctx, texts[0]))
	}},
	"http_open": {[]int{hostabi.MaxHead, hostabi.MaxRequest}, true, func(ctx context.Context, v *visit, texts [][]byte, _ []int64) int64 {
		return v.answer(v.world.HTTPOpen(ctx, texts[0], texts[1]))
	}},
	"proc_open": {[]int{hostabi.MaxHead}, true, func(ctx context.Context, v *visit, texts [][]byte, _ []int64) int64 {
		return v.answer(v.world.ProcOpen(ctx, texts[0]))
	}},
	"proc_write": {[]int{hostabi.MaxRequest}, true, func(ctx context.Context, v *visit, texts [][]byte, n []int64) int64 {
		return v.answer(0, v.world.ProcWrite(ctx, uint32(n[0]), texts[0]))
	}},
	"proc_fill": {[]int{hostabi.MaxRequest}, true, func(ctx context.Context, v *visit, texts [][]byte, n []int64) int64 {
		return v.answer(0, v.world.ProcFill(ctx, uint32(n[0]), texts[0]))
	}},
	"wait": {nil, true, func(ctx context.Context, v *visit, _ [][]byte, n []int64) int64 {
		r, err := v.world.Wait(ctx, uint32(n[0]), time.Duration(n[1]))
		if err != nil {
			return v.refuse(err)
		} else if r == nil {
			return 0
		}
		v.parked = r.AppendTo(nil)
		return int64(len(v.parked))
	}},
	"close": {nil, true, func(ctx context.Context, v *visit, _ [][]byte, n []int64) int64 {
		return v.answer(0, v.world.Close(ctx, uint32(n[0])))
	}},
	"kv_get": {[]int{hostabi.MaxKey}, true, func(ctx context.Context, v *visit, texts [][]byte, _ []int64) int64 {
		key, err := v.key(texts[0])
		if err == nil {
			v.parked, err = v.world.KVGet(ctx, key)
		}
		return v.answer(uint32(len(v.parked)), err)
	}},
	"kv_set": {[]int{hostabi.MaxKey, hostabi.MaxValue}, true, func(ctx context.Context, v *visit, texts [][]byte, _ []int64) int64 {
		key, err := v.key(texts[0])
		if err == nil {
			err = v.world.KVSet(ctx, key, texts[1])
		}
		return v.answer(0, err)
	}},
	"finish": {[]int{hostabi.MaxResult}, true, func(ctx context.Context, v *visit, texts [][]byte, _ []int64) int64 {
		err := v.world.Finish(ctx, texts[0])
		v.finished = err == nil
		return v.answer(0, err)
	}},
}

// newNaive makes a host for the guest of a suite.
func newNaive(t *testing.T, s abitest.Suite) *naive {
	ctx := t.Context()
	n := &naive{runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())}
	t.Cleanup(func() { n.runtime.Close(context.Background()) })
	b := n.runtime.NewHostModuleBuilder(s.Module)
	for _, f := range s.Functions() {
		b.NewFunctionBuilder().WithGoModuleFunction(n.bind(f), values(f.Params), values(f.Result)).Export(f.Name)
	}
	if _, err := b.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	var err error
	if n.compiled, err = n.runtime.CompileModule(ctx, s.Guest()); err != nil {
		t.Fatal(err)
	}
	return n
}

func values(signature string) (types []api.ValueType) {
	for _, p := range signature {
		if p == 't' {
			types = append(types, i64)
		} else {
			types = append(types, i32)
		}
	}
	return types
}

func (n *naive) bind(f abitest.Function) api.GoModuleFunc {
	does := naiveCalls[f.Name]
	return func(ctx context.Context, m api.Module, s []uint64) {
		v := ctx.Value(visitKey{}).(*visit)
		if f.Name == "take" {
			k := min(len(v.parked), int(uint32(s[1])))
			if !m.Memory().Write(uint32(s[0]), v.parked[:k]) {
				panic(errOutside)
			}
			s[0] = uint64(k)
			if n.wrong != "keeps what was taken" {
				v.parked = nil
			}
			return
		}
		if n.wrong != "keeps what was parked" {
			v.parked = nil
		}
		if does.effect && v.finished && n.wrong != "goes on after finish" {
			s[0] = uint64(v.refuse(hostabi.Errorf(hostabi.ESTATE, "it is over")))
			return
		}
		var texts [][]byte
		var numbers []int64
		for i, p := range f.Params {
			switch p {
			case 'p':
				text, inside := m.Memory().Read(uint32(s[i]), uint32(s[i+1]))
				if !inside && n.wrong == "refuses what is outside" {
					s[0] = uint64(v.refuse(hostabi.Errorf(hostabi.EINVAL, "outside")))
					return
				} else if !inside {
					panic(errOutside)
				}
				texts = append(texts, text)
			case 'n':
				numbers = append(numbers, int64(int32(s[i])))
			case 't':
				numbers = append(numbers, int64(s[i]))
			}
		}
		for i, text := range texts {
			if len(text) > does.limits[i] && n.wrong != "knows no limits" {
				s[0] = uint64(v.refuse(hostabi.Errorf(hostabi.E2BIG, "too long")))
				return
			}
		}
		s[0] = uint64(does.call(ctx, v, texts, numbers))
		if n.wrong == "writes where it only reads" && len(texts) > 0 && len(texts[0]) > 0 {
			texts[0][0]++
		}
	}
}

func (n *naive) Turn(ctx context.Context, world hostabi.Host) (int32, error) {
	m := n.kept
	if m == nil {
		var err error
		if m, err = n.runtime.InstantiateModule(ctx, n.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions()); err != nil {
			return 0, err
		}
	}
	if n.wrong == "runs turns in one memory" {
		n.kept = m
	} else {
		defer m.Close(ctx)
	}
	results, err := m.ExportedFunction(hostabi.ExportTurn).Call(context.WithValue(ctx, visitKey{}, &visit{world: world}))
	if err != nil {
		return 0, err
	}
	return int32(results[0]), nil
}
