// Package pins names the linter of GitHub's workflows, so that its version is held in go.mod.
package pins

import _ "github.com/rhysd/actionlint"
