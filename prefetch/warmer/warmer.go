// Package warmer makes images before they are requested. job.go defines jobs and plans
// them for an event, worker.go does the jobs of a queue, and planner.go (Watch) decides which Specs
// are worth making and counts which of them are requested.
//
// Variants of one original are requested from the cache at the same time, with
// resize.PriorityWarm. Package fill then makes them from one fetch and one decode, as it does
// for clients that request them together.
package warmer
