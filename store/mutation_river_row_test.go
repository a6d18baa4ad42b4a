package store_test

func init() {
	const run = "TestARiverClientRepeatsAUniqueRowAndChangesNone"
	mutants = append(mutants, []mutant{
		{name: "a job becomes another", sql: "drop trigger towpath_kind on river_job", run: run},
		{name: "every row is within reach", sql: "alter policy towpath_repeat on river_job using (true)", run: run},
		{name: "no unique rows", sql: "drop policy towpath_repeat on river_job", run: run},
	}...)
}
