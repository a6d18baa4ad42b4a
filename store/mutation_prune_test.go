package store_test

func init() {
	owned = append(owned, "functions/prune.sql", "functions/retention.sql", "functions/tombstone.sql")
	const model = "TestPruneDoesWhatItsModelSays"
	mutants = append(mutants, []mutant{
		{name: "what lives is ripe", file: "functions/prune.sql", old: "and p.finalized_at < coalesce(cutoff, towpath.now() - towpath.keep('processes', p.tenant, p.profile))", new: "", run: model + "|TestRetentionIsByTenantAndProfile"},
		{name: "filters are not looked at", file: "functions/prune.sql", old: "and (filter = '{}' or filter <@ jsonb_build_object('tenant', p.tenant, 'project',", new: "and (true or filter <@ jsonb_build_object('tenant', p.tenant, 'project',", run: model},
		{name: "the watermark is not looked at", file: "functions/prune.sql", old: "and (at_xid is null or (p.change_xid, p.no) <= (at_xid, at_no))", new: "", run: "TestPruneBelowAWatermark"},
		{name: "a parent goes before its child", file: "functions/prune.sql", old: "having bool_and(t.ripe)", new: "having bool_or(t.ripe)", run: model},
		{name: "a run leaves its turns", file: "functions/prune.sql", old: "from tree t join towpath.process c on c.parent_id = t.id\n", new: "from tree t join towpath.process c on c.parent_id = t.id and c.class <> 'turn'\n", run: model},
		{name: "events stay", file: "functions/prune.sql", old: "delete from towpath.event x where x.process_no = any(doomed);", new: "perform 1;", run: "TestPruneTakesWhatHasEndedWithAllThatDepends"},
		{name: "River rows stay", file: "functions/prune.sql", old: "delete from :river.river_job x where x.id = any(jobs)", new: "delete from :river.river_job x where false and x.id = any(jobs)", run: "TestPruneTakesWhatHasEndedWithAllThatDepends"},
		{name: "a dry run is none", file: "functions/prune.sql", old: "  if dry_run then\n    for c in select * from (values ('events',", new: "  if false then\n    for c in select * from (values ('events',", run: "TestPruneTakesWhatHasEndedWithAllThatDepends"},
		{name: "locked rows are waited for", file: "functions/prune.sql", old: "where p.no = any(doomed) order by p.no for update skip locked", new: "where p.no = any(doomed) order by p.no for update nowait", run: "TestAReaderAndAPruneDoNotWaitForEachOther"},
		{name: "a birth is overlooked", file: "functions/prune.sql", old: "for update skip locked) x;\n    -- Read after the lock", new: ") x;\n    -- Read after the lock", run: "TestAPruneBesideABirth|TestTwoPrunesAtOnceShareTheWork|TestAReaderAndAPruneDoNotWaitForEachOther"},
		{name: "a session goes under its turns", file: "functions/prune.sql", old: "and not exists (select 1 from towpath.process p where p.session_id = s.id\n                      and not (dry_run", new: "and not exists (select 1 from towpath.process p where p.session_id = s.id and false\n                      and not (dry_run", run: model + "|TestAPruneBesideASubmit"},
		{name: "a session goes that is shared with", file: "functions/prune.sql", old: "(select h.process_no from towpath.share h where h.session_id = s.id\n", new: "(select h.process_no from towpath.share h where false\n", run: model},
		{name: "no tombstone", file: "functions/prune.sql", old: "from towpath.process p where p.no = any(doomed)\n    on conflict", new: "from towpath.process p where false\n    on conflict", run: "TestWhatWasPrunedIsToldFromWhatNeverWas"},
		{name: "a batch of any weight", file: "functions/prune.sql", old: "    exit when weight > 6000;\n", new: "", run: "TestABatchIsNotHeavy"},
		{name: "usage is not summed", file: "functions/prune.sql", old: "from gone g group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5", new: "from gone g where false group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5", run: "TestUsageIsSummedBeforeItGoes"},
		{name: "a day's sum is overwritten", file: "functions/prune.sql", old: "set responses = d.responses + excluded.responses,", new: "set responses = excluded.responses,", run: "TestUsageIsSummedBeforeItGoes"},
		{name: "a cutoff in the future", file: "functions/prune.sql", old: "if cutoff > t then", new: "if false then", run: "TestWhatPruneRefuses"},
		{name: "another feed's watermark", file: "functions/prune.sql", old: "if mark[1]::bigint <> (select s.feed_epoch from towpath.store s) then", new: "if false then", run: "TestWhatPruneRefuses"},
		{name: "the widest policy decides", file: "functions/retention.sql", old: "order by r.tenant = '', r.profile = '' limit 1", new: "order by r.tenant <> '', r.profile <> '' limit 1", run: "TestRetentionIsByTenantAndProfile"},
		{name: "any time will do", file: "functions/retention.sql", old: "if v::interval < least::interval then", new: "if false then", run: "TestRetentionIsByTenantAndProfile"},
		{name: "pruned is unknown", file: "functions/tombstone.sql", old: "select * into g from towpath.tombstone x where x.kind = 'process' and x.id = process_id;\n  if found then", new: "if false then", run: "TestWhatWasPrunedIsToldFromWhatNeverWas"},
		{name: "a pruned key is free", file: "functions/tombstone.sql", old: "or key is not null and x.tenant", new: "or false and x.tenant", run: "TestAKeyOutlivesItsProcess"},
	}...)
}

func init() {
	owned = append(owned, "functions/storage.sql")
	mutants = append(mutants, []mutant{
		{name: "what is evicted comes back", file: "functions/storage.sql", old: "when 'evicting' then new.storage = 'evicted' end, false) then", new: "else true end, false) then", run: "TestStorageGoesOneWay"},
		{name: "a refresh of what is evicted counts", file: "functions/storage.sql", old: "where x.session_id = s.id and s.storage = 'provisioned';", new: "where x.session_id = s.id;", run: "TestStorageGoesOneWay"},
		{name: "evicted sessions work", file: "functions/enter_session.sql", old: "    perform towpath.check_storage(s);\n", new: "    null;\n", run: "TestASessionWhoseFilesAreGoneTakesNoWork"},
		{name: "files go by hand under a turn", file: "functions/storage.sql", old: "    if s.active_process is not null then\n", new: "    if false then\n", run: "TestWhatExpiresIsEvictedUnlessItsSessionWorks"},
		{name: "a kind that nobody has", file: "functions/storage.sql", old: "if options ->> 'kind' <> all(kinds) then", new: "if false then", run: "TestStorageThatCannotBeAskedFor"},
		{name: "trouble is success", file: "functions/storage.sql", old: "evicted_at = case when o.trouble is null then towpath.now() end", new: "evicted_at = towpath.now()", run: "TestStorageGoesOneWay"},
		{name: "turns run without their files", file: "functions/claim.sql", old: "o.evicted_at is null and not o.shared", new: "false", run: "TestATurnRunsWhereItsFilesAre"},
	}...)
}
