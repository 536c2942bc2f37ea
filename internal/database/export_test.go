package database

import "github.com/jackc/pgx/v5"

// Trace shows a tracer every statement from now on.
func (db *DB) Trace(tracer pgx.QueryTracer) { db.config.Tracer = tracer }
