// Package guesttest lets a plugin's function run in an ordinary test, without wasm, worker or database.
//
//	h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(`{"text":"hi"}`)})
//	h.Server = func(x *guesttest.Exchange) { x.Respond(200, nil); x.Write([]byte("…")); x.End() }
//	result := h.Run(run)
//
// Host keeps the rules of the ABI that a plugin can run into: limits, unknown handles, calls after finish, the
// acknowledgement of a lost handle, the words of package vocabulary, session keys that are kept only when the turn
// finishes. It grants everything and journals nothing: permits and replay are the worker's.
//
// A Host serves one turn; its methods may be called from any goroutine. Run it in a testing/synctest bubble and the
// plugin's timers cost no time.
package guesttest
