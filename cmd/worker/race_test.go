//go:build race

package main

// raced: loading a module takes minutes with the race detector, which sees nothing inside one. Nodes of the stories are
// then a plain build; clients, and all that runs in the test's own process, stay under the detector.
const raced = true
