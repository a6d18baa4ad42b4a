// Command deepseek is the plugin of profile deepseek: one turn is a streaming chat completion, repeated as long as the
// model calls tools or a client steers.
//
//	input ─▶ conversation ─▶ request ─▶ stream ─▶ answer ─┬─ tool calls: tool.call events, wait for answers ─▶ request
//	           ▲ history (session keys)                   ├─ steered: partial answer + the new text ─▶ request
//	           └───────────── kept at the end ◀───────────┴─ otherwise: the result
//
// # Input and settings
//
// A turn's input is {"text":"…"} or {"messages":[…]} in the provider's form; both continue the session's conversation.
// Beside it may stand model, thinking ("enabled", "disabled"), reasoning_effort, json, tools and max_tokens, which
// overrule the settings for this turn. The settings are the [config] table of deepseek.toml, see type settings.
//
// # Tools
//
// The turn waits for the output of each tool that the model calls: an input {"type":"answer","to":ID,"output":…} for
// the tool.call event with that id. Text that steers meanwhile is applied behind the outputs.
//
// # Invariants
//
//   - Only a stream that ended with a finish reason and [DONE] is an answer; every other end is a classified failure,
//     and the worker decides about retries. The plugin repeats a request on one occasion: the host says that the
//     execution which had sent it died (ELOST).
//   - The conversation is written at the end of a completed or cancelled turn only, so a turn that failed and is run
//     again finds the conversation as it was. A cancelled turn keeps the text that had come.
//   - An assistant's message goes back with the reasoning it came with, the empty one included: the provider refuses
//     the conversation otherwise.
//   - A count of tokens that the provider did not state is unknown, never 0.
package main
