package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
)

// snippets lists the shell blocks of the documentation, by page and the beginning of the block. notRun
// says why a block is not run.
var snippets = []struct {
	page, begins string
	want         string // in the output of one that is run
	notRun       string
}{
	{"README.md", "git clone", "", "needs the network, and serves until it is stopped"},
	{"README.md", "docker build", "", "needs Docker"},
	{"docs/start/README.md", "git clone", "", "needs the network, and builds what this test has built"},
	{"docs/start/README.md", "export IMAGETIER_KEYS", "", "needs a bucket at Amazon, and serves until it is stopped"},
	{"docs/start/README.md", "bin/imagetier sign", "http://localhost:8080/i/k1.", ""},
	{"docs/start/README.md", "brew install", "", "needs macOS"},
	{"docs/gateway/README.md", "imagetier-gateway proxy", "", "serves until it is stopped; gateway/e2e runs it"},
	{"docs/gateway/README.md", "imagetier-gateway serve", "", "serves until it is stopped; gateway/e2e runs it"},
	{"docs/api/README.md", "curl -X POST", `"applied": 1`, ""},
	{"docs/migrate/README.md", "imagetier migrate-url", "/i/k1.", ""},
	{"docs/operate/README.md", "imagetier doctor", "2026/11/abc.jpg", ""},
	{"docs/operate/console.md", "ssh", "", "needs another machine"},
	{"docs/operate/deploying.md", "sudo apt install", "", "installs packages"},
	{"docs/operate/deploying.md", "helm install", "", "needs Kubernetes"},
	{"docs/operate/deploying.md", "sudo sh -c", "", "writes to /etc"},
	{"docs/operate/README.md", "export OTEL_", "", "only sets variables, which another test uses"},
	{"docs/operate/configuration.md", "imagetier config print", "cache.disk.size: ", ""},
	{"docs/signing/README.md", "echo", "", ""},
	{"docs/signing/README.md", "imagetier verify", "good, by the key k1", ""},
	{"docs/signing/README.md", "python3 sign.py", "ok", ""},
	{"docs/warming/README.md", "body=", "HTTP/1.1 202", ""},
	{"docs/warming/README.md", "path=", "Cache-Status: imagetier", ""},
	{"docs/warming/README.md", "imagetier warm", "1 images", ""},
}

var shellBlock = regexp.MustCompile("(?ms)^ *```(?:sh|bash|console)\n(.*?)^ *```$")

// Every shell block of the documentation is run against a tier, unless snippets says why not.
func TestDocs_Snippets(t *testing.T) {
	const root = "../../.."
	blocks := map[string][]string{}
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-co", "--exclude-standard", "--", "*.md")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range strings.Fields(string(out)) {
		text, err := os.ReadFile(filepath.Join(root, page))
		if os.IsNotExist(err) {
			continue // deleted, not yet committed
		} else if err != nil {
			t.Fatal(err)
		}
		for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
			blocks[page] = append(blocks[page], block[1])
		}
	}
	run := snippetRunner(t)
	for _, s := range snippets {
		t.Run(s.page+" "+s.begins, func(t *testing.T) {
			var block string
			for i, b := range blocks[s.page] {
				if strings.HasPrefix(b, s.begins) {
					block = b
					blocks[s.page][i] = ""
					break
				}
			}
			if block == "" {
				t.Fatal("the page has no such block")
			}
			if s.notRun != "" {
				return
			}
			if got := run(t, block); !strings.Contains(got, s.want) {
				t.Errorf("%s\nprints\n%s\nwithout %q", block, got, s.want)
			}
		})
	}
	for page, left := range blocks {
		for _, block := range left {
			if block != "" {
				t.Errorf("%s: add this block to snippets:\n%s", page, block)
			}
		}
	}
}

// snippetRunner starts a tier, and returns a function that runs a shell block as if the tier had
// the addresses in the documentation.
func snippetRunner(t *testing.T) func(t *testing.T, block string) string {
	for _, program := range []string{"bash", "curl", "openssl", "python3"} {
		testutil.Command(t, "install "+program, program)
	}
	posts, dir := t.TempDir(), t.TempDir()
	writePhoto(t, filepath.Join(posts, "2026", "11", "abc.jpg"))
	writePhoto(t, filepath.Join(posts, "u1.jpg"))
	source, prefix := "posts=dir://"+posts, "https://cdn.app.example/=posts"
	x := start(t, "--keys", key, "--source", source, "--image-prefix", prefix, "--admin-token", token,
		"--webhook-secrets", hookSecret, "--cache-dir", t.TempDir())
	public, private := strings.TrimPrefix(x.public, "http://"), strings.TrimPrefix(x.private, "http://")
	vectors, err := filepath.Abs("../../../docs/signing")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"keys.txt":      key,
		"urls.txt":      "/insecure/rs:fill:300:200/plain/s3://bucket/2026/11/abc.jpg@webp\n",
		"yesterday.log": signedPath(t, "/440x/v.1/posts/2026/11/abc.jpg.webp") + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"bin": bin, "sign.py": filepath.Join(vectors, "sign.py"), "vectors.tsv": filepath.Join(vectors, "vectors.tsv"),
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	// The block of docs/signing that makes a key must not replace that of the tier.
	here := strings.NewReplacer("> keys.txt", "> new.txt", "127.0.0.1:8081", private, "127.0.0.1:8080", public,
		"explain URL ", "explain "+signedPath(t, "/440x/v.1/posts/2026/11/abc.jpg.webp")+" ")
	return func(t *testing.T, block string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-c", here.Replace(block))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(),
			"PATH="+bin+":"+os.Getenv("PATH"), "KEY="+key, "TOKEN="+token, "SECRET="+hookSecret,
			"IMAGETIER_KEYS="+key, "IMAGETIER_SOURCE="+source, "IMAGETIER_PRIVATE_LISTEN="+private,
			"IMAGETIER_ADMIN_TOKEN="+token, "IMAGETIER_CACHE_DIR="+t.TempDir())
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%v\n%s%s", err, out, &stderr)
		}
		return string(out)
	}
}

// writePhoto writes a JPEG.
func writePhoto(t *testing.T, file string) {
	t.Helper()
	original, err := os.ReadFile("../../../docs/urls/img/original.jpg")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, original, 0o600); err != nil {
		t.Fatal(err)
	}
}
