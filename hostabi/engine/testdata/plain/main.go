// Plain is a guest without the SDK. The request says which of its turns to run.
package main

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"
)

func main() {}

//go:wasmexport manifest_v1
func manifest() int32 {
	return end(`{"name":"plain","version":"1.2.3","http":[{"host":"example.com","methods":["GET"]}],"memory_mb":32,"turn_s":60}`)
}

//go:wasmexport turn_v1
func turn() int32 {
	name, arg, _ := strings.Cut(taken(request()), " ")
	run, ok := turns[name]
	if !ok {
		fmt.Fprintln(os.Stderr, "no turn", name)
		return 99
	}
	return run(arg)
}

var turns = map[string]func(arg string) int32{
	"echo": func(arg string) int32 { return end(arg) },
	"code": func(arg string) int32 {
		var code int32
		fmt.Sscan(arg, &code)
		return code
	},
	"forget": func(string) int32 { return 0 },
	"exit": func(string) int32 {
		os.Exit(7)
		return 0
	},
	"panic": func(arg string) int32 { panic(arg) },
	"deadlock": func(string) int32 {
		<-make(chan int)
		return 0
	},
	"oom": func(string) int32 {
		var keep [][]byte
		for {
			keep = append(keep, make([]byte, 1<<20))
		}
	},
	"deep": func(string) int32 { return deep(1 << 30) },
	"loop": func(string) int32 {
		for n := uint32(1); n != 0; n |= 1 {
			n *= 3
		}
		return 0
	},
	"spin": func(string) int32 { // with calls
		for {
			now()
		}
	},
	"sleep": func(arg string) int32 {
		d, err := time.ParseDuration(arg)
		if err != nil {
			return 1
		}
		start := time.Now()
		time.Sleep(d)
		return end(fmt.Sprintf(`{"slept":"%v"}`, time.Since(start).Truncate(time.Millisecond)))
	},
	"print": func(arg string) int32 {
		fmt.Print(arg)
		fmt.Fprint(os.Stderr, strings.ToUpper(arg))
		return end("{}")
	},
	"all":    all,
	"events": events,
	"calls":  calls,
	"wait": func(string) int32 {
		n := wait(0, -1)
		if n < 0 {
			return -n
		}
		return end("{}")
	},
}

func deep(n int32) int32 {
	if n == 0 {
		return 0
	}
	return deep(n-1) + deep(n-2) + 1
}

// all makes every call once and emits what it returned.
func all(string) int32 {
	var said []string
	say := func(what string, n int32) {
		s := fmt.Sprint(what, " ", n)
		if n != 0 {
			b := make([]byte, 1000)
			s += fmt.Sprintf(" %q", b[:take(unsafe.Pointer(&b[0]), 1000)])
		}
		said = append(said, s)
	}
	head, headLen := ptr(`{"method":"GET"}`)
	body, bodyLen := ptr("body")
	say("http_open", httpOpen(head, headLen, body, bodyLen))
	say("wait", wait(1, -1))
	say("wait any", wait(0, 5))
	say("proc_open", procOpen(head, headLen))
	say("proc_write", procWrite(2, body, bodyLen))
	say("proc_fill", procFill(2, body, bodyLen))
	say("close", closeHandle(2))
	key, keyLen := ptr("key")
	say("kv_get", kvGet(key, keyLen))
	say("kv_set", kvSet(key, keyLen, body, bodyLen))
	say("kv_get", kvGet(key, keyLen))
	say("kv_get empty", kvGet(key, 0))
	say("kv_set too long", kvSet(key, keyLen, unsafe.Pointer(&page[0]), uint32(len(page))))
	b := make([]byte, 4)
	say("random", random(unsafe.Pointer(&b[0]), 4))
	say("random bytes", int32(b[0])<<24|int32(b[1])<<16|int32(b[2])<<8|int32(b[3]))
	say("log", log(2, body, bodyLen))
	say("log level", log(3, body, bodyLen))
	p, n := ptr(`{"type":"one"}`)
	say("emit", emit(p, n))
	say("emit again", emit(p, n))
	p, n = ptr(`{}`)
	say("finish", finish(p, n))
	say("finish again", finish(p, n))
	say("emit after finish", emit(p, n))
	p, n = ptr(strings.Join(said, "\n"))
	log(0, p, n)
	return 0
}

var page = make([]byte, 2<<20)

// events touches 1 MiB and emits 100 events of 200 bytes.
func events(string) int32 {
	touched := make([]byte, 1<<20)
	for i := 0; i < len(touched); i += 4096 {
		touched[i] = byte(i)
	}
	event := []byte(`{"type":"delta","text":"` + strings.Repeat("a", 200-26) + `"}`)
	for i := range 100 {
		event[24], event[25] = byte('0'+i/10), byte('0'+i%10)
		if n := emit(unsafe.Pointer(&event[0]), uint32(len(event))); n < 0 {
			return n
		}
	}
	return end(`{}`)
}

// calls makes n calls with 1 KiB in and 1 KiB out.
func calls(arg string) int32 {
	var n int
	fmt.Sscan(arg, &n)
	key, keyLen := ptr("key")
	value := make([]byte, 1024)
	for range n {
		if got := kvSet(key, keyLen, unsafe.Pointer(&value[0]), 1024); got != 0 {
			return 1
		}
		if got := kvGet(key, keyLen); got != 1024 || take(unsafe.Pointer(&value[0]), 1024) != 1024 {
			return 2
		}
	}
	return end("{}")
}
