package pagecache

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestMessages_Check(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		bad  bool
	}{
		"answers":            {"+OK\r\n-ERR no\r\n:12\r\n$3\r\na\nb\r\n$0\r\n\r\n$-1\r\n*-1\r\n_\r\n#t\r\n,1.5\r\n(123\r\n=5\r\ntxt:a\r\n", false},
		"arrays":             {"*2\r\n*0\r\n%1\r\n+a\r\n~1\r\n:1\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n", false},
		"attribute":          {"|1\r\n+ttl\r\n:3600\r\n*1\r\n|0\r\n:1\r\n:2\r\n", false},
		"largest string":     {"$1000000\r\n" + strings.Repeat("a", 1_000_000) + "\r\n+OK\r\n", false},
		"many messages":      {strings.Repeat("*3\r\n:1\r\n:2\r\n:3\r\n", maxElements), false},
		"negative length":    {"$-2\r\n", true},
		"negative array":     {"*-5\r\n", true},
		"null map":           {"%-1\r\n", true},
		"absurd length":      {"$9223372036854775807\r\n", true},
		"length overflow":    {"$99999999999999999999\r\n", true},
		"a large string":     {"$40000000\r\n", true},
		"a large array":      {"*1000000000\r\n", true},
		"a large map":        {"%4611686018427387904\r\n", true},
		"nested arrays":      {strings.Repeat("*1\r\n", maxDepth+1), true},
		"endless attributes": {strings.Repeat("|1\r\n:1\r\n:2\r\n", maxElements), true},
		"endless array":      {"*3\r\n" + strings.Repeat("*50000\r\n"+strings.Repeat(":1\r\n", 50_000), 3), true},
		"endless line":       {"+" + strings.Repeat("a", maxLine), true},
		"strings in total": {
			"*40\r\n" + strings.Repeat("$1000000\r\n"+strings.Repeat("a", 1_000_000)+"\r\n", 40), true,
		},
		"string in pieces":  {"$?\r\n;3\r\nabc\r\n;0\r\n", true},
		"array in pieces":   {"*?\r\n:1\r\n.\r\n", true},
		"hidden by boolean": {"#tXX$-5\r\n", true},
		"hidden by null":    {"_XX$-5\r\n", true},
		"another protocol":  {"HTTP/1.1 400 Bad Request\r\n", true},
		"no return":         {":1\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{
				strings.NewReader(c.text), iotest.OneByteReader(strings.NewReader(c.text)),
			} {
				conn := &tracked{}
				var err error
				for buffer := make([]byte, 1000); err == nil; {
					var n int
					if n, err = r.Read(buffer); err == nil {
						err = conn.messages.check(buffer[:n])
					}
				}
				if c.bad != errors.Is(err, errMessage) {
					t.Errorf("%v, want an error: %v", err, c.bad)
				}
				if !c.bad && (len(conn.messages.open) > 0 || conn.messages.skip > 0 || conn.messages.bytes > 0) {
					t.Errorf("not ended: %+v", conn.messages)
				}
			}
		})
	}
}
