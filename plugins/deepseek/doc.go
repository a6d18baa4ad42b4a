// Command deepseek is the plugin of profile deepseek: a turn is a streaming chat completion, repeated as long as the
// model calls tools or a client steers. How a turn goes is in package chat; this is what DeepSeek does its own way.
//
// # Input and settings
//
// A turn's input is {"text":"…"} or {"messages":[…]} in the provider's form; both continue the session's conversation.
// Beside it may stand model, thinking ("enabled", "disabled"), reasoning_effort, json, tools and max_tokens, which
// overrule the settings for this turn. The settings are the [config] table of deepseek.toml, see type settings.
//
// # Invariants
//
//   - A stream is whole when it ended with [DONE].
//   - An assistant's message goes back with the reasoning it came with, the empty one included: the provider refuses
//     the conversation otherwise.
//   - With json, an answer that is no JSON object is none.
package main
