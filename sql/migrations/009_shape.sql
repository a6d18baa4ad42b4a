-- Inputs and sessions as processes have it: Postgres prepares every CHECK of a table again for each UPDATE, so what an
-- INSERT decides is checked there by a trigger (towpath_shape), and one CHECK is left for what changes.

alter table towpath.session
  drop constraint session_id_check, drop constraint session_runtime_state_check, drop constraint session_title_check,
  drop constraint session_metadata_check;

alter table towpath.input
  drop constraint input_kind_check, drop constraint input_phase_check, drop constraint input_payload_check, drop constraint input_lane_check,
  drop constraint input_topic_check, drop constraint input_source_check, drop constraint input_durability_check,
  drop constraint input_policy_check, drop constraint input_correlation_id_check, drop constraint input_history_check,
  drop constraint terminal_is_final, drop constraint command_has_place, drop constraint boundary_is_applied,
  drop constraint who_waits_has_no_process,
  add constraint lifecycle check (
    phase in ('queued', 'staged', 'applied', 'consumed', 'superseded', 'coalesced', 'rejected', 'abandoned')
    and (phase in ('consumed', 'superseded', 'coalesced', 'rejected', 'abandoned')) = (finalized_at is not null)
    and (run_no is null) = (run_seq is null)
    and (boundary_seq is null or process_no is not null and phase in ('applied', 'consumed'))
    and (process_no is not null or phase not in ('staged', 'applied')));
comment on constraint lifecycle on towpath.input is
'Terminal means ended; a command has its place in its run; what a boundary names was applied; only a process stages and applies.';

-- Replaced by other triggers, and functions of our own whose arguments changed: create or replace would leave the old
-- ones beside the new.
drop trigger if exists towpath_final on towpath.input;
drop function if exists towpath.take(bigint, text, integer, text, uuid, interval);
drop function if exists towpath.finalize(bigint, text, jsonb, text, text, bigint, bytea, text);
drop function if exists towpath.ended_alike(towpath.process, text, jsonb, text, text);
