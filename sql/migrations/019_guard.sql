-- What these two say about states is said by their triggers from now on: Postgres reads a CHECK, and a trigger's WHEN, anew for each
-- statement, and these are read by every step of a turn.
alter table towpath.process drop constraint lifecycle;
alter table towpath.input drop constraint lifecycle;

-- Whose work other triggers do from now.
drop trigger if exists towpath_final on towpath.process;
drop trigger if exists towpath_completion on towpath.process;
drop trigger if exists towpath_follow on towpath.process;
drop function if exists towpath.note_completion();
drop function if exists towpath.follow_turn();
