//go:build !linux

package bench

import (
	"errors"
	"os"
)

func dropCache(*os.File) error { return errors.New("only Linux lets a file's cache be dropped") }
