package bench

import (
	"context"
	"errors"
)

func hubRow(name string, channels int) row {
	return row{name: name, group: "idle", subject: func(context.Context, *bench) (sample, error) {
		return nil, errors.New("not yet")
	}}
}
