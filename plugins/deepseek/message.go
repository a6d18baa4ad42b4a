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

// chunk is one event of the answer's stream.
type chunk struct {
	ID      string    `json:"id"`
	Model   string    `json:"model"`
	Choices []choice  `json:"choices"`
	Usage   *counts   `json:"usage"`
	Error   *apiError `json:"error"`
}

type choice struct {
	Index        int     `json:"index"`
	Delta        delta   `json:"delta"`
	FinishReason *string `json:"finish_reason"`
}

type delta struct {
	Content   *string     `json:"content"`
	Reasoning *string     `json:"reasoning_content"`
	ToolCalls []callDelta `json:"tool_calls"`
}

// callDelta is a piece of a tool call: its first one has id and name, all have a piece of the arguments.
type callDelta struct {
	Index    int      `json:"index"`
	ID       string   `json:"id"`
	Function function `json:"function"`
}

// counts is the provider's account of tokens.
type counts struct {
	Prompt        *int64 `json:"prompt_tokens"`
	Completion    *int64 `json:"completion_tokens"`
	CacheHit      *int64 `json:"prompt_cache_hit_tokens"`
	PromptDetails struct {
		Cached *int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		Reasoning *int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}
