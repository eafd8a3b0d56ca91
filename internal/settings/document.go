package settings

import (
	"fmt"
	"strings"
)

// Documents made from a schema: docs/operate has the tables, deploy the samples. Tests keep them current.

// Markdown returns a table of the settings of each group, with headings of the second level.
func (s *Schema) Markdown() string {
	var b strings.Builder
	group := ""
	for _, x := range s.Settings {
		if x.Group != group {
			group = x.Group
			fmt.Fprintf(&b, "\n## %s\n\n| setting | default | |\n|---|---|---|\n", strings.TrimSuffix(group, ":"))
		}
		if x.Name == ConfigName {
			continue // the text above the tables describes it
		}
		flag := "--" + x.Name
		if x.Placeholder != "" {
			flag += " " + x.Placeholder
		}
		value := x.Default
		if x.DefaultHelp != "" {
			value = x.DefaultHelp
		}
		help := x.Help
		if x.Required != "" {
			help += " " + strings.ToUpper(x.Required[:1]) + x.Required[1:] + "."
		}
		if x.Secret {
			help += " Also as `--" + FileOf(x.Name) + " FILE`."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", flag, value, strings.ReplaceAll(help, "|", "\\|"))
	}
	return strings.TrimSpace(b.String()) + "\n"
}

// SampleYAML returns a YAML file with every setting and its help, all of them commented out.
func (s *Schema) SampleYAML() string {
	var b strings.Builder
	group := ""
	for _, x := range s.Settings {
		if x.Name == ConfigName {
			continue // not in the file
		}
		if x.Group != group {
			group = x.Group
			fmt.Fprintf(&b, "\n\n## %s\n", strings.TrimSuffix(group, ":"))
		}
		help := x.Help
		if x.DefaultHelp != "" {
			help += " Default: " + x.DefaultHelp + "."
		}
		if x.Required != "" {
			help += " (" + x.Required + ")"
		}
		b.WriteString("\n" + comment(help))
		key, value := s.Key(x.Name), x.Default
		if x.Secret {
			key, value = s.Key(FileOf(x.Name)), "FILE"
		}
		if value == "" {
			value = x.Placeholder
		}
		if value == "" {
			value = "false"
		}
		fmt.Fprintf(&b, "#%s: %s\n", key, yamlValue(value))
	}
	return strings.TrimLeft(b.String(), "\n")
}

// comment wraps text into comment lines of at most 100 columns.
func comment(text string) string {
	var b strings.Builder
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > 100 {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}
