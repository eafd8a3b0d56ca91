package warmlist

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

// Counts are the results of a run.
type Counts struct {
	Images   int64   `json:"images"`
	Hit      int64   `json:"hit"`
	Made     int64   `json:"made"`
	Failed   int64   `json:"failed"`
	Invalid  int64   `json:"wrong_lines"`
	Skipped  int64   `json:"skipped_lines"`
	Repeated int64   `json:"repetitions"`
	Seconds  float64 `json:"seconds"`
}

// State is how far a run came, in a file.
type State struct {
	// Head is the SHA-256 of the first HeadBytes of the input, in hex, which tells inputs
	// apart. An input that has grown since is the same one.
	Head      string `json:"head"`
	HeadBytes int    `json:"head_bytes"`
	Lines     int64  `json:"lines"` // warmed
	Counts    Counts `json:"sums"`

	path  string // "" keeps no state
	saved time.Time
}

const (
	headBytes = 4096
	maxState  = 64 << 10 // bytes of the file
	saveEvery = time.Second
)

// OpenState reads the state in the file at path, if it exists, and returns the input to
// read from then on. A state of another input is an error. If path is "", no state is kept.
func OpenState(path string, input io.Reader) (*State, io.Reader, error) {
	s := &State{path: path}
	if path == "" {
		return s, input, nil
	}
	peeked := bufio.NewReaderSize(input, 64<<10)
	head, err := peeked.Peek(headBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("read the input: %w", err)
	}
	text, err := durable.ReadFile(path, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		s.HeadBytes, s.Head = len(head), sumOf(head)
		return s, peeked, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the state: %w", err)
	}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, nil, fmt.Errorf("%s is not a state file of imagetier warm (remove it to start over): %w", path, err)
	}
	if s.HeadBytes < 0 || s.HeadBytes > len(head) || sumOf(head[:s.HeadBytes]) != s.Head {
		return nil, nil, fmt.Errorf("%s is the state file of another input; remove it to start over", path)
	}
	return s, peeked, nil
}

func sumOf(head []byte) string {
	sum := sha256.Sum256(head)
	return hex.EncodeToString(sum[:])
}

// Advance notes that the lines up to line are warmed. It saves the file at most once a second.
func (s *State) Advance(line int64, counts Counts) error {
	s.Lines, s.Counts = line, counts
	if time.Since(s.saved) < saveEvery {
		return nil
	}
	return s.Save()
}

// Save writes the file. Results of a batch that was not finished are left out: they are
// counted when it is warmed again.
func (s *State) Save() error {
	if s.path == "" {
		return nil
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(s.path, append(text, '\n')); err != nil {
		return fmt.Errorf("save the state: %w", err)
	}
	s.saved = time.Now()
	return nil
}

// Remove deletes the file, when everything is warmed.
func (s *State) Remove() error {
	if s.path == "" {
		return nil
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the state: %w", err)
	}
	return nil
}
