package jsoncheck_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/internal/jsoncheck"
)

var limits = jsoncheck.Limits{"images": 3, "images.tags": 1, "data.posts": 2}

func TestCheck_RepeatedNames(t *testing.T) {
	deep := strings.Repeat(`{"a":[`, 4000) + "1" + strings.Repeat("]}", 4000)
	for _, text := range []string{
		`1`, `[]`, `{}`, `{"a":1,"b":{"a":2},"c":[{"a":3},{"a":4}]}`, `{"a":1,"A":2}`, deep,
	} {
		if err := jsoncheck.Check([]byte(text), limits); err != nil {
			t.Errorf("%.100s: %v", text, err)
		}
	}
	for _, text := range []string{
		`{"a":1,"a":1}`, `{"a":1,"\u0061":2}`, `[{"b":{"a":[],"c":1,"a":{}}}]`, `{"":1,"":2}`,
		strings.Replace(deep, "1", `{"name":1,"name":2}`, 1),
	} {
		if err := jsoncheck.Check([]byte(text), limits); err == nil || !strings.Contains(err.Error(), "occurs twice") {
			t.Errorf("%.100s: %v", text, err)
		}
	}
}

func TestCheck_LongLists(t *testing.T) {
	for _, text := range []string{
		`{"images":[{},{"tags":["a"]},{"tags":["b"]}],"data":{"posts":[1,2],"images":[1,2,3,4,5]}}`,
		`{"posts":[1,2,3,4]}`, `[1,2,3,4]`, `{"other":{"images":[1,2,3,4]}}`, `{"":[1,2,3,4]}`,
	} {
		if err := jsoncheck.Check([]byte(text), limits); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, path := range map[string]string{
		`{"images":[{},{},{},{}`:           "images",
		`{"Images":[{},{},{},{}`:           "Images",
		`{"images":[{},{"tags":["a","b"`:   "images[1].tags",
		`{"images":[[1,2,3,4`:              "images[0]",
		`{"a":1,"data":{"posts":[1,2,3`:    "data.posts",
		`{"a":1,"data":[{"posts":[1,2,3,4`: "data[0].posts",
	} {
		var long *jsoncheck.LengthError
		err := jsoncheck.Check([]byte(text), limits)
		if !errors.As(err, &long) || long.Path != path || !strings.Contains(err.Error(), path+": it has more than") {
			t.Errorf("%s: %v, want %s", text, err, path)
		}
	}
}

func TestCheck_IsBounded(t *testing.T) {
	var names strings.Builder
	for i := range 10_001 {
		fmt.Fprintf(&names, `"%d":[0],`, i)
	}
	for text, says := range map[string]string{
		strings.Repeat("[", 1<<20):       "nested deeper than 10000 levels",
		strings.Repeat(`{"a":`, 1<<20):   "more than 10000 names",
		`{` + names.String():             "more than 10000 names",
		`{"images":[{}` + names.String(): "invalid character",
	} {
		if err := jsoncheck.Check([]byte(text), limits); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.20s: %v, want %s", text, err, says)
		}
	}
}
