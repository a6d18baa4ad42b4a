package engine

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/abitest"
)

// ours is this engine as the conformance kit sees it.
type ours struct{ *Module }

func (o ours) Turn(ctx context.Context, world hostabi.Host) (code int32, err error) {
	err = o.Run(ctx, world)
	if trap := (*Trap)(nil); errors.As(err, &trap) && trap.Reason == ReasonExit && trap.Message[:8] == "turn_v1 " {
		return trap.Code, nil
	}
	return 0, err
}

func TestTheEngineKeepsToTheABI(t *testing.T) {
	for name, config := range map[string]Config{"compiled": {LoadInProcess: true}, "copied": {LoadInProcess: true, CopyMemory: true}, "interpreted": {LoadInProcess: true, Interpreter: true}} {
		t.Run(name, func(t *testing.T) {
			e := open(t, config)
			for _, s := range []abitest.Suite{abitest.Turn, abitest.WASI} {
				s.Run(t, ours{load(t, e, s.Guest(), Limits{})})
			}
		})
	}
}

// A function that is added to the engine has to be added to the kit.
func TestEveryHostFunctionHasATestInTheKit(t *testing.T) {
	for _, c := range []struct {
		suite     abitest.Suite
		functions []function
	}{{abitest.Turn, turnFunctions}, {abitest.WASI, wasiFunctions}} {
		for _, f := range c.functions {
			absent := slices.ContainsFunc(wasiAbsent(), func(a function) bool { return a.name == f.name })
			tested := slices.ContainsFunc(c.suite.Tests, func(t abitest.Test) bool { return t.Name == f.name })
			if !tested && !absent {
				t.Errorf("%s.%s has no test in package abitest", c.suite.Module, f.name)
			}
		}
		for _, f := range c.suite.Functions() {
			if find(c.functions, f.Name) == nil {
				t.Errorf("package abitest tests %s.%s, which the engine lacks", c.suite.Module, f.Name)
			}
		}
	}
}
