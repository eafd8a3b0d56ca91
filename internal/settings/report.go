package settings

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// Reported is a setting as it may be shown.
type Reported struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"` // never of a secret
	Set   bool   `json:"set"`             // whether there is a value
	From  string `json:"from"`            // default, file, environment, flag
	At    string `json:"at,omitempty"`    // which flag or variable, which line of the file
	File  string `json:"file,omitempty"`  // that holds the secret
}

// Report returns the settings that were read, without secrets.
func (r *Resolved) Report() []Reported {
	var all []Reported
	for _, v := range r.Values {
		if v.Name == ConfigName && v.Value.String() == "" {
			continue
		}
		one := Reported{Name: v.Name, Value: v.Value.String(), File: v.SecretFile, From: v.Place.Layer.String(), At: v.Place.At}
		one.Set = one.Value != ""
		if v.Secret {
			one.Value = ""
		}
		all = append(all, one)
	}
	return all
}

// YAML returns the settings that were read as a file that reads back as the same settings, with
// a comment that says where each came from. Of secrets it has the file that holds them or,
// where there is none, a comment.
func (r *Resolved) YAML() string {
	s := r.schema
	t := &yamlTree{}
	for _, v := range r.Values {
		if v.Name == ConfigName {
			continue
		}
		key, comment := s.Key(v.Name), strings.Join(strings.Fields(v.Place.String()), " ")
		text := v.Value.String()
		switch _, isList := v.Value.(list); {
		case v.SecretFile != "":
			t.put(s.Key(v.Name+fileSuffix), quote(v.SecretFile), comment)
		case text == "":
			t.put(key, "", "not set")
		case v.Secret:
			t.put(key, "", "(secret), "+comment)
		case isList:
			var items []string
			for item := range strings.SplitSeq(text, ",") {
				items = append(items, strconv.Quote(item))
			}
			t.put(key, "["+strings.Join(items, ", ")+"]", comment)
		default:
			t.put(key, quote(text), comment)
		}
	}
	var b strings.Builder
	t.write(&b, "")
	return b.String()
}

// quote spells a value so that YAML reads it back as this text, or as what is read alike.
func quote(text string) string {
	if text == "true" || text == "false" || digits(text) {
		return text
	}
	b, err := yaml.Marshal(text)
	if err != nil || strings.Count(string(b), "\n") > 1 {
		return strconv.Quote(text)
	}
	return strings.TrimSpace(string(b))
}

// yamlTree is a mapping in the order it is printed in.
type yamlTree struct {
	key, value, comment string
	inside              []*yamlTree
}

func (t *yamlTree) put(key, value, comment string) {
	for word := range strings.SplitSeq(key, ".") {
		at := slices.IndexFunc(t.inside, func(x *yamlTree) bool { return x.key == word })
		if at < 0 {
			t.inside = append(t.inside, &yamlTree{key: word})
			at = len(t.inside) - 1
		}
		t = t.inside[at]
	}
	t.value, t.comment = value, comment
}

// given reports whether anything in t has a value: a mapping of comments alone is none.
func (t *yamlTree) given() bool {
	return t.value != "" || slices.ContainsFunc(t.inside, (*yamlTree).given)
}

func (t *yamlTree) write(b *strings.Builder, indent string) {
	for _, x := range t.inside {
		mark := ""
		if !x.given() {
			mark = "# "
		}
		line := strings.TrimRight(indent+mark+x.key+": "+x.value, " ")
		if len(x.inside) > 0 {
			b.WriteString(line + "\n")
			x.write(b, indent+"  ")
			continue
		}
		fmt.Fprintf(b, "%-44s # %s\n", line, x.comment)
	}
}
