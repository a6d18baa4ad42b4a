package turn

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/store/embedded/pgtest"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}
