// Package settings reads a program's settings from one schema in three spellings: the flag
// --cache-disk-size, the environment variable PREFIX_CACHE_DISK_SIZE and the YAML key
// cache.disk.size of the file that --config names. A flag goes before the environment, the
// environment before the file, and the file before the default.
//
// A key that no setting has is a fault that names the nearest one, and all faults are
// reported at once, each with the place it came from (Faults). The package knows no
// setting by itself but config: the programs' config packages make the schema.
package settings

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ConfigName is the setting that names the YAML file. It is in no file itself.
const ConfigName = "config"

// Setting is one setting.
type Setting struct {
	Name        string // lower-case words joined by "-": cache-disk-size
	Help        string // one or two sentences for --help
	Placeholder string // what --help writes for the value: SIZE, NAME=URL
	Group       string // the heading of --help it stands under
	Default     string // as a user would spell it; "" leaves Value as it is
	DefaultHelp string // what --help says instead of Default, where that depends on the machine
	Required    string // what --help says of a setting without which the program does not start: "required"
	Value       Value
	// Secret settings are never printed, and may be given as the name of a file that
	// holds them: flag --NAME-file, variable PREFIX_NAME_FILE, YAML key name-file.
	Secret bool
}

// Value reads a setting's text and puts it where the program wants it.
type Value interface {
	// Set reads text. The error says what is wanted and never shows a secret.
	Set(text string) error
	// String returns the text that Set would read as the value there is now.
	String() string
}

// Schema is what a program can be told.
type Schema struct {
	Prefix   string // of the environment variables, with its "_": IMAGETIER_
	Settings []Setting
	// Foreign reports whether a variable that begins with Prefix is somebody else's.
	// What Kubernetes sets for a Service of the program's name is known without it.
	Foreign func(variable string) bool
}

// fileSuffix makes the name of the file that holds a secret.
const fileSuffix = "-file"

// FileOf returns the name by which the file of a secret is given.
func FileOf(name string) string { return name + fileSuffix }

// Env returns the environment variable of a setting.
func (s *Schema) Env(name string) string {
	return s.Prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Key returns the YAML key of a setting: the words of its name, each inside the one before.
// The file of a secret is keys-file and admin.token-file, because keys is a value and
// holds nothing.
func (s *Schema) Key(name string) string {
	if base, ok := strings.CutSuffix(name, fileSuffix); ok && s.isSecret(base) {
		return strings.ReplaceAll(base, "-", ".") + fileSuffix
	}
	return strings.ReplaceAll(name, "-", ".")
}

func (s *Schema) isSecret(name string) bool {
	return slices.ContainsFunc(s.Settings, func(x Setting) bool { return x.Secret && x.Name == name })
}

// names returns every name that can be given, the files of secrets too.
func (s *Schema) names() []string {
	var all []string
	for _, x := range s.Settings {
		all = append(all, x.Name)
		if x.Secret {
			all = append(all, x.Name+fileSuffix)
		}
	}
	return all
}

// keys returns every YAML key.
func (s *Schema) keys() []string {
	var all []string
	for _, name := range s.names() {
		if name != ConfigName {
			all = append(all, s.Key(name))
		}
	}
	return all
}

var (
	nameForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	// A Service named as the program gives every pod of its namespace these variables.
	kubernetes = regexp.MustCompile(`^(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)
)

// Check returns what is wrong with the schema itself: names that are none or are there
// twice, defaults that cannot be read, and settings that are both a value and a parent of
// others in YAML. A program calls it in a test.
func (s *Schema) Check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !strings.HasSuffix(s.Prefix, "_") {
		fault("prefix %q has no _ at its end", s.Prefix)
	}
	seen := map[string]bool{}
	for _, name := range s.names() {
		if !nameForm.MatchString(name) {
			fault("%q is no name of a setting", name)
		}
		if seen[name] {
			fault("%s is there twice", name)
		}
		seen[name] = true
		if kubernetes.MatchString(strings.TrimPrefix(s.Env(name), s.Prefix)) {
			fault("%s is a variable that Kubernetes sets", s.Env(name))
		}
	}
	var keys []string
	for _, name := range s.names() {
		keys = append(keys, s.Key(name))
	}
	for _, key := range keys {
		for _, other := range keys {
			if strings.HasPrefix(other, key+".") {
				fault("in YAML %s is both a value and the parent of %s", key, other)
			}
		}
	}
	for _, x := range s.Settings {
		switch {
		case x.Value == nil:
			fault("%s has no value to set", x.Name)
		case x.Help == "":
			fault("%s has no help", x.Name)
		case x.Default != "":
			if err := x.Value.Set(x.Default); err != nil {
				fault("the default of %s: %w", x.Name, err)
			}
		}
	}
	return errors.Join(faults...)
}
