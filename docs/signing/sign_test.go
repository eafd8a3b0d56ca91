package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/testutil"
)

const vectorFile = "vectors.tsv"

// vectors returns the text of vectors.tsv as imageurl.Signer makes it. UPDATE=1 writes the file.
func vectors(t *testing.T) string {
	t.Helper()
	const (
		key1    = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
		key2    = "F0e1d2c3b4a5968778695a4b3c2d1e0f00112233445566778899aabbccddeeff"
		expires = 1798761600 // 2027-01-01
	)
	var text strings.Builder
	text.WriteString("key_id\tkey_hex\tshape\tversion\tsource\tname\tformat\texpires\tpath\n")
	for _, v := range []struct {
		id, key                                 string
		shape, version, source, name, extension string
		expires                                 int64
	}{
		{"k1", key1, "640x640-cover-q70", "e.9f86d081884c7d65", "posts", "2026/11/abc.jpg", "webp", 0},
		{"k1", key1, "880x", "v.1", "posts", "2026/11/abc.jpg", "jpg", 0},
		{"k1", key1, "880x", "live", "posts", "2026/11/abc.jpg", "auto", 0},
		{"k1", key1, "880x", "v.1", "posts", "no-extension", "avif", 0},
		{"k1", key1, "orig", "v.1", "posts", "2026/11/abc.jpg", "", 0},
		{"k1", key1, "info", "s.3HL4kqtJvjVBH40Nrjfkd", "posts", "2026/11/abc.jpg", "json", 0},
		{"k1", key1, "96x96-cover-face", "v.1", "user-avatars", "u1.png", "webp", expires},
		{"k1", key1, "orig", "v.1", "posts", "a b.jpg", "", expires},
		{"k2", key2, "880x", "v.1", "posts", "2026/11/abc.jpg", "webp", 0},
		{"rot8long", strings.Repeat("a5", 100), "880x", "v.1", "posts", "2026/11/abc.jpg", "webp", 0},
		{"k1", key1, "880x", "e.~YS9i", "posts", "2026/11/abc.jpg", "webp", 0},
		{"k1", key1, "880x", "v.1", "posts", "Zoë & Jürgen (2)+.jpg", "webp", 0},
		{"k1", key1, "880x", "v.1", "posts", "猫/🐈.heic", "webp", 0},
		{"k1", key1, "880x", "v.1", "posts", "50%25.jpg", "webp", 0},
		{"k1", key1, "880x", "v.1", "posts", "~home.jpg", "webp", 0},
		{"k1", key1, "880x", "v.1", "posts", "a~b-c_d.e/~f", "webp", 0},
		{"k1", key1, "880x", "v.1", "posts", "a//b.jpg", "webp", 0},
		{"k1", key1, "880x", "v.1", "posts", "../b.jpg", "webp", 0},
		{"k1", key1, "880x", "v.1", "posts", "a/./b.jpg", "webp", 0},
		{"k1", key1, "880x", "v.1", "posts", "/b.jpg", "webp", 0},
		{"k1", key1, "880x", "v.1", "posts", "dir/", "webp", 0},
		{"k1", key1, "880x", "v.1", "posts", "...", "webp", 0},
	} {
		keys, err := imageurl.ParseKeys(v.id + "=" + v.key)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := imageurl.NewSigner(keys...)
		if err != nil {
			t.Fatal(err)
		}
		spec := strings.TrimSuffix(v.shape+"."+v.extension, ".")
		ref, err := imageurl.ParseImage(v.source, v.name, v.version, spec)
		if err != nil {
			t.Fatal(err)
		}
		var o imageurl.SignOptions
		if v.expires != 0 {
			o.Expires = time.Unix(v.expires, 0)
		}
		path, err := signer.Sign(ref, o)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&text, strings.Join([]string{v.id, v.key, v.shape, v.version, v.source, v.name, v.extension,
			strconv.FormatInt(v.expires, 10), path}, "\t"))
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(vectorFile, []byte(text.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

func TestVectors_AreCurrent(t *testing.T) {
	want := vectors(t)
	if have, err := os.ReadFile(vectorFile); err != nil || string(have) != want {
		t.Errorf("%s differs from what imageurl.Signer makes (%v): UPDATE=1 go test ./docs/signing", vectorFile, err)
	}
}

// Each example signs all test vectors. An example whose language CI lacks is skipped there, too,
// but its file must exist.
func TestExamples_SignVectors(t *testing.T) {
	if testing.Short() {
		t.Skip("runs nine languages")
	}
	text := vectors(t)
	var want strings.Builder
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if i > 0 {
			want.WriteString(line[strings.LastIndexByte(line, '\t')+1:] + "\n")
		}
	}
	var out strings.Builder
	if err := run(strings.NewReader(text), &out); err != nil || out.String() != want.String() {
		t.Errorf("sign.go: %v\n%swant\n%s", err, &out, &want)
	}
	for _, example := range []struct {
		file, needs string
		run         []string // a shell command; FILE is the file, DIR a temporary directory
		required    bool     // in CI
	}{
		{"sign.sh", "openssl", []string{"bash", "FILE"}, true},
		{"sign.py", "python3", []string{"python3", "FILE"}, true},
		{"sign.mjs", "node", []string{"node", "FILE"}, false},
		{"Sign.java", "javac", []string{"java", "FILE"}, false},
		{"sign.rb", "ruby", []string{"ruby", "FILE"}, false},
		{"sign.php", "php", []string{"php", "FILE"}, false},
		{"sign.swift", "swift", []string{"swift", "FILE"}, false},
		{"sign.kt", "kotlinc", []string{"sh", "-c", "kotlinc FILE -include-runtime -d DIR/s.jar && java -jar DIR/s.jar"},
			false},
	} {
		t.Run(example.file, func(t *testing.T) {
			file, err := filepath.Abs(example.file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(file); err != nil {
				t.Fatal(err)
			}
			if example.required {
				testutil.Command(t, "install "+example.needs, example.needs)
			} else if testing.Short() {
				t.Skip("may take a minute to compile")
			} else if _, err := exec.LookPath(example.needs); err != nil {
				t.Skipf("%s is not installed", example.needs)
			}
			replace := strings.NewReplacer("FILE", file, "DIR", t.TempDir())
			args := make([]string, len(example.run))
			for i, arg := range example.run {
				args[i] = replace.Replace(arg)
			}
			cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
			var stderr bytes.Buffer
			cmd.Stdin, cmd.Stderr = strings.NewReader(text), &stderr
			out, err := cmd.Output()
			if err != nil || strings.ReplaceAll(string(out), "\r\n", "\n") != want.String() {
				t.Errorf("%v\n%s\n%s\nwant\n%s", err, &stderr, out, &want)
			}
		})
	}
}
