package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
)

// prune removes what is past retention, or what a job's args say, builds thinned-out indexes anew, and leaves the counts in the job's row.
func prune(ctx context.Context, db *store.Store, args json.RawMessage) error {
	var wish struct {
		Cutoff    *time.Time      `json:"cutoff"`
		Filter    json.RawMessage `json:"filter"`
		Watermark string          `json:"watermark"`
		DryRun    bool            `json:"dry_run"`
	}
	d := json.NewDecoder(bytes.NewReader(args))
	d.DisallowUnknownFields()
	if err := d.Decode(&wish); err != nil {
		return queue.Cancel(fmt.Errorf("job args: %w (hint: keys are cutoff, filter, watermark, dry_run)", err))
	}
	counts, err := db.Prune(ctx, store.Prune{Cutoff: wish.Cutoff, Filter: wish.Filter, Watermark: wish.Watermark, DryRun: wish.DryRun})
	if len(counts) > 0 {
		queue.Log(ctx).Info("pruned", "rows", counts, "dry_run", wish.DryRun)
	}
	if err != nil {
		return answer(err)
	}
	if !wish.DryRun {
		names, err := db.Reindex(ctx, store.ThinIndexBytes)
		if len(names) > 0 {
			queue.Log(ctx).Info("built anew", "indexes", names)
		}
		if err != nil {
			return err
		}
	}
	return queue.Output(ctx, counts)
}
