package settings

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// Reported is a setting without secrets.
type Reported struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"` // empty for secrets
	Set   bool   `json:"set"`             // whether there is a value
	From  string `json:"from"`            // default, file, environment, flag
	At    string `json:"at,omitempty"`    // the flag, the variable, or the line of the file
	File  string `json:"file,omitempty"`  // the file that the secret was read from
}

// Report returns the settings that were read, without secrets.
func (r *Resolved) Report() []Reported {
	var all []Reported
	for _, v := range r.Values {
		if v.Name == ConfigName && v.Value.String() == "" {
			continue
		}
		one := Reported{
			Name: v.Name, Value: v.Value.String(), File: v.SecretFile, From: v.Place.Layer.String(), At: v.Place.At,
		}
		one.Set = one.Value != ""
		if v.Secret {
			one.Value = ""
		}
		all = append(all, one)
	}
	return all
}

// YAML returns the settings that were read as a file for --config, one per line, with a comment that says where the
// value came from. Secrets are left out; the names of their files are not.
func (r *Resolved) YAML() string {
	var b strings.Builder
	for _, v := range r.Values {
		if v.Name == ConfigName {
			continue
		}
		key, place, text := r.schema.Key(v.Name), v.Place.String(), v.Value.String()
		var value any = text
		if _, isList := v.Value.(list); isList {
			value = strings.Split(text, ",")
		}
		switch {
		case v.SecretFile != "":
			key, value = r.schema.Key(FileOf(v.Name)), v.SecretFile
		case text == "":
			key, value, place = "# "+key, nil, "not set"
		case v.Secret:
			key, value, place = "# "+key, nil, "(secret), "+place
		}
		fmt.Fprintf(&b, "%-44s # %s\n", key+": "+yamlValue(value), strings.Join(strings.Fields(place), " "))
	}
	return b.String()
}

// yamlValue formats a value on one line; nil is "".
func yamlValue(value any) string {
	text, isText := value.(string)
	switch {
	case value == nil:
		return ""
	case text == "true" || text == "false" || digits(text):
		return text // needs no quotes: scalars are read as they are written
	}
	b, err := yaml.MarshalWithOptions(value, yaml.Flow(true))
	if line := strings.TrimSpace(string(b)); err == nil && !strings.Contains(line, "\n") {
		return line
	} else if isText {
		return strconv.Quote(text)
	}
	return fmt.Sprintf("%q", value)
}
