// Command scheduler is a plugin for tests of the SDK's one thread: each input is one situation.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
)

func init() { guest.Handle(hostabi.Manifest{Name: "scheduler", Version: "1"}, run) }

func main() {}

type ready struct {
	N int `json:"n"`
}

func (ready) EventType() string { return "ready" }

var situations = map[string]guest.Run{
	// Goroutines finish a long chain of hand-overs although another one waits for a record.
	"hand-overs": func(ctx context.Context, t *guest.Turn) (any, error) {
		var failed error
		go func() {
			c := make(chan int)
			go func() {
				for i := range 1000 {
					c <- i
					runtime.Gosched()
				}
				close(c)
			}()
			n := 0
			for range c {
				n++
			}
			failed = t.Emit(ready{n})
		}()
		text, err := get(ctx, t)
		return text, errors.Join(err, failed)
	},
	// One that never blocks holds up nobody for ever.
	"spinner": func(ctx context.Context, t *guest.Turn) (any, error) {
		stop := false
		go func() {
			for !stop {
				runtime.Gosched()
			}
		}()
		text, err := get(ctx, t)
		stop = true
		return text, err
	},
	"two at once": func(ctx context.Context, t *guest.Turn) (any, error) {
		first, second := make(chan string), make(chan string)
		for _, c := range []chan string{first, second} {
			go func() {
				text, err := get(ctx, t)
				c <- fmt.Sprint(text, err)
			}()
		}
		return <-second + " " + <-first, nil
	},
	"time.Sleep alone": func(ctx context.Context, t *guest.Turn) (any, error) {
		began := time.Now()
		time.Sleep(20 * time.Millisecond)
		return time.Since(began) >= 20*time.Millisecond, nil
	},
	"Sleep beside a request": func(ctx context.Context, t *guest.Turn) (any, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		go func() { cancel(t.Sleep(ctx, 20*time.Millisecond)) }()
		_, err := get(ctx, t)
		return fmt.Sprint(err), nil
	},
	"AfterFunc": func(ctx context.Context, t *guest.Turn) (any, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		timer := t.AfterFunc(time.Hour, func() { cancel(errors.New("rang")) })
		timer.Reset(20 * time.Millisecond)
		_, err := get(ctx, t)
		return fmt.Sprint(err), nil
	},
	"deadline": func(ctx context.Context, t *guest.Turn) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		_, err := get(ctx, t)
		return fmt.Sprint(err), nil
	},
	"input": func(ctx context.Context, t *guest.Turn) (any, error) {
		if err := t.Emit(ready{}); err != nil {
			return nil, err
		}
		in := <-t.Inputs()
		return in.Text, nil
	},
	"cancel": func(ctx context.Context, t *guest.Turn) (any, error) {
		if err := t.Emit(ready{}); err != nil {
			return nil, err
		}
		_, err := get(ctx, t)
		return nil, err
	},
	"child": func(ctx context.Context, t *guest.Turn) (any, error) {
		p, err := t.Exec(ctx, "cat", "-u")
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Fprintln(p, "round trip"); err != nil {
			return nil, err
		}
		line, err := p.ReadLine()
		if err != nil {
			return nil, err
		}
		if err := p.CloseStdin(); err != nil {
			return nil, err
		}
		exit, err := p.Wait()
		return fmt.Sprintf("%s, exit %d", line, exit), err
	},
	"panic":    func(context.Context, *guest.Turn) (any, error) { panic("on purpose") },
	"deadlock": func(context.Context, *guest.Turn) (any, error) { select {} },
}

func run(ctx context.Context, t *guest.Turn) (any, error) {
	var name string
	if err := t.Decode(&name, nil); err != nil {
		return nil, err
	}
	situation, ok := situations[name]
	if !ok {
		return nil, guest.Fail(guest.KindInvalid, "unknown situation %q", name)
	}
	return situation(ctx, t)
}

func get(ctx context.Context, t *guest.Turn) (string, error) {
	response, err := t.Do(ctx, &guest.Request{URL: "http://provider"})
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}
