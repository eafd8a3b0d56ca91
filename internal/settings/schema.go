// Package settings reads a program's settings from one schema with three spellings: the flag --cache-disk-size, the
// environment variable PREFIX_CACHE_DISK_SIZE and the YAML key cache.disk.size of the file that --config names. Flags
// override the environment, the environment overrides the file, and the file overrides the defaults.
//
// An unknown key is a fault that names the nearest known one. All faults are reported together, each with its place
// ([Faults]). The only setting that the package itself knows is config; the schemas are in the programs' config
// packages.
//
// Start reading at [Schema.Resolve].
package settings

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ConfigName is the setting that names the YAML file. The file itself cannot contain it.
const ConfigName = "config"

// Setting is one setting.
type Setting struct {
	Name        string // lower-case words joined by "-": cache-disk-size
	Help        string // one or two sentences for --help
	Placeholder string // of the value in --help: SIZE, NAME=URL
	Group       string // heading in --help
	Default     string // as a user would write it; "" leaves Value unchanged
	DefaultHelp string // shown by --help instead of Default, if that depends on the machine
	Required    string // note in --help that the setting is required, such as "required unless --dev"
	Value       Value
	// Secret settings are never printed. They can also be read from a file: flag --NAME-file, variable
	// PREFIX_NAME_FILE, YAML key name-file.
	Secret bool
}

// Schema is the settings of a program.
type Schema struct {
	Prefix   string // of the environment variables, with its "_": IMAGETIER_
	Settings []Setting
	// Foreign reports whether a variable that begins with Prefix belongs to another program. The variables that
	// Kubernetes sets for a Service with the program's name are always ignored.
	Foreign func(variable string) bool
}

// fileSuffix is appended to the name of a secret setting to name its file.
const fileSuffix = "-file"

// FileOf returns the name of the setting for the file of a secret.
func FileOf(name string) string { return name + fileSuffix }

// Env returns the environment variable of a setting.
func (s *Schema) Env(name string) string {
	return s.Prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Key returns the YAML key of a setting: cache.disk.size for cache-disk-size. The keys of secrets' files are keys-file
// and admin.token-file, because keys is a value and cannot have children.
func (s *Schema) Key(name string) string {
	if base, ok := strings.CutSuffix(name, fileSuffix); ok && s.isSecret(base) {
		return strings.ReplaceAll(base, "-", ".") + fileSuffix
	}
	return strings.ReplaceAll(name, "-", ".")
}

func (s *Schema) isSecret(name string) bool {
	return slices.ContainsFunc(s.Settings, func(x Setting) bool { return x.Secret && x.Name == name })
}

// names returns the name of every setting, those for the files of secrets included.
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

func (s *Schema) isList(name string) bool {
	return slices.ContainsFunc(s.Settings, func(x Setting) bool {
		_, ok := x.Value.(list)
		return ok && x.Name == name
	})
}

// UnknownFlag returns the fault of a flag ("--cache-disk-szie") that a command does not have. known are the flags that
// it has, with their dashes.
func (s *Schema) UnknownFlag(flag string, known []string) Fault {
	if name, ok := strings.CutPrefix(flag, "--"); ok && slices.Contains(s.names(), name) {
		return Fault{flag, errors.New("this command does not have this flag")}
	}
	return Fault{flag, unknown(flag, known)}
}

var (
	nameForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	// Kubernetes sets these variables in every pod of the namespace, for a Service with the name of the program.
	kubernetes = regexp.MustCompile(
		`^(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`,
	)
)

// Check returns the faults of the schema itself: invalid or duplicate names, invalid defaults, and settings that are
// both a value and the parent of others in YAML. Programs call it in a test.
func (s *Schema) Check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !strings.HasSuffix(s.Prefix, "_") {
		fault("prefix %q does not end with _", s.Prefix)
	}
	seen := map[string]bool{}
	for _, name := range s.names() {
		if !nameForm.MatchString(name) {
			fault("%q is not a valid name", name)
		}
		if seen[name] {
			fault("%s is a duplicate", name)
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
			fault("%s has no Value", x.Name)
		case x.Help == "":
			fault("%s has no Help", x.Name)
		case x.Default != "":
			if err := x.Value.Set(x.Default); err != nil {
				fault("the default of %s: %w", x.Name, err)
			}
		}
	}
	return errors.Join(faults...)
}
