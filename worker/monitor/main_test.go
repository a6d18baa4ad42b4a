package monitor_test

import (
	"os"
	"testing"

	"github.com/towpath/towpath/store/embedded/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
