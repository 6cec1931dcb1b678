package config

import (
	"slices"
	"strings"
)

// nearest returns the candidate that is most like key, "" where none is.
func nearest(key string, candidates []string) string {
	best, least := "", len(key)/2+2
	for _, c := range candidates {
		d := distance(key, c)
		if len(key) > 1 && strings.HasPrefix(c, key) {
			d = 1 // an abbreviation
		}
		if d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the number of bytes to insert, remove or replace to make b of a (Levenshtein
// 1966), by the row-wise method of Wagner and Fischer (1974).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = slices.Min([]int{change, row[j] + 1, row[j+1] + 1})
		}
	}
	return row[len(b)]
}
