package chat

// Usage is a sum over responses. A part is nil as soon as one response did not state it.
type Usage struct {
	Input     *int64 `json:"input_tokens"`  // cached ones included
	Cached    *int64 `json:"cached_tokens"` // of the input
	Output    *int64 `json:"output_tokens"` // reasoning included
	Reasoning *int64 `json:"reasoning_tokens"`
}

// usageOf reads the provider's account; none gives an unknown usage.
func usageOf(c *Counts) Usage {
	if c == nil {
		return Usage{}
	}
	u := Usage{Input: c.Prompt, Cached: c.PromptDetails.Cached, Output: c.Completion, Reasoning: c.CompletionDetails.Reasoning}
	if u.Cached == nil {
		u.Cached = c.CacheHit
	}
	return u
}

// plus adds one more response; a sum of no responses yet is what first is true for.
func (u Usage) plus(v Usage, first bool) Usage {
	if first {
		return v
	}
	return Usage{add(u.Input, v.Input), add(u.Cached, v.Cached), add(u.Output, v.Output), add(u.Reasoning, v.Reasoning)}
}

func add(a, b *int64) *int64 {
	if a == nil || b == nil {
		return nil
	}
	sum := *a + *b
	return &sum
}
