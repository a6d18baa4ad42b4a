// Package rewrite turns a plugin's module into what the engine runs, in one pass over its sections, or refuses it
// with a sentence that names the fix. It imports the standard library and the contract only.
package rewrite
