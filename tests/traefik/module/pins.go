//go:build pins

// Package pins names the program that go.mod and go.sum pin; nothing is built from it.
package pins

import _ "github.com/traefik/traefik/v3/cmd/traefik"
