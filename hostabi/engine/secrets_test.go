package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/towpath/towpath/hostabi"
)

// effort is how often a costly test repeats: few times in a run of all tests, more when a person asks by the variable.
func effort(t testing.TB, variable string, few int) int {
	v := os.Getenv(variable)
	if v == "" {
		return few
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// keeper is a plugin that writes the second word of its request into every word of its memory and into a global, or
// counts where it finds that word there, and returns the count. Before that it grows its memory. Its _initialize leaves
// three pages and some data.
func keeper() []byte {
	const request, from = 1024, 2048
	s := newSmall("request", "take")
	s.memory(2, 64)
	s.globals = append(s.globals, cat([]byte{tI64, 1}, i64Const(0), end))
	s.data(70_000, "some data that is no secret")
	s.export(hostabi.ExportInitialize, 0, s.fn(s.void,
		i32Const(1), memoryGrow, drop, i32Const(150_000), i32Const(77), i32Store(0)))
	store, load, eq := []byte{0x37, 3, 0}, []byte{0x29, 3, 0}, []byte{0x51}
	localSet := func(i int) []byte { return cat([]byte{0x21}, uleb(i)) }
	secret := cat(i32Const(request+8), load)
	const at, count = 0, 1
	next := cat(localGet(at), i32Const(8), i32Add, []byte{0x22}, uleb(at),
		memorySize, i32Const(16), []byte{0x74}, []byte{0x49}, []byte{0x0d, 0}) // at += 8; br_if at < size<<16
	found := cat(localGet(count), i32Const(1), i32Add, localSet(count))
	begin := cat(i32Const(from), localSet(at))
	turn := s.fnWith(s.code, cat([]byte{1}, uleb(2), []byte{tI32}),
		s.call("request"), drop, i32Const(request), i32Const(16), s.call("take"), drop,
		i32Const(3), memoryGrow, drop,
		i32Const(request), load, i64Const(1), eq, []byte{0x04, 0x40}, // the first word is 1: write
		secret, globalSet(0),
		begin, loop, localGet(at), secret, store, next, end,
		[]byte{0x05}, // else: look for it
		globalGet(0), secret, eq, ifThen(found),
		begin, loop, localGet(at), load, secret, eq, ifThen(found), next, end,
		end,
		s.finish(), drop, localGet(count))
	return s.plugin(call(turn))
}

// A guest that finds what another turn wrote would read another tenant's secrets.
// TOWPATH_SECRET_TURNS=10000 looks at length.
func TestNoTurnSeesTheMemoryOfAnother(t *testing.T) {
	turns := effort(t, "TOWPATH_SECRET_TURNS", 500)
	for name, config := range map[string]Config{"mapped": {}, "copied": {CopyMemory: true}} {
		t.Run(name, func(t *testing.T) {
			m := load(t, open(t, config), keeper(), Limits{})
			turn := func(write, secret uint64) error {
				b := binary.LittleEndian.AppendUint64(nil, write)
				return m.Run(context.Background(), newTestHost(string(binary.LittleEndian.AppendUint64(b, secret))))
			}
			// The search must be able to find: zeros are everywhere.
			var trap *Trap
			if err := turn(0, 0); !errors.As(err, &trap) || trap.Code < 40_000 {
				t.Fatalf("looking for zeros: %v", err)
			}
			for range turns {
				secret := rand.Uint64() | 1
				if err := turn(1, secret); err != nil {
					t.Fatal(err)
				}
				if err := turn(0, secret); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Whatever a turn writes and however it grows, its memory is the image again when the next one gets it.
func TestAReleasedMemoryIsTheImageAgain(t *testing.T) {
	const size, top = 40 * wasmPage, 64 * wasmPage
	content := make([]byte, size)
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		at := random.IntN(size - 5000)
		for i := range 1 + random.IntN(5000) {
			content[at+i] = byte(random.Uint32())
		}
	}
	for name, make := range map[string]func(image) (source, error){
		"the system's": newSource, "copies": func(img image) (source, error) { return copies{img}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			img := newImage(bytes.Clone(content))
			if err := img.check(); err != nil {
				t.Fatal(err)
			}
			src, err := make(img)
			if err != nil {
				t.Fatal(err)
			}
			defer src.close()
			for round := range 200 {
				s, err := src.space(top)
				if err != nil {
					t.Fatal(err)
				}
				b, err := s.grow(size)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(b, content) {
					t.Fatalf("round %d: memory is not the image", round)
				}
				if b, err = s.grow(size + int64(random.IntN(24))*wasmPage); err != nil {
					t.Fatal(err)
				}
				if !zero(b[size:]) {
					t.Fatalf("round %d: grown memory is not zero", round)
				}
				for range random.IntN(50) {
					at, n := random.IntN(len(b)), random.IntN(3*wasmPage)
					for i := range b[at:min(at+n, len(b))] {
						b[at+i] = 0xee
					}
				}
				s.release()
				s.release()
			}
		})
	}
}
