// Command minimax-m3 is the plugin of profile minimax-m3: a turn is a streaming chat completion, repeated as long as the
// model calls tools or a client steers. How a turn goes is in package chat; this is what MiniMax does its own way.
//
// # Input and settings
//
// A turn's input is {"text":"…"} or {"messages":[…]} in the provider's form; both continue the session's conversation.
// Beside it may stand model, thinking ("adaptive", "disabled"), tools and max_tokens, which overrule the settings for
// this turn. The settings are the [config] table of minimax-m3.toml, see type settings.
//
// # Invariants
//
//   - A stream is whole when a finish reason has come, no base_resp says otherwise, and the body ends; [DONE] may stand
//     there too, and is not waited for.
//   - An error may come under status 200, as JSON or within the stream. Its code is no HTTP status: only the table in
//     fault.go says what it means.
//   - Pieces of a stream are increments or snapshots; each stream tells which ([fold]), none is believed beforehand.
//   - What the model thought is told apart from what it says, in whichever of three forms it comes, and goes back to
//     the provider in the form and with the bytes in which it came.
package main
