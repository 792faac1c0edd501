//go:build pins

// Package pins names the program that go.mod and go.sum pin; nothing is built from it.
package pins

import _ "k8s.io/kubernetes/cmd/kube-apiserver/app"
