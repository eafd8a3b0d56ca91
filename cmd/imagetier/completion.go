package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"
	"github.com/posener/complete"
	"github.com/willabides/kongplete"
)

// completionCmd prints what makes a shell ask this program for completions.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help teaches by example.
func (completionCmd) Help() string {
	return `The script has the shell ask this program, so it is always of the same version.

    imagetier completion bash >> ~/.bashrc
    imagetier completion zsh >> ~/.zshrc
    imagetier completion fish > ~/.config/fish/completions/imagetier.fish`
}

// scripts by shell; %[1]s is the path of this program, quoted. The shell puts the line into
// COMP_LINE and calls it.
var scripts = map[string]string{
	"bash": "complete -o default -o bashdefault -C %[1]s imagetier\n",
	"zsh":  "autoload -U +X bashcompinit && bashcompinit\ncomplete -o default -o bashdefault -C %[1]s imagetier\n",
	"fish": `function __imagetier_complete
    set -lx COMP_LINE (commandline -cp)
    test -z (commandline -ct)
    and set COMP_LINE "$COMP_LINE "
    %[1]s
end
complete -f -c imagetier -a "(__imagetier_complete)"
`,
}

// Run prints the script.
func (c *completionCmd) Run(p *program) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find out where this program is: %w", err)
	}
	if resolved, err := filepath.EvalSymlinks(self); err == nil {
		self = resolved
	}
	_, err = fmt.Fprintf(p.stdout, scripts[c.Shell], shellQuote(self))
	return err
}

// shellQuote quotes a path where it has anything that a shell would read.
func shellQuote(path string) string {
	plain := true
	for _, r := range path {
		plain = plain && (r == '/' || r == '.' || r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	}
	if plain {
		return path
	}
	quoted := "'"
	for _, r := range path {
		if r == '\'' {
			quoted += `'\''`
		} else {
			quoted += string(r)
		}
	}
	return quoted + "'"
}

// completeLine answers a shell that asks what a line may go on with, and then ends the
// program; it does nothing if no shell asks (COMP_LINE is not set).
func completeLine(parser *kong.Kong) {
	kongplete.Complete(parser, kongplete.WithPredictor("file", complete.PredictFiles("*")))
}
