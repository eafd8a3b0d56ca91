package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/novasocial/imagetier/internal/durable"
)

// warmState is how far a run of imagetier warm came, in a file.
type warmState struct {
	// Head is the SHA-256 of the first HeadBytes of the input: a state is of one input. A log
	// that has grown since is the same one.
	Head      string   `json:"head"`
	HeadBytes int      `json:"head_bytes"`
	Lines     int64    `json:"lines"` // done
	Sums      warmSums `json:"sums"`

	path  string // "" is none
	saved time.Time
}

const (
	warmHead  = 4096 // bytes of an input that tell it from another
	saveEvery = time.Second
)

// openWarmState reads the state in path, if there is one, and returns the input as it has to be
// read from then on. The error says that the state is of another input.
func openWarmState(path string, in io.Reader) (*warmState, io.Reader, error) {
	s := &warmState{path: path}
	if path == "" {
		return s, in, nil
	}
	peeked := bufio.NewReaderSize(in, max(warmHead, 64<<10))
	head, err := peeked.Peek(warmHead)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("read the input: %w", err)
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		s.HeadBytes, s.Head = len(head), sumOf(head)
		return s, peeked, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read how far it came: %w", err)
	}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, nil, fmt.Errorf("%s is no state of imagetier warm (remove it to begin anew): %w", path, err)
	}
	if s.HeadBytes < 0 || s.HeadBytes > len(head) || sumOf(head[:s.HeadBytes]) != s.Head {
		return nil, nil, fmt.Errorf("%s is the state of another input; remove it to begin anew", path)
	}
	return s, peeked, nil
}

func sumOf(head []byte) string {
	sum := sha256.Sum256(head)
	return hex.EncodeToString(sum[:])
}

// advance notes that the lines up to line are done, at most once a second in the file.
func (s *warmState) advance(line int64, sums warmSums) error {
	s.Lines, s.Sums = line, sums
	if time.Since(s.saved) < saveEvery {
		return nil
	}
	return s.write()
}

// write writes the file. What was answered of a batch that did not end is counted when it
// is asked again, so its sums are those of the lines that are done.
func (s *warmState) write() error {
	if s.path == "" {
		return nil
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(s.path, append(text, '\n')); err != nil {
		return fmt.Errorf("note how far it came: %w", err)
	}
	s.saved = time.Now()
	return nil
}

// remove forgets the state: all is done.
func (s *warmState) remove() error {
	if s.path == "" {
		return nil
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the state: %w", err)
	}
	return nil
}
