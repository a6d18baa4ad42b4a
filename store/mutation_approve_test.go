package store_test

func init() {
	owned = append(owned, "functions/approve.sql")
	mutants = append(mutants, []mutant{
		{name: "what is answered still waits", file: "functions/approve.sql", old: "a.type = 'approval.answered' and a.data ->> 'id' = e.data ->> 'id'", new: "false", run: "TestAnApprovalIsAnsweredOnce"},
		{name: "what is taken back still waits", file: "functions/approve.sql", old: "a.type = 'process.retracted' and", new: "false and", run: "TestTheOnlyApprovalNeedsNoName"},
		{name: "the ended wait", file: "functions/approve.sql", old: "p.finalized_at is null and e.type", new: "e.type", run: "TestAnApprovalIsAnsweredOnce"},
		{name: "any of many is meant", file: "functions/approve.sql", old: "coalesce(cardinality(open), 0) <> 1", new: "coalesce(cardinality(open), 0) = 0", run: "TestAnApprovalIsAnsweredOnce"},
		{name: "the second answer counts", file: "functions/approve.sql", old: "order by i.seq limit 1;\n  if found then", new: "order by i.seq limit 1;\n  if false then", run: "TestAnApprovalIsAnsweredOnce"},
		{name: "any word is a choice", file: "functions/approve.sql", old: "w.of <> 'question' and not w.choices ? decision", new: "false", run: "TestAnApprovalIsAnsweredOnce"},
		{name: "a question has choices", file: "functions/approve.sql", old: "w.of <> 'question' and", new: "true and", run: "TestAnApprovalIsAnsweredOnce"},
	}...)
}
