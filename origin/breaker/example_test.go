package breaker_test

import (
	"context"
	"fmt"
	"time"

	"github.com/novasocial/imagetier/internal/circuit"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/breaker"
)

// The recommended order of the wrappers.
func Example() {
	var src origin.Source = &fakeSource{do: works} // s3origin.New, dirorigin.Open, weborigin.New
	src = origin.Retry(src, origin.RetryConfig{MaxBytes: 32 << 20})
	src = origin.Deadline(src, 5*time.Second)
	src = origin.Limit(src, origin.LimitConfig{Requests: 64})
	src = breaker.New(src, circuit.Config{})

	original, err := origin.ReadAll(context.Background(), src, "2026/11/abc.jpg", origin.Cond{}, 32<<20)
	fmt.Printf("%s %v\n", original.Body, err)
	// Output: ok <nil>
}
