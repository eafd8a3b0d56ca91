package docs

import (
	"go/constant"
	"go/token"
	"go/types"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Each measurement of the sizing example is a number of the page that it links to, and each calculation
// has the result beside it.
func TestSizing_Example(t *testing.T) {
	text, err := os.ReadFile("operate/sizing.md")
	if err != nil {
		t.Fatal(err)
	}
	linked := regexp.MustCompile(`^\[[^\]]*\]\(([^)#]*)[^)]*\)$`)
	integer := regexp.MustCompile(`(^|[^.\d])(\d+)($|[^.\d])`)
	calculations, measurements := 0, 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		plain := strings.NewReplacer(",", "", "×", "*")
		if link := linked.FindStringSubmatch(cells[2]); link != nil {
			measurements++
			page, err := os.ReadFile(filepath.Join("operate", link[1]))
			if err != nil {
				t.Fatal(err)
			}
			if value := cells[1]; !strings.Contains(string(page), value) &&
				!strings.Contains(string(page), strings.ReplaceAll(value, ".", "")) {
				t.Errorf("%s: %s is not in %s", cells[0], value, link[1])
			}
			continue
		}
		want, err := strconv.ParseFloat(plain.Replace(cells[2]), 64)
		if err != nil {
			continue
		}
		calculations++
		formula := plain.Replace(cells[1])
		for range 2 { // neighbouring matches share the characters between them
			formula = integer.ReplaceAllString(formula, "$1$2.0$3") // or / divides integers
		}
		result, err := types.Eval(token.NewFileSet(), nil, token.NoPos, formula)
		if err != nil {
			t.Fatalf("%s: %s: %v", cells[0], formula, err)
		}
		got, _ := constant.Float64Val(result.Value)
		_, decimals, _ := strings.Cut(cells[2], ".")
		if math.Abs(got-want) > 0.501*math.Pow10(-len(decimals)) {
			t.Errorf("%s: %s is %v, not %v", cells[0], cells[1], got, want)
		}
	}
	if calculations < 10 || measurements < 4 {
		t.Errorf("found %d calculations and %d measurements", calculations, measurements)
	}
}
