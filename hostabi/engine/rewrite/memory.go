package rewrite

import "github.com/towpath/towpath/hostabi"

const pageSize = 1 << 16

func (m *module) readMemories(r *reader) error {
	n := r.count(2)
	if n > 1 {
		return refuse("keep one memory", "module has %d memories", n)
	}
	if n == 0 {
		return nil
	}
	l, err := readLimits(r, "memory")
	if err != nil || r.bad != "" {
		return err
	}
	if l.min > pageSize || l.bounded && l.max > pageSize {
		return malformed("memory above 4 GiB")
	}
	if l.min > m.lim.MemoryPages {
		return refuse("lower the module's initial memory or raise the profile's memory limit", "module needs %d MiB of memory at start, the limit is %d MiB",
			(l.min+15)/16, m.lim.MemoryPages/16)
	}
	m.memory = true
	m.pages = Memory{l.min, min(l.max, m.lim.MemoryPages, pageSize)}
	m.out[secMemory] = appendLimits([]byte{1}, m.pages.Min, m.pages.Max)
	return nil
}

func (m *module) readTables(r *reader) error {
	n := r.count(3)
	if n > 1 {
		return refuse("keep one table; for Rust, build without reference types", "module has %d tables", n)
	}
	if n == 0 {
		return nil
	}
	kind := r.byte()
	if kind == 0x40 {
		return proposal("typed function references", "module has a table with an initial value")
	}
	if kind != FuncRef && kind != ExternRef && r.bad == "" {
		if err := checkValueType(kind); err != nil {
			return err
		}
		return malformed("table of %s", typeName(kind))
	}
	l, err := readLimits(r, "table")
	if err != nil || r.bad != "" {
		return err
	}
	if l.min > hostabi.MaxTable {
		return refuse("make fewer functions reachable by reference", "table has %d entries, the limit is %d", l.min, hostabi.MaxTable)
	}
	m.tables, m.table = 1, l
	m.out[secTable] = appendLimits([]byte{1, kind}, l.min, min(l.max, hostabi.MaxTable))
	return nil
}
