// Package emit delivers records to the next consumer of the pipeline and says when they are acknowledged.
//
// A reader fills a [Batch] and gives it to [Sink.Consume], which returns nil when the batch is done with: accepted, or refused for
// good and counted. Only then may the positions be stored. Refused deliveries are retried while the reader waits, so that the
// source, which keeps its data anyway, is the queue. The plog is built while records are added. A consumer that may have changed
// what it got, and then failed, gets one that is built anew; one that says that it does not change anything gets the same again.
//
// What the records of a batch are made of is allocated by the dozen, which takes writing to the memory of pdata behind its functions:
// arena.go has all of that, when it is not done, and what one kept record pins.
//
// Consume is synchronous and runs in the goroutine of the reader. A [Budget] bounds the bytes of all batches of a receiver.
package emit
