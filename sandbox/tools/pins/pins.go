//go:build pins

// Package pins names the programs that go.mod and go.sum pin; nothing is built from it.
package pins

import _ "github.com/canonical/pebble/cmd/pebble"
