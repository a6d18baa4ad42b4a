package supervise

import "golang.org/x/sys/unix"

// Conceal keeps what this process has in its memory and its environment from other processes of its user, children
// included: they can neither read it under /proc nor trace it. It holds until the next exec, so guards and children are
// not concealed. A process of root could all the same; so a guard takes the capabilities for that from its command.
func Conceal() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// insight is what lets root look into processes that it did not start, or into the memory of the machine.
var insight = []uintptr{
	unix.CAP_SYS_PTRACE, unix.CAP_PERFMON, unix.CAP_SYS_ADMIN, unix.CAP_SYS_MODULE, unix.CAP_SYS_RAWIO, unix.CAP_BPF, unix.CAP_CHECKPOINT_RESTORE,
}

// blind keeps what this thread starts from looking into the worker, also as root.
func blind() {
	for _, capability := range insight {
		// Refused to whoever is not root, who has none of them; unknown to an older kernel, which has no use for it.
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
	}
}
