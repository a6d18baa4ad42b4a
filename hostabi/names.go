package hostabi

// Module is the import module of this version of the ABI; its name carries the major version.
const Module = "turn_v1"

// Exports of a plugin.
const (
	ExportMemory     = "memory"      // required
	ExportTurn       = "turn_v1"     // () -> i32, required
	ExportManifest   = "manifest_v1" // () -> i32, required
	ExportInitialize = "_initialize" // (), optional
)
