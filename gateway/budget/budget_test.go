package budget_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/novasocial/imagetier/gateway/budget"
)

func TestBudget_ReadAll(t *testing.T) {
	b := budget.New(1 << 20)
	for _, size := range []int{0, 1, budget.MinRoom, budget.MinRoom + 1, 100_000} {
		want := bytes.Repeat([]byte("a"), size)
		got, release, err := b.ReadAll(iotest.HalfReader(bytes.NewReader(want)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
		release()
	}
	if !b.Take(0, 256<<10) {
		t.Error("not all was given back")
	}
}

// Large bodies fill three quarters of the rest each, and small ones still pass.
func TestBudget_ReadAll_Full(t *testing.T) {
	b := budget.New(1 << 20)
	large := strings.Repeat("a", 60<<10)
	read := 0
	for range 1000 {
		_, release, err := b.ReadAll(strings.NewReader(large))
		if err == nil {
			read++ // and kept
			continue
		}
		release()
		if !errors.Is(err, budget.ErrFull) {
			t.Fatal(err)
		}
	}
	if read == 0 || read*(64<<10) > 1<<20 {
		t.Errorf("%d bodies of 60 KiB in 1 MiB", read)
	}
	text, _, err := b.ReadAll(io.LimitReader(strings.NewReader(large), 3<<10))
	if err != nil || len(text) != 3<<10 {
		t.Errorf("a small body: %d bytes, %v", len(text), err)
	}
}

func TestBudget_ReadAll_Error(t *testing.T) {
	b := budget.New(1 << 20)
	broken := errors.New("broken")
	_, release, err := b.ReadAll(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)))
	release()
	if !errors.Is(err, broken) || !b.Take(0, 256<<10) {
		t.Errorf("%v, or not all was given back", err)
	}
}
