// Package jsonrpc speaks JSON-RPC 2.0 with a child over its standard input and output, one object a line.
//
//	conn := jsonrpc.New(proc, proc)          // a *guest.Proc is both ends
//	go conn.Run()                            // reads until the child ends
//	err := conn.Call(ctx, "turn/start", params, &result)
//	m, err := conn.Receive(ctx)              // the next notification or request of the child, in order
//
// # Rules
//
//   - The member `jsonrpc` is neither sent nor asked for: known servers leave it out.
//   - Ids of the two directions are two spaces. A request of the child keeps its id, number or string, as it wrote it.
//   - A line that is no message is handed to Strange and passed over, up to MaxStrange of them: a library that prints
//     a warning ends no turn, a child of another kind does.
//   - A line above the limit ends the conversation with ErrTooLong: what it would have said is not known.
//   - What comes while a Call waits is kept for Receive, in memory.
package jsonrpc
