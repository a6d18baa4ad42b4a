package storebench

import (
	"context"
	"errors"
)

// plainRows is how many pairs of commits a second store what a claim and an end store, when nobody checks, guards or
// tells anything: one statement each, into tables with the same columns and indexes.
func (b *bench) plainRows(ctx context.Context) (_ float64, err error) {
	defer func() {
		_, dropped := b.pool.Exec(ctx, "drop schema if exists bench_rows cascade")
		err = errors.Join(err, dropped)
	}()
	if _, err := b.pool.Exec(ctx, `create schema bench_rows
		create table process (like towpath.process including defaults including indexes)
		create table lease (like towpath.lease including defaults including indexes)
		create table attempt (like towpath.attempt including defaults including indexes)
		create table event (like towpath.event including defaults including indexes)`); err != nil {
		return 0, err
	}
	if err := b.setUpNoops(ctx); err != nil {
		return 0, err
	}
	if _, err := b.pool.Exec(ctx, "insert into bench_rows.process select * from towpath.process where finalized_at is null"); err != nil {
		return 0, err
	}
	if _, err := rate(ctx, warmUp, b.claimFinishPlainly); err != nil {
		return 0, err
	}
	return rate(ctx, noops, b.claimFinishPlainly)
}

func (b *bench) claimFinishPlainly(ctx context.Context, i, noops int) (int, error) {
	ids := b.ids[i][:noops]
	b.ids[i] = b.ids[i][noops:]
	for n, id := range ids {
		var no, fence int64
		err := b.pool.QueryRow(ctx, `with drawn as (
			select nextval('towpath.fence_seq') as fence
		), held as (
			update bench_rows.process p set status = 'running', attempt = p.attempt + 1, attempts_spent = p.attempts_spent + 1,
				last_seq = p.last_seq + 1, updated_at = now(),
				first_started = jsonb_build_object('node', $2::text, 'incarnation', $3::uuid, 'at', now())
			where p.id = $1 returning p.no, p.last_seq, p.attempt
		), lease as (
			insert into bench_rows.lease (process_no, node_id, incarnation, fence, claimed_at, expires_at)
			select h.no, $2, $3, d.fence, now(), now() + $4::interval from held h, drawn d
		), tried as (
			insert into bench_rows.attempt (process_no, attempt, node_id, incarnation, fence, first_seq, started_at)
			select h.no, h.attempt, $2, $3, d.fence, h.last_seq, now() from held h, drawn d
		), noted as (
			insert into bench_rows.event (process_no, seq, type, data, at)
			select h.no, h.last_seq, 'process.started', jsonb_build_object('attempt', h.attempt, 'node', $2::text), now() from held h
		) select h.no, d.fence from held h, drawn d`, id, b.node.ID, b.node.Incarnation, ttl).Scan(&no, &fence)
		if err != nil {
			return n, err
		}
		_, err = b.pool.Exec(ctx, `with done as (
			update bench_rows.process p set status = 'completed', outcome = '{}', finalized_at = now(), updated_at = now(), last_seq = p.last_seq + 1
			where p.no = $1 returning p.no, p.last_seq
		), freed as (
			delete from bench_rows.lease l where l.process_no = $1 and l.fence = $2
		), left_off as (
			update bench_rows.attempt a set ended_at = now(), end_reason = 'completed' where a.process_no = $1 and a.ended_at is null
		) insert into bench_rows.event (process_no, seq, type, data, fence, replay_key, at)
			select d.no, d.last_seq, 'process.completed', '{}', $2, sha256('done'), now() from done d`, no, fence)
		if err != nil {
			return n, err
		}
	}
	return noops, nil
}
