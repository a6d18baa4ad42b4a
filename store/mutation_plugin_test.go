package store_test

func init() {
	owned = append(owned, "functions/plugin.sql")
	const file = "functions/plugin.sql"
	mutants = append(mutants, []mutant{
		{name: "old modules come back", file: file, old: "if not again and (", new: "if false and (", run: "TestASupersededModuleDoesNotComeBackUnasked"},
		{name: "removed ones come back", file: file, old: "(f.digest <> digest or f.removed_at is not null)", new: "f.digest <> digest", run: "TestARemovedProfileIsRefusedByName"},
		{name: "any digest", file: file, old: "if encode(sha256(bytes), 'hex') is distinct from digest then", new: "if false then", run: "TestAPutThatCannotBeMeant"},
		{name: "any module", file: file, old: "if bytes is null or octet_length(bytes) not between 8 and 16777216 then", new: "if false then", run: "TestAPutThatCannotBeMeant"},
		{name: "puts take no turns", file: file, old: "where x.name = plugin_put.name for no key update;", new: "where x.name = plugin_put.name;", run: "TestManyNodesPutAtOnce"},
		{name: "a module switches on", file: file, old: "enabled = x.enabled or x.removed_at is not null", new: "enabled = true", run: "TestARemovedProfileIsRefusedByName"},
		{name: "any file takes away", file: file, old: "and f.digest = coalesce(plugin_remove.digest, f.digest)", new: "", run: "TestARemovedProfileIsRefusedByName"},
		{name: "old modules describe", file: file, old: "and f.digest = plugin_describe.digest and (f.limits", new: "and (f.limits", run: "TestLimitsFollowThePresentModule"},
		{name: "permits are for ever", file: file, old: "delete from towpath.permit p where p.profile = permit.profile;", new: "null;", run: "TestPermitsBySQL"},
		{name: "the present module is spare", file: file, old: "and not exists (select 1 from towpath.plugin v where v.digest = m.digest and v.superseded_at is null)", new: "", run: "TestWhatATurnBeganWithStays"},
		{name: "turns pin nothing", file: file, old: "and (p.finalized_at is null or p.finalized_at", new: "and (p.finalized_at", run: "TestWhatATurnBeganWithStays"},
		{name: "journals pin nothing", file: file, old: "or p.finalized_at > towpath.now() - interval '25 hours')", new: ")", run: "TestWhatATurnBeganWithStays"},
		{name: "young modules are spare", file: file, old: "m.added_at < towpath.now() - interval '1 day'\n    and", new: "true and", run: "TestWhatATurnBeganWithStays"},
		{name: "lines for ever", file: file, old: "order by o.id desc offset 500 limit 1);", new: "order by o.id desc offset 500000 limit 1);", run: "TestLinesAboutAPlugin"},
		{name: "lines as they came", file: file, old: "left(towpath.redact_text(l.line), 2000)", new: "l.line", run: "TestLinesAboutAPlugin"},
		{name: "any turn is tried", file: file, old: " and p.status = 'completed'\n", new: "\n", run: "TestTurnsToTryAModuleOn"},
		{name: "turns without a journal are tried", file: file, old: "and exists (select 1 from towpath.journal j where j.process_no = p.no and j.first_n = 0)", new: "", run: "TestTurnsToTryAModuleOn"},
		{name: "a removal has no name", file: "functions/enter_session.sql", old: "from towpath.profile f where f.name = p_profile and f.removed_at is not null;", new: "from towpath.profile f where false;", run: "TestARemovedProfileIsRefusedByName"},
	}...)
}
