package turn

// Names of points in the life of a turn, in their order.
const (
	AtClaim    = "claim"    // the claim is decided, and not stored; only of a claim that is made alone
	AtCall     = "call"     // before a live host call
	AtIntent   = "intent"   // an outside call's intent is committed, nothing has left the node
	AtAppend   = "append"   // before a flush
	AtAppended = "appended" // a flush is committed, and nobody knows yet
	AtFinish   = "finish"   // before the commit that ends the turn
	AtFinished = "finished" // after it
	AtLeft     = "left"     // this node has nothing more to do with the turn
)

// Point is where a turn stands. A harness that is told of it may block there, or kill the node.
type Point struct {
	Process string
	Name    string // At…
	Call    int    // host calls so far: the number of the next one
	Op      string // the call that is about to be made, for AtCall
}

// fault tells a harness, if there is one, where the turn stands.
func (x *execution) fault(name string, o op) {
	if x.runner.Fault == nil {
		return
	}
	p := Point{Process: *x.claim.ProcessID, Name: name}
	switch name {
	case AtCall:
		p.Call, p.Op = x.n, o.String()
	case AtIntent:
		p.Call = x.n
	}
	x.runner.Fault(p)
}
