package program

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/posener/complete"
	"github.com/willabides/kongplete"
)

// completionCmd prints a script that makes a shell ask this program for completions.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`

	program Program
}

// Help implements kong.HelpProvider.
func (c completionCmd) Help() string {
	return fmt.Sprintf(`The script makes the shell ask this program, so completions always match its version.

    %[1]s completion bash >> ~/.bashrc
    %[1]s completion zsh >> ~/.zshrc
    %[1]s completion fish > ~/.config/fish/completions/%[1]s.fish`, c.program.Name)
}

// scripts by shell; %[1]s is the quoted path of this program, %[2]s its name. The shell
// puts the line into COMP_LINE and calls the program.
var scripts = map[string]string{
	"bash": "complete -o default -o bashdefault -C %[1]s %[2]s\n",
	"zsh":  "autoload -U +X bashcompinit && bashcompinit\ncomplete -o default -o bashdefault -C %[1]s %[2]s\n",
	"fish": `function __%[2]s_complete
    set -lx COMP_LINE (commandline -cp)
    test -z (commandline -ct)
    and set COMP_LINE "$COMP_LINE "
    %[1]s
end
complete -f -c %[2]s -a "(__%[2]s_complete)"
`,
}

// Run prints the script.
func (c *completionCmd) Run(proc *Process) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the path of this program: %w", err)
	}
	if resolved, err := filepath.EvalSymlinks(self); err == nil {
		self = resolved
	}
	_, err = fmt.Fprintf(proc.Stdout, scripts[c.Shell], shellQuote(self), proc.name)
	return err
}

const shellSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"

// shellQuote quotes a path if it has a character that a shell would interpret.
func shellQuote(path string) string {
	if strings.Trim(path, shellSafe) == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// completeLine answers a shell that asks for completions (COMP_LINE is set) and ends the
// program. Otherwise it does nothing.
func completeLine(parser *kong.Kong) {
	kongplete.Complete(parser, kongplete.WithPredictor("file", complete.PredictFiles("*")))
}
