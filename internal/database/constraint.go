package database

type setNotNull struct{ unbuilt }
type dropNotNull struct{ unbuilt }
type setDefault struct{ unbuilt }
type dropDefault struct{ unbuilt }
type addCheck struct{ unbuilt }
type addUnique struct{ unbuilt }
type addForeignKey struct{ unbuilt }
type dropConstraint struct{ unbuilt }
type dropIndex struct{ unbuilt }
