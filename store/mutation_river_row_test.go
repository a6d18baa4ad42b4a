package store_test

func init() {
	const run, shape, guard = "TestARiverClientRepeatsAUniqueRowAndChangesNone", "TestARowThatRiverCouldNotReadIsRefused", "river/guard.sql"
	mutants = append(mutants, []mutant{
		{name: "a job becomes another", sql: "drop trigger towpath_kind on river_job", run: run},
		{name: "every row is within reach", sql: "alter policy towpath_repeat on river_job using (true)", run: run},
		{name: "args of any shape", file: guard, old: "jsonb_typeof(new.args) <> 'object'", new: "false", run: shape},
		{name: "metadata of any shape", file: guard, old: "jsonb_typeof(new.metadata) <> 'object'", new: "false", run: shape},
		{name: "unique in any states", file: guard, old: "new.unique_states & B'11010001' <> B'11010001'", new: "false", run: shape},
		{name: "args of any size", file: guard, old: "pg_column_size(new.args) > 2097152", new: "false", run: shape},
		{name: "a row may change into anything", file: guard, old: "before insert or update of args, metadata, unique_states, queue on", new: "before insert on", run: shape},
		{name: "no unique rows", sql: "drop policy towpath_repeat on river_job", run: run},
	}...)
}
