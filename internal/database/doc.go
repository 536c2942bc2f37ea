// Package database carries out schema changes on PostgreSQL, 14 or newer.
//
// Every verb opens connections of its own, told apart by the application name
// gapless/<change>, each with a lock timeout. What has been done is kept in the
// schema gapless of the same database, in the transaction that did it, so that
// a verb that was killed goes on where it stopped.
package database
