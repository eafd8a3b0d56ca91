package docs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

const urlPage = "urls/README.md"

func TestURLs_Options(t *testing.T) {
	var b strings.Builder
	b.WriteString("| option | meaning | without it | limits | only with |\n|---|---|---|---|---|\n")
	for _, o := range resize.Options() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n",
			"`"+strings.Join(o.Words, "` `")+"`", o.Meaning, o.Default, o.Limit, o.Goes)
	}
	testutil.Section(t, urlPage, "options", b.String())
}

func TestURLs_Examples(t *testing.T) {
	var cells []string
	for _, o := range resize.Options() {
		for _, name := range o.Examples {
			if _, err := os.Stat(filepath.Join("urls/img", name)); err == nil {
				cells = append(cells, fmt.Sprintf("![%s](img/%s)<br>`%s`", name, name, name))
			}
		}
	}
	const columns = 3
	var b strings.Builder
	b.WriteString(strings.Repeat("| ", columns) + "|\n" + strings.Repeat("|---", columns) + "|\n")
	for i, cell := range cells {
		b.WriteString("| " + cell + " ")
		if (i+1)%columns == 0 || i == len(cells)-1 {
			b.WriteString("|\n")
		}
	}
	testutil.Section(t, urlPage, "examples", b.String())
	files, err := filepath.Glob("urls/img/*-*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.Contains(b.String(), "img/"+filepath.Base(file)) {
			t.Errorf("%s is the example of no option", file)
		}
	}
}

func TestURLs_Formats(t *testing.T) {
	var b strings.Builder
	b.WriteString("| format | Content-Type | default quality | longest side | animations |\n|---|---|---|---|---|\n")
	for f := resize.JPEG; f.Concrete(); f++ {
		quality, animates := "none", ""
		if q := f.DefaultQuality(); q > 0 {
			quality = fmt.Sprint(q)
		}
		side := fmt.Sprintf("%d,%03d", f.LongestSide()/1000, f.LongestSide()%1000)
		if f.Animates() {
			animates = "kept"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s |\n", f, f.ContentType(), quality, side, animates)
	}
	testutil.Section(t, urlPage, "formats", b.String())
}

func TestURLs_Info(t *testing.T) {
	facts := resize.Info{
		Width: 3024, Height: 4032, Format: "jpg", Bytes: 3407872, Frames: 1, Orientation: 6,
		ThumbHash: "1QcSHQRnh493V4dIh4eXh1h4kJUI", BlurHash: "LEHV6nWB2yk8pyo0adR*.7kCMdnj", Color: "#8f8477",
	}
	body, err := json.Marshal(facts)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(body), `,"frames"`, ",\n \"frames\"", 1)
	testutil.Section(t, urlPage, "info", "```json\n"+text+"\n```")
}
