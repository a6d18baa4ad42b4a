// Guest is a plugin in Go that computes: one export a job, each printing what it found.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

//go:wasmexport stream
func stream() int32 {
	line := `data: {"id":"x","choices":[{"index":0,"delta":{"content":"hello world"}}]}` + "\n\n"
	var text strings.Builder
	for l := range strings.Lines(strings.Repeat(line, 2000)) {
		d, ok := strings.CutPrefix(strings.TrimSpace(l), "data: ")
		if !ok {
			continue
		}
		var chunk struct {
			Choices []struct {
				Delta struct {
					Content string `json:"content"`
				} `json:"delta"`
			} `json:"choices"`
		}
		if err := json.Unmarshal([]byte(d), &chunk); err != nil {
			panic(err)
		}
		text.WriteString(chunk.Choices[0].Delta.Content)
	}
	fmt.Println("stream", text.Len())
	return int32(text.Len())
}

//go:wasmexport codec
func codec() int32 {
	var in, out []map[string]any
	for i := range 3000 {
		in = append(in, map[string]any{"id": i, "text": "some text here", "list": []int{1, 2, 3}, "f": 1.5})
	}
	b, err := json.Marshal(in)
	if err != nil {
		panic(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	fmt.Printf("codec %d %x\n", len(out), sha256.Sum256(b))
	return int32(len(out))
}

//go:wasmexport match
func match() int32 {
	found := regexp.MustCompile(`(\w+)@(\w+)\.com`).FindAllString(strings.Repeat("lorem ipsum foo@bar.com dolor ", 8000), -1)
	fmt.Println("match", len(found))
	return int32(len(found))
}

//go:wasmexport digest
func digest() int32 {
	s := sha256.Sum256(make([]byte, 4<<20))
	fmt.Printf("digest %x\n", s)
	return int32(s[0])
}

//go:wasmexport order
func order() int32 {
	a := make([]int, 200_000)
	x := uint32(1)
	for i := range a {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		a[i] = int(x)
	}
	slices.Sort(a)
	fmt.Println("order", a[0], a[len(a)/2])
	return int32(a[0])
}

//go:wasmexport nest
func nest() int32 {
	const depth = 9_999 // encoding/json takes 10,000
	var v any
	if err := json.Unmarshal([]byte(strings.Repeat(`{"a":[`, depth/2)+strings.Repeat(`]}`, depth/2)), &v); err != nil {
		panic(err)
	}
	fmt.Println("nest", depth)
	return depth
}

//go:wasmexport race
func race() int32 {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var log bytes.Buffer
	ch := make(chan int)
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				if (i+j)%3 == 0 {
					ch <- i*100 + j
					continue
				}
				mu.Lock()
				fmt.Fprintf(&log, "%d.%d ", i, j)
				mu.Unlock()
			}
		})
	}
	go func() { wg.Wait(); close(ch) }()
	sum := 0
	for v := range ch {
		sum += v
	}
	m := map[int]string{}
	for i := range 50 {
		m[i] = strings.Repeat("x", i)
	}
	for k := range m {
		fmt.Fprintf(&log, "%d ", k)
	}
	fmt.Printf("race %d %s\n", sum, log.String())
	return int32(sum)
}

//go:wasmexport turn_v1
func turn() int32 { return stream() + codec() + match() + order() + nest() + race() }

//go:wasmexport manifest_v1
func manifest() int32 { return 0 }

func main() {}
