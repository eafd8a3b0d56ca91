package workers_test

import (
	"os"
	"sync"
)

var realDir string
var _ sync.Once
var _ = os.Args
