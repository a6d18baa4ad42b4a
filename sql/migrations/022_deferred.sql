-- Checked when a claim is stored, and not while its worker waits for the answer.
alter table towpath.lease alter constraint lease_process_no_fkey deferrable initially deferred;
alter table towpath.attempt alter constraint attempt_process_no_fkey deferrable initially deferred;
