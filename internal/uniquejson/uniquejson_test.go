package uniquejson_test

import (
	"strings"
	"testing"

	"github.com/novasocial/imagetier/internal/uniquejson"
)

func TestCheck(t *testing.T) {
	deep := strings.Repeat(`{"a":[`, 4000) + "1" + strings.Repeat("]}", 4000)
	for _, text := range []string{
		`1`, `[]`, `{}`, `{"a":1,"b":{"a":2},"c":[{"a":3},{"a":4}]}`, `{"a":1,"A":2}`, deep,
	} {
		if err := uniquejson.Check([]byte(text)); err != nil {
			t.Errorf("%.100s: %v", text, err)
		}
	}
	for _, text := range []string{
		`{"a":1,"a":1}`, `{"a":1,"\u0061":2}`, `[{"b":{"a":[],"c":1,"a":{}}}]`, `{"":1,"":2}`,
		strings.Replace(deep, "1", `{"name":1,"name":2}`, 1),
	} {
		if err := uniquejson.Check([]byte(text)); err == nil || !strings.Contains(err.Error(), "occurs twice") {
			t.Errorf("%.100s: %v", text, err)
		}
	}
}
