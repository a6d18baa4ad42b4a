package turn

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/store/embedded/pgtest"
	"github.com/towpath/towpath/worker/supervise"
)

func TestMain(m *testing.M) {
	supervise.GuardMain()
	code := pgtest.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}
