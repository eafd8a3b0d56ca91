// Command imagetier is an image tier: it fetches originals from S3, a directory or HTTP,
// makes thumbnails of them, caches them in memory and on disk, and serves them under
// signed URLs. imagetier --help lists its commands.
//
// It exits with
//
//	0  success
//	1  the command failed, or a check did (verify, health, doctor)
//	2  wrong arguments or settings
//	3  doctor found warnings only
package main

import (
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/settings"
)

func main() { newProgram().Main() }

// cli has the commands; each is in the file of its name. Package program adds the commands that the
// gateway has too.
type cli struct {
	Serve      serveCmd      `cmd:"" help:"Run the tier."`
	Sign       signCmd       `cmd:"" help:"Print a signed URL."`
	Verify     verifyCmd     `cmd:"" help:"Check signed URLs."`
	Explain    explainCmd    `cmd:"" help:"Explain a URL: its parts, and where its image is cached."`
	Purge      purgeCmd      `cmd:"" help:"Remove images from the running tier."`
	Takedown   takedownCmd   `cmd:"" help:"Take originals down until the takedown is lifted."`
	Warm       warmCmd       `cmd:"" help:"Make images before they are requested."`
	MigrateURL migrateURLCmd `cmd:"" name:"migrate-url" help:"Print signed URLs for URLs of imgproxy, thumbor or imagor."`
	Doctor     doctorCmd     `cmd:"" help:"Check codecs, limits, disk, origins and clocks of this machine, and say how to fix faults."`
}

// Help is what imagetier --help begins with.
func (cli) Help() string {
	return `To try it, with photos of your own and no keys:

    imagetier serve --dev --source posts=dir:///home/me/photos
    curl -O http://127.0.0.1:8080/i/_/640x640-cover/live/posts/cat.jpg.webp

In production, with a key that signs every URL:

    export IMAGETIER_KEYS=k1=$(openssl rand -hex 32)
    imagetier serve --source 'posts=s3://bucket/prefix?region=eu-central-1'
    imagetier sign --source posts --name 2026/11/abc.jpg --version v.1 --spec 640x640-cover --format webp

A setting has three spellings: the flag --cache-disk-size 50GiB, the variable IMAGETIER_CACHE_DISK_SIZE=50GiB, and ` +
		`cache.disk.size in the YAML file that --config names.

Exit codes: 0 success; 1 the command or its check failed; 2 wrong arguments or settings; 3 doctor found warnings only.`
}

// newProgram returns the program.
func newProgram() program.Program {
	return program.Program{
		Name: "imagetier",
		Description: "An image tier: makes thumbnails of originals in S3, a directory or HTTP, caches them in memory and " +
			"on disk, and serves them under signed URLs.",
		Schema: config.Schema(),
		Commands: &cli{
			Serve:      serveCmd{settingsOf: reads()},
			Sign:       signCmd{settingsOf: reads("keys", "dev")},
			Verify:     verifyCmd{settingsOf: reads("keys", "dev")},
			Explain:    explainCmd{settingsOf: reads("keys", "dev", "private-listen")},
			Purge:      purgeCmd{settingsOf: reads("dev", "private-listen", "admin-token")},
			Takedown:   takedownCmd{settingsOf: reads("dev", "private-listen", "admin-token")},
			Warm:       warmCmd{settingsOf: reads("dev", "private-listen", "admin-token")},
			MigrateURL: migrateURLCmd{settingsOf: reads("keys", "dev")},
			Doctor:     doctorCmd{settingsOf: reads()},
		},
		Load: func(in settings.Input, complete bool) (*settings.Resolved, error) {
			_, resolved, err := config.Load(config.Input{Input: in, Unfinished: !complete})
			return resolved, err
		},
	}
}
