package engine

import (
	"context"
	"errors"

	"github.com/tetratelabs/wazero/api"

	"github.com/towpath/towpath/hostabi"
)

// template makes instances of one module, all in the same state.
type template struct {
	machine *machine
	source  source
	globals []global
	size    int64 // bytes of memory of a new instance
	counter string
	warm    func() *initHost // the world of _initialize where every instance has to run it; nil otherwise
	limits  Limits
	budget  *budget
	places  places
	stacks  stacks
}

// call runs an export in a fresh instance and returns nil or a *Trap.
func (t *template) call(ctx context.Context, export string, host hostabi.Host) error {
	i, err := t.instance()
	if err != nil {
		return err
	}
	defer i.close()
	return i.call(ctx, export, host)
}

// instance is one instance and its memory.
type instance struct {
	template *template
	module   api.Module
	memory   *memory
	counter  api.MutableGlobal
}

func (t *template) instance() (*instance, error) {
	space, err := t.source.space(t.limits.Memory)
	if err == nil && !t.budget.take(t.size) {
		space.release()
		err = ErrMemoryBudget
	}
	if err != nil {
		return nil, &Trap{Reason: ReasonHost, Message: "no memory for an instance", cause: err}
	}
	i := &instance{template: t, memory: &memory{space: space, budget: t.budget, size: t.size, max: t.limits.Memory}}
	if i.module, err = t.machine.instantiate(i.memory); err != nil {
		return nil, &Trap{Reason: ReasonHost, Message: "no instance", cause: err}
	}
	for _, g := range t.globals {
		i.module.ExportedGlobal(g.Name).(api.MutableGlobal).Set(g.Value)
	}
	i.counter = i.module.ExportedGlobal(t.counter).(api.MutableGlobal)
	return i, nil
}

func (i *instance) close() { i.module.Close(context.Background()) }

func (i *instance) call(ctx context.Context, export string, host hostabi.Host) error {
	t := newTurn(ctx, host, i)
	if warm := i.template.warm; warm != nil {
		t.host = warm()
		if err := t.run(i.module.ExportedFunction(hostabi.ExportInitialize)); err != nil {
			return err
		}
		t.host = host
	}
	return t.run(i.module.ExportedFunction(export))
}

func (t *template) close(ctx context.Context) error {
	return errors.Join(t.machine.close(ctx), t.source.close())
}
