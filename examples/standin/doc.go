// Package standin is a provider for demonstrations and tests: an HTTP handler that plays DeepSeek-shaped event streams
// for POST /chat/completions and MiniMax-shaped ones for POST /minimax/v1/chat/completions, echoes the user's words as streamed tokens, and misbehaves on request.
//
//	s := standin.New(standin.Options{})
//	server := httptest.NewServer(s)   // base_url = server.URL
//
// # Scripts
//
// A script is one or more directives. It stands in the last message (`hello [[fault:429 retry-after=2]]`), or is queued
// for the next request by [Server.Push]; a queued one comes first.
//
//	[[pace:50ms]]                 wait before each event
//	[[tokens:200 bytes=64]]       answer with that many tokens of that many bytes
//	[[tool:weather {"a":1}]]      call a tool; [[tool:…]] [[fault:unreasoned]] without reasoning
//	[[hold:NAME after=2]]         after two tokens wait until Release(NAME); a shorter answer is repeated
//	[[form:NAME]]                 MiniMax only: the stream of that fixture, such as cumulative, tags, details, done
//	[[leak]]                      answer with the key of the request, in the head too, as a careless provider might
//	[[fault:KIND …]]              one of the kinds below; times=2 only for the first two requests with this message
//
//	KIND            keys                  what happens
//	400 … 599       retry-after= body=    an error answer; body names a variant in fixtures/errors, such as 429_quota
//	refused                               the connection breaks before the head
//	hang                                  no head ever
//	keepalive       every=10ms            head, then comments for ever
//	stall           after=2 every=        after two tokens nothing more; with every, comments
//	cut             after=2 end=eof       half an event, then the connection breaks; end=eof: a clean end instead
//	cut-utf8        after=2 end=eof       the same, inside a character
//	no-done                               all but the end marker, then a clean end
//	long-line       size=1000000          one event with a token of that size
//	no-finish, empty, length, content-filter, no-resource, no-usage, error, garbage: the stream of that fixture
//	1000 …          as=sse|mid|last|error MiniMax only: the code in base_resp of a JSON answer under status 200; as names
//	                                      a stream that has it: alone, after some text, behind the finish, as an error
//	json, page                            status 200 with an error object, or with a gateway's page, and no stream
//
// # Rules it keeps
//
// It refuses what the provider refuses: a wrong key (401, when Options.Key is set), no messages (400), and in thinking mode an
// assistant's message with tool calls that comes without its reasoning_content (400); as MiniMax a thinking type that is
// not its own (400). It counts what it was asked,
// by idempotency key: [Server.Requests]. The same control is there over HTTP for a stand-in in another process:
//
//	GET /standin/requests   POST /standin/scripts   GET /standin/held/NAME   POST /standin/release/NAME
//
// # Accounts
//
// It also plays an issuer of account tokens: device codes at /api/accounts/deviceauth, tokens at /oauth/token, and
// POST /backend-api/codex/responses, a door that opens for the newest access token only. [Server.Approve] is the person
// who types in a code, [Server.Deny] one who says no, [Server.Revoke] and [Server.Forget] end tokens. Over HTTP:
//
//	POST /standin/approve/CODE   POST /standin/revoke
//
// The byte streams are files in fixtures/. Nothing here is shared with the decoders that it tests.
package standin
