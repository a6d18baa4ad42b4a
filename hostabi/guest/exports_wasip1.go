package guest

import (
	"context"
	"errors"

	"github.com/towpath/towpath/hostabi"
)

//go:wasmexport turn_v1
func exportTurn() int32 {
	if registered.run == nil {
		panic("guest: no plugin: call guest.Handle from init")
	}
	return status(Serve(context.Background(), imports{}, registered.run))
}

//go:wasmexport manifest_v1
func exportManifest() int32 { return status(serveManifest(imports{}, registered.manifest)) }

// status is what an export returns: 0, or the code that says why there is no result.
func status(err error) int32 {
	if err == nil {
		return 0
	}
	println("guest:", err.Error()) // the worker reports the last of stderr
	var refusal *hostabi.Error
	if errors.As(err, &refusal) {
		return int32(refusal.Code)
	}
	return int32(hostabi.EIO)
}
