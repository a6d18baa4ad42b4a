// Command codex is the plugin of profile codex: one turn is one turn of `codex app-server`, a child of the worker, whose
// thread is the session's conversation.
//
//	input ─▶ child: handshake ─▶ thread (new, or restored and resumed) ─▶ turn ─▶ events … turn/completed
//	           ▲ {{broker:url}}, {{broker:token}}       ▲ rollout file       ▲ steers, answers, interrupt
//	           └ the host's broker has the key          └── session keys ◀── kept at the end of the turn
//
// # Input and settings
//
// A turn's input is {"text":"…"}; beside it may stand model, effort, approvals ("never", "decline", "ask"), sandbox (as
// strict as the setting, or stricter), output_schema, and, in the session's first turn, instructions and tools. The
// settings are the [config] table of codex.toml, see type settings.
//
// # The thread
//
// Codex keeps a thread as one file that it appends to. The plugin stores that file in the session when a turn has
// completed or was cancelled, and puts it back into an empty home before the thread is resumed: any node can. So a
// turn that died or failed on the way has left nothing in the thread, and what the user said is there once, however
// often the turn began anew. Should the file hold this very turn all the same, it is reverted before it starts again.
//
// # Invariants
//
//   - The key, or an account's token, is in no message: the thread's configuration names the broker of this one child.
//     What a user wrote is written as it is; in the one message that is filled, no brace of his can open a placeholder.
//   - Codex asks the provider once per response: its retries are off, and every failure is a class for the worker.
//   - A message that no item/completed confirmed is taken back (message.retracted): codex has dropped it too.
//   - Usage is what codex notes per response, by the response's id, and never a sum of its running totals.
//   - Nothing that codex asks for is left without an answer: what this plugin does not know is declined.
//
// # Sandbox
//
// What the model runs is confined by codex itself (bubblewrap, a system call filter, no new privileges), as the turn's
// sandbox says. It works below a worker of root, whose children have no capability to look into it, and of an ordinary user;
// both need user namespaces. Where a machine forbids those, commands fail in the sandbox and none runs unconfined: use
// danger-full-access in a container of its own, or allow them (sysctl user.max_user_namespaces,
// kernel.apparmor_restrict_unprivileged_userns).
//
// # Failure rules
//
// The child of an execution that died is replaced by name, with the same words, and what it had said is retracted. A
// child that ends by itself, does not answer the handshake, falls silent or speaks something else is a failure that
// the worker retries from the session's last state.
package main
