package engine

import (
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"

	"github.com/towpath/towpath/hostabi"
)

// The contract names what a guest can import, no more and no less.
func TestEveryFunctionIsInTheContract(t *testing.T) {
	if len(turnFunctions) != len(hostabi.Functions) {
		t.Fatalf("%d functions are bound, the contract has %d", len(turnFunctions), len(hostabi.Functions))
	}
	types := map[api.ValueType]string{i32: "i32", i64: "i64"}
	for i, f := range turnFunctions {
		said := hostabi.Functions[i]
		var params []string
		for _, p := range strings.Split(said.Params, ", ") {
			if _, kind, ok := strings.Cut(p, " "); ok {
				params = append(params, kind)
			}
		}
		var bound []string
		for _, p := range f.params {
			bound = append(bound, types[p])
		}
		result, _, _ := strings.Cut(said.Result, " ")
		if f.name != said.Name || strings.Join(params, " ") != strings.Join(bound, " ") || result != types[f.result[0]] {
			t.Errorf("%s(%v) → %s is bound, the contract says %s(%s) → %s", f.name, bound, types[f.result[0]], said.Name, said.Params, said.Result)
		}
	}
}

// What has an effect is refused once the turn has finished, as the contract says.
func TestWhatIsRefusedAfterFinish(t *testing.T) {
	for i, f := range turnFunctions {
		listed := false
		for _, c := range hostabi.Functions[i].Errors {
			listed = listed || c == hostabi.ESTATE
		}
		if effect := hostabi.Functions[i].Journal != ""; effect != listed {
			t.Errorf("%s: a journal keeps it %v, refused after finish %v", f.name, effect, listed)
		}
		if !listed {
			continue
		}
		s := make([]uint64, 4)
		done := &turn{finished: true, call: f.name}
		f.handle(done, nil, s)
		if int32(s[0]) != -int32(hostabi.ESTATE) {
			t.Errorf("%s after finish gives %d", f.name, int32(s[0]))
		}
	}
}
