// Package warmer makes images before they are requested. job.go defines jobs and plans
// them for an event, and worker.go does the jobs of a queue. A Watch (watch.go) counts which images
// are requested, and so knows which Specs are worth making (planner.go).
//
// Variants of one original are requested from the cache at the same time, with
// resize.PriorityWarm. Package fill then makes them from one fetch and one decode, as it does
// for clients that request them together.
package warmer
