package chat

import "encoding/json"

// Message is one message of a conversation, in the form that the providers share.
type Message struct {
	Role       string          `json:"role"`
	Content    string          `json:"content"`                     // "" and never null beside tool calls
	Reasoning  *string         `json:"reasoning_content,omitempty"` // nil: it came without
	Details    json.RawMessage `json:"reasoning_details,omitempty"` // the reasoning in a provider's own form
	ToolCalls  []ToolCall      `json:"tool_calls,omitempty"`
	ToolCallID string          `json:"tool_call_id,omitempty"`
}

// ToolCall is a tool that the model wants to be run.
type ToolCall struct {
	ID       string   `json:"id"`
	Type     string   `json:"type"`
	Function Function `json:"function"`
}

// Function is the tool of a ToolCall. Arguments is JSON as the model wrote it.
type Function struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// Typed is a parameter that is an object with a type.
type Typed struct {
	Type string `json:"type"`
}
