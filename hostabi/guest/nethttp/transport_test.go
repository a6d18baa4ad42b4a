package nethttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
	"github.com/towpath/towpath/hostabi/guest/nethttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// turn runs a plugin's function against a real server.
func turn(t *testing.T, handler http.HandlerFunc, use func(ctx context.Context, g *guest.Turn, c *http.Client, url string) (any, error)) string {
	t.Helper()
	server := httptest.NewServer(handler)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		server.Close()
	})
	h := guesttest.New(t, hostabi.TurnRequest{})
	h.Server = guesttest.Forward(client, map[string]string{"KEY": "hunter2"})
	return string(h.Run(func(ctx context.Context, g *guest.Turn) (any, error) {
		return use(ctx, g, nethttp.Client(g), server.URL)
	}).JSON)
}

func TestARequestAndItsAnswer(t *testing.T) {
	got := turn(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Add("X-Many", "1")
		w.Header().Add("X-Many", "2")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, body, r.Header.Get("Authorization"), r.Header.Get("Accept"))
	}, func(ctx context.Context, _ *guest.Turn, c *http.Client, url string) (any, error) {
		request, err := http.NewRequestWithContext(ctx, "PUT", url, strings.NewReader("body"))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer {{secret:KEY}}")
		request.Header.Add("Accept", "a")
		request.Header.Add("Accept", "b")
		r, err := c.Do(request)
		if err != nil {
			return nil, err
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		return fmt.Sprint(r.Status, " ", r.ContentLength, " ", r.Header["X-Many"], " ", string(body)), err
	})
	if want := `{"status":"completed","output":"201 Created 28 [1 2] PUT body Bearer hunter2 a, b"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestABodyStreams(t *testing.T) {
	read := make(chan struct{})
	got := turn(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "first ")
		w.(http.Flusher).Flush()
		<-read
		fmt.Fprint(w, "second")
	}, func(_ context.Context, _ *guest.Turn, c *http.Client, url string) (any, error) {
		r, err := c.Get(url)
		if err != nil {
			return nil, err
		}
		defer r.Body.Close()
		first := make([]byte, 6)
		if _, err := io.ReadFull(r.Body, first); err != nil {
			return nil, err
		}
		close(read)
		rest, err := io.ReadAll(r.Body)
		return string(first) + string(rest), err
	})
	if want := `{"status":"completed","output":"first second"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTheClientsTimeoutEndsTheExchange(t *testing.T) {
	left := make(chan struct{})
	got := turn(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(left)
	}, func(_ context.Context, _ *guest.Turn, c *http.Client, url string) (any, error) {
		c.Timeout = 50 * time.Millisecond
		_, err := c.Get(url)
		return errors.Is(err, context.DeadlineExceeded), nil
	})
	<-left
	if want := `{"status":"completed","output":true}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestALostRequestIsNamed(t *testing.T) {
	h := guesttest.New(t, hostabi.TurnRequest{})
	h.Server = func(x *guesttest.Exchange) {
		if x.Head.RetryOf == 0 {
			x.Fail(hostabi.ELOST, "died")
			return
		}
		x.Respond(200, nil)
		x.End()
	}
	got := h.Run(func(ctx context.Context, g *guest.Turn) (any, error) {
		c := nethttp.Client(g)
		_, err := c.Get("http://provider/")
		handle, lost := guest.Lost(err)
		if !lost {
			t.Errorf("%v is no loss", err)
		}
		request, err := http.NewRequestWithContext(nethttp.WithRetryOf(ctx, handle), "GET", "http://provider/", nil)
		if err != nil {
			return nil, err
		}
		r, err := c.Do(request)
		if err != nil {
			return nil, err
		}
		return r.StatusCode, r.Body.Close()
	})
	if want := `{"status":"completed","output":200}`; string(got.JSON) != want {
		t.Errorf("got %s, want %s", got.JSON, want)
	}
}
