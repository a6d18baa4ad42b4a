// Package enginebench measures the engine beside what else could run the same job, in one process and one run: plain
// use of wazero, a native program started for each turn, and Extism's Go SDK where its module can be built.
//
// The guests are built when it runs, by the Go toolchain that it finds. In every figure of a turn the instance is made,
// used and released inside the time, and none is kept ready.
package enginebench
