package turn

import (
	"slices"
	"testing"

	"github.com/towpath/towpath/hostabi"
)

// The journal keeps the calls that the contract says it keeps. A guest sleeps by WASI's clock, not by a function of ours.
func TestTheJournalKeepsWhatTheContractSays(t *testing.T) {
	kept := []string{opHead.String(), opSleep.String()}
	for _, f := range hostabi.Functions {
		if f.Journal != "" {
			kept = append(kept, f.Name)
		}
	}
	slices.Sort(kept)
	if known := slices.Sorted(slices.Values(opNames[:])); !slices.Equal(known, kept) {
		t.Errorf("the journal knows %v, the contract names %v", known, kept)
	}
}
