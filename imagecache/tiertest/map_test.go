package tiertest_test

import (
	"testing"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/tiertest"
)

func TestMap_Conformance(t *testing.T) {
	tiertest.Run(t, func(*testing.T) imagecache.Tier { return &tiertest.Map{} })
}
