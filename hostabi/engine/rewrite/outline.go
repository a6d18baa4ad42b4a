package rewrite

// Outline is what a person wants to see of a module: it says nothing of whether the module can be loaded.
type Outline struct {
	Sections  []Section
	Imports   []string // as "module.name", in order
	Exports   []string
	Functions int    // that the module defines
	Memory    Memory // of the first memory
}

// Section is one part of a module's file.
type Section struct {
	Name  string
	Bytes int
}

// ReadOutline reads as much of a module as there is of it. Any input is safe.
func ReadOutline(wasm []byte) Outline {
	var o Outline
	if len(wasm) < 8 || string(wasm[:4]) != "\x00asm" {
		return o
	}
	for r := (&reader{b: wasm, p: 8}); r.more(); {
		id := r.byte()
		body := r.bytes(r.u32())
		if r.bad != "" || int(id) >= len(sectionNames) {
			return o
		}
		o.Sections = append(o.Sections, Section{sectionNames[id], len(body)})
		o.read(id, &reader{b: body})
	}
	return o
}

func (o *Outline) read(id byte, r *reader) {
	switch id {
	case secImport:
		for n := min(r.u32(), maxImports); n > 0 && r.bad == ""; n-- {
			full := string(r.bytes(r.u32())) + "." + string(r.bytes(r.u32()))
			if kind := r.byte(); kind != 0 || r.bad != "" { // only functions are imported by what can be loaded
				return
			}
			if r.u32(); r.bad == "" {
				o.Imports = append(o.Imports, full)
			}
		}
	case secFunction:
		o.Functions = int(r.u32())
	case secMemory:
		if r.u32() > 0 {
			if flags := r.byte(); r.bad == "" {
				o.Memory.Min = r.u32()
				if flags&1 != 0 {
					o.Memory.Max = r.u32()
				}
			}
		}
	case secExport:
		for n := min(r.u32(), maxExports); n > 0 && r.bad == ""; n-- {
			name := string(r.bytes(r.u32()))
			r.byte()
			if r.u32(); r.bad == "" {
				o.Exports = append(o.Exports, name)
			}
		}
	}
}
