package hostabi

// Function is one function of module [Module], as a guest imports it.
type Function struct {
	Name   string
	Params string // in order, each "name type"; types are i32 and i64
	Result string // type, and what a result >= 0 is
	Means  string
	Errors []Code // that it returns; what arrives later, arrives through wait
	Limit  string // "" when there is none but the guest's own memory
	// Journal is what a journal keeps of a call: "" nothing, since it is the same whenever it is made; "arguments" their
	// digest, so that a replay sees a guest that asks something else; "data" what the guest was told as well; "intent" the
	// arguments' digest, on disk before anything leaves.
	Journal string
}

// Functions are all functions of this version.
var Functions = []Function{
	{"take", "ptr i32, cap i32", "i32 bytes copied", "Copies the first bytes of the parked value to ptr. The rest is dropped.", nil, "", ""},
	{"request", "", "i32 bytes parked", "Parks the turn request, TurnRequest.", nil, "", ""},
	{"now", "", "i64 nanoseconds", "Unix time on the turn's clock: that of the last observation, and a little more for each reading.", nil, "", ""},
	{"random", "ptr i32, len i32", "i32 0", "Fills len bytes from the turn's random stream, which is the same in a replay.", nil, "", ""},
	{"log", "level i32, ptr i32, len i32", "i32 0", "Writes a line to the worker's log: level -1 debug, 0 info, 1 warn, 2 error. Not written again in a replay.", []Code{EINVAL}, "MaxLog, the rest is cut; 200 lines a second, the rest is counted", ""},
	{"emit", "ptr i32, len i32", "i32 number of the event in this turn, from 1", "Appends an event, a JSON object with a string `type`. Types that begin with `process.` are the worker's own.", []Code{EINVAL, EDENIED, E2BIG, EQUOTA, ESTATE}, "MaxEvent, and the profile's `event` and `events`", "arguments"},
	{"http_open", "head i32, head_len i32, body i32, body_len i32", "i32 handle", "Begins a request, HTTPHead. Its answer comes by wait: HEAD, DATA as it comes, END, or FAILED with a negated code: EDENIED without a permit, EINVAL, E2BIG, EIO, ETIMEDOUT, and ELOST when the worker was lost.", []Code{EINVAL, E2BIG, EQUOTA, ESTATE}, "MaxHead and MaxRequest; the profile's `handles`", "intent"},
	{"proc_open", "spec i32, spec_len i32", "i32 handle", "Starts a child, ProcSpec. What it says comes by wait: DATA, STDERR, END with its exit status, or FAILED.", []Code{EINVAL, EDENIED, E2BIG, EIO, EQUOTA, ESTATE}, "MaxHead; the profile's `handles`", "intent"},
	{"proc_write", "handle i32, ptr i32, len i32", "i32 0", "Writes to a child's standard input, as it is; len 0 closes it.", []Code{EBADF, E2BIG, EIO, ELOST, ESTATE}, "MaxRequest", "intent"},
	{"proc_fill", "handle i32, ptr i32, len i32", "i32 0", "The same with placeholders filled. Only words of the plugin's author may be in it: whoever can write a placeholder gets its value written to the child.", []Code{EINVAL, EDENIED, EBADF, E2BIG, EIO, ELOST, ESTATE}, "MaxRequest", "intent"},
	{"wait", "handle i32, timeout i64", "i32 bytes parked, 0 when the time ran out", "Parks the next Record of a handle, of any when handle is 0. A negative timeout waits for ever.", []Code{EBADF, ESTATE}, "the profile's `idle`: a turn that observes nothing for so long is ended", "data"},
	{"close", "handle i32", "i32 0", "Cancels what a handle stands for, and forgets it: no later record comes from it.", []Code{EBADF, ESTATE}, "", "arguments"},
	{"kv_get", "key i32, key_len i32", "i32 bytes parked", "Parks the value of a key of the session.", []Code{EINVAL, ENOENT, E2BIG, ESTATE}, "MaxKey", "data"},
	{"kv_set", "key i32, key_len i32, value i32, value_len i32", "i32 0", "Writes a key of the session; an empty value deletes it. This turn sees it at once, the session when the turn has finished.", []Code{EINVAL, E2BIG, ESTATE}, "MaxKey and MaxValue", "arguments"},
	{"finish", "ptr i32, len i32", "i32 0", "Parks the turn's result, a JSON object, exactly once. It counts when the guest returns 0.", []Code{EINVAL, E2BIG, ESTATE}, "MaxResult", "arguments"},
}
