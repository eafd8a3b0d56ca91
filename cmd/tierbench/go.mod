module github.com/novasocial/imagetier/cmd/tierbench

go 1.26.0

replace github.com/novasocial/imagetier => ../..

require (
	github.com/alecthomas/kong v1.17.0
	github.com/allegro/bigcache/v3 v3.2.0
	github.com/maypok86/otter/v2 v2.4.0
	github.com/novasocial/imagetier v0.0.0-00010101000000-000000000000
)

require (
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
