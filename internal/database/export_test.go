package database

import "github.com/jackc/pgx/v5"

// WithoutPassword is how a connection string is given to pg_dump.
func WithoutPassword(text string) string { return withoutPassword(text) }

// Trace shows a tracer every statement from now on.
func (db *DB) Trace(tracer pgx.QueryTracer) { db.config.Tracer = tracer }
