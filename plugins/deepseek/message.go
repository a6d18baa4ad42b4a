package main

import "encoding/json"

// message is one message of a conversation, in the provider's form.
type message struct {
	Role       string     `json:"role"`
	Content    string     `json:"content"`                     // "" and never null beside tool calls
	Reasoning  *string    `json:"reasoning_content,omitempty"` // nil: it came without
	ToolCalls  []toolCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type toolCall struct {
	ID       string   `json:"id"`
	Type     string   `json:"type"`
	Function function `json:"function"`
}

type function struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// body is a request's body.
type body struct {
	Model           string          `json:"model"`
	Messages        []message       `json:"messages"`
	Stream          bool            `json:"stream"`
	StreamOptions   streamOptions   `json:"stream_options"`
	Thinking        *typed          `json:"thinking,omitempty"`
	ReasoningEffort string          `json:"reasoning_effort,omitempty"`
	MaxTokens       int             `json:"max_tokens,omitempty"`
	Tools           json.RawMessage `json:"tools,omitempty"`
	ResponseFormat  *typed          `json:"response_format,omitempty"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type typed struct {
	Type string `json:"type"`
}
