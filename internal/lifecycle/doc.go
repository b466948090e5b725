// Package lifecycle starts every goroutine of the module, and ends every one of them.
//
// A [Group] belongs to one receiver instance. Each goroutine in it is a task with a kind (what it does) and a name (for whom),
// so that it can be counted while it runs and named when it does not end. No other package of the module contains a go statement;
// a test in this package parses the module and fails when one does.
//
// # Two contexts
//
// A task's context ends when the group stops (or the task alone is cancelled): reading ends there. A delivery that is under way at
// that moment is given a grace, because cutting it would repeat its lines after the restart: it runs under the context that
// [Graceful] takes out of the task's context, which ends only after the grace.
//
//	Stop ──► task contexts end ──(grace)──► graceful context ends ──► Stop waits for every task, at most until its ctx ends
package lifecycle
