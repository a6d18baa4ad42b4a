// Package chat runs turns on providers that stream chat completions. A plugin says what its provider does its own way,
// a [Provider]; all else is the same for all of them and is here.
//
//	input ─▶ conversation ─▶ Body ─▶ Stream ─▶ answer ─┬─ tool calls: tool.call events, wait for answers ─▶ Body
//	           ▲ history (session keys)                ├─ steered: partial answer + the new text ─▶ Body
//	           └──────────── kept at the end ◀─────────┴─ otherwise: the result
//
// # Tools
//
// The turn waits for the output of each tool that the model calls: an input {"type":"answer","to":ID,"output":…} for
// the tool.call event with that id. Text that steers meanwhile is applied behind the outputs.
//
// # Invariants
//
//   - Only a stream that ended as its provider's streams do ([Stream]) is an answer; every other end is a classified
//     failure, and the worker decides about retries. A request is repeated on one occasion: the host says that the
//     execution which had sent it died (ELOST).
//   - The conversation is written at the end of a completed or cancelled turn only, so a turn that failed and is run
//     again finds the conversation as it was. A cancelled turn keeps the text that had come.
//   - A count of tokens that the provider did not state is unknown, never 0.
package chat
