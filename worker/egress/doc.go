// Package egress sends the HTTP requests of guests, and keeps the operator's secrets.
//
//	HTTPHead ─▶ URL ─▶ permit ─▶ header ─▶ dialer ─▶ server
//	            │      │         │         └ resolves, checks every address, dials what it checked
//	            │      │         └ sanity; {{secret:NAME}} filled where the permit binds NAME
//	            │      └ origin and method on the operator's list
//	            └ one canonical form, or a refusal
//	guest ◀──── scrubbed body, bounded in bytes, in whole and in idle time ◀─────┘
//
//	child ── token ─▶ Broker on loopback ── secret ─▶ the one place that the operator named, by the same way
//
// # Invariants
//
//   - Nothing is reachable without a permit. The permit is looked up by origin (scheme, host, port) in the
//     canonical form that is also dialled, so no two readers of one URL can disagree.
//
//   - The name is resolved here, each of its addresses is checked, and a checked address is dialled: a resolver
//     that changes its answer gains nothing. A private permit opens loopback, private, shared and unique-local
//     addresses; link-local, metadata, multicast and transition addresses are never opened. Plain HTTP goes to
//     addresses of those four kinds only.
//
//   - A redirect is an answer like any other. A guest that follows it opens a second request, which passes
//     through the same checks.
//
//   - Nothing is sent twice: net/http's own repeat of a request on a broken connection is off. Who retries is
//     the guest, in the open. One exception: what a server refused as 401 goes again, once, through a broker
//     whose login gives another token.
//
//   - A secret's value is in the outgoing header and nowhere else: not in an error, a log, a response's body or
//     head. The server is asked for an unencoded answer and an encoded one is refused, because a value inside
//     gzip cannot be found.
//
//   - A child that may use a secret gets a door, not the secret: a broker of its own, whose token ends with it.
//
// # Failures
//
// What a guest can act on is a *hostabi.Error: EINVAL (malformed), EDENIED (not permitted; names the permit line
// to add), E2BIG (over a limit), ETIMEDOUT (whole exchange, or idle), EIO (network, TLS, server). When the
// caller's context ends, its cause is returned as it is.
package egress
