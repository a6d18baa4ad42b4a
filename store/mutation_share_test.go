package store_test

func init() {
	owned = append(owned, "functions/share.sql", "functions/session_delete.sql", "functions/work.sql")
	mutants = append(mutants, []mutant{
		{name: "a share of no session", file: "functions/share.sql", old: "    if not found then\n      perform towpath.fail('TW404', format('scope", new: "    if false then\n      perform towpath.fail('TW404', format('scope", run: "TestWhatCannotBeShared|TestATransferMovesAllOrNone"},
		{name: "a deleted session is given something", file: "functions/share.sql", old: "elsif s.runtime_state in ('retired', 'destroyed') then", new: "elsif false then", run: "TestDeletingASessionSparesItsProcesses"},
		{name: "descriptors stay", file: "functions/share.sql", old: "set descriptor = excluded.descriptor, ", new: "set ", run: "TestSharesAreRightsAndOriginIsHistory"},
		{name: "words about shares after the end", file: "functions/share.sql", old: "  if p.finalized_at is null then\n    perform towpath.note(p.no, type, data);", new: "  if true then\n    perform towpath.note(p.no, type, data);", run: "TestSharesAreRightsAndOriginIsHistory"},
		{name: "shares are not on record", file: "functions/share.sql", old: "  if fresh then\n", new: "  if false then\n", run: "TestSharesAreRightsAndOriginIsHistory"},
		{name: "nothing is taken back", file: "functions/share.sql", old: "delete from towpath.share h where h.scope = unshare.scope and h.process_no = p.no;", new: "perform 1;", run: "TestSharesAreRightsAndOriginIsHistory"},
		{name: "a frame's share is its session's", file: "functions/share.sql", old: "delete from towpath.share h where h.scope = cancel_unshared.scope and", new: "delete from towpath.share h where h.session_id = towpath.scope_session(cancel_unshared.scope) and", run: "TestCancellingWhatNobodyElseShares"},
		{name: "a transfer of what is another's", file: "functions/share.sql", old: "h.process_no = p.no returning h.descriptor into has;\n    if not found then", new: "h.process_no = p.no returning h.descriptor into has;\n    if false then", run: "TestATransferMovesAllOrNone"},
		{name: "a transfer forgets its origin", file: "functions/share.sql", old: "p.no, has, from_scope);", new: "p.no, has);", run: "TestATransferMovesAllOrNone"},
		{name: "a transfer forgets the descriptor", file: "functions/share.sql", old: "p.no, has, from_scope);", new: "p.no, '{}', from_scope);", run: "TestATransferMovesAllOrNone"},
		{name: "what others share is cancelled", file: "functions/share.sql", old: "if shares = 0 and", new: "if", run: "TestCancellingWhatNobodyElseShares"},
		{name: "processes before sessions", file: "functions/share.sql", old: "  order by s.id for no key update;\n  perform 1 from towpath.process p where p.id = any(ids) order by p.no for no key update;", new: "  and false;", run: "TestTransferCancelAndDeleteSideBySide"},
		{name: "frames outlive their session", file: "functions/session_delete.sql", old: "with taken as (delete from towpath.share h where h.session_id = s.id returning", new: "with taken as (delete from towpath.share h where h.scope = 'session:' || s.id returning", run: "TestDeletingASessionSparesItsProcesses"},
		{name: "the ended are orphans", file: "functions/session_delete.sql", old: " and p.finalized_at is null;", new: ";", run: "TestDeletingASessionSparesItsProcesses"},
		{name: "a deleted session goes on", file: "functions/session_delete.sql", old: "elsif s.runtime_state = 'idle' then", new: "elsif false then", run: "TestDeletingASessionSparesItsProcesses"},
		{name: "frames are work of their session", file: "functions/work.sql", old: "where x.scope = 'session:' || session_work.session\n          union", new: "where x.session_id = session_work.session\n          union", run: "TestTheWorkOfASession"},
		{name: "the first events", file: "functions/work.sql", old: "e.seq > p_last - p_max", new: "e.seq <= p_max", run: "TestTheWorkOfASession"},
		{name: "what wakes is no work", file: "functions/work.sql", old: "union select x.process_no from towpath.wake_target x where x.session_id = session_work.session)", new: ")", run: "TestTheWorkOfASession"},
		{name: "work in another order", file: "functions/work.sql", old: "order by g.updated_at desc, g.created_at desc, g.id;", new: "order by g.id;", run: "TestTheWorkOfASession"},
	}...)
}
