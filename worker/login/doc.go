// Package login logs profiles in at a provider of accounts, and keeps their tokens fresh.
//
//	towpath.login_start ──▶ job of kind login ──▶ device code ──▶ rows of login and login_flow: where to go, what to type
//	                     │ polled
//	                     ▼
//	                  tokens ──▶ row of credential, sealed ──▶ Vault ──▶ egress.Secrets ──▶ header towards a permitted host
//	                                    ▲                        │
//	                                    └── renewed by one node ─┘
//
// # Invariants
//
//   - Tokens are in this process's memory and, sealed under a key that the database never sees, in its row. They are in no
//     guest, no child, no file, no log and no error.
//   - A refresh token is sent once: whoever renews holds the row's lock, over all nodes, until the new one is stored.
//   - A login is a row and a River job, which takes it on step by step: a step asks the provider once, and any node with the
//     key may take the next. One node at a time polls. The row ends once: with tokens, or saying why there are none.
//   - A renewal that the provider refuses for good is noted in the row and not asked again; a new login takes the note away.
//
// # Failure rules
//
// A node that dies between two steps, or in one, leaves the next to another, when River has rescued the job: a minute and a
// half. One that dies after the provider has given the tokens, and before they are kept, has lost them: the login expires.
// Trouble on the way is noted in the row and asked again until the login expires.
//
// A provider that cannot be reached, or is in trouble, is no refusal: an access token that still holds is used on. What
// needs a person is a *hostabi.Error of EDENIED that names the command to run.
//
// Codex could be given the tokens themselves (account/login/start of type chatgptAuthTokens), and would ask for new ones
// when they end. It gets its broker's token instead: what the model runs could read the others in codex's memory.
package login
