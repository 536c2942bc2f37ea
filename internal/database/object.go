package database

type createTable struct{ unbuilt }
type renameTable struct{ unbuilt }
type dropTable struct{ unbuilt }
type createView struct{ unbuilt }
type replaceView struct{ unbuilt }
type dropView struct{ unbuilt }
type addEnumValue struct{ unbuilt }
type dropFunction struct{ unbuilt }
type dropSequence struct{ unbuilt }
type plainSQL struct{ unbuilt }
