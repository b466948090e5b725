// Package storagecheckextension is the storage_check extension: before anything opens them, it sets the databases of file_storage
// aside that are damaged. bbolt, which file_storage is made of, ends the whole process when it opens such a file; its option
// `recreate` catches few of these panics, because most come in a goroutine of bbolt's own.
//
// What was in the database is lost with it. The receivers of this module ask the extension, and then skip nothing for the sake of
// `start_at: end`; see [internal/capture].
package storagecheckextension
