-- Functions whose arguments changed: create or replace would leave the old ones beside the new.
drop function if exists towpath.finalize(bigint, text, jsonb, text, text, bigint, bytea, text, bigint);
drop function if exists towpath.leave_session(towpath.process);
