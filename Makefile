# Each target brings what it needs first (scripts/bring says what it installs).
TOX = .tools/bin/tox
# The newest packed charm, for the tests that deploy it.
PACKED = WAZUH_SERVER_CHARM=$$(ls -t *.charm | head -n 1)
# A Python 3.12 that pyenv keeps is found too; the tests run on it beside the machine's own.
export PATH := $(PATH):$(subst $() ,:,$(wildcard $(HOME)/.pyenv/versions/3.12.*/bin))

.PHONY: help tools demo moves chaos test format lint unit sandbox integration traefik kubernetes pack docs docs-links mutations clean
help:        ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
tools:
	@scripts/bring
demo: tools  ## Run the main job in the sandbox: three units, agents, logs, rules, a lost master (DEMO="--json FILE")
	@[ -x .tox/sandbox/bin/python ] || echo "Getting ready; this once it takes some minutes: Python packages, then Pebble is built"
	@$(TOX) -qq -e sandbox -- python -m sandbox.demo $(DEMO)
moves: tools ## Move and kill the master under load at the real clock, and count (MOVES="--moves 10 --kills 10")
	@$(TOX) -qq -e sandbox -- python -m sandbox.moves $(MOVES)
chaos: tools ## Random faults at once on processes under load, from a seed (CHAOS="--seed 1 --chaos 5")
	@$(TOX) -qq -e sandbox -- python -m sandbox.moves --clock-factor 10 --moves 0 --kills 0 --chaos 5 $(CHAOS)
test: tools  ## Lint, unit tests, the docs, the packed charm, the sandbox, the cluster on it
	$(TOX) -e lint
	$(TOX) -e unit
	$(TOX) -e unit-py312
	$(TOX) -e docs
	scripts/pack
	$(PACKED) $(TOX) -e package
	$(PACKED) $(TOX) -e sandbox
	$(PACKED) $(TOX) -e integration
format: tools ## Format the code
	$(TOX) -e format
pack: tools  ## Pack the charm with charmcraft and check what is in it
	scripts/pack
	$(TOX) -e package
docs: tools  ## Build the documentation (.tox/docs/html), every warning a failure
	$(TOX) -e docs
docs-links: tools ## Check the documentation's links to other places (asks the network)
	$(TOX) -e docs -- -b linkcheck docs .tox/docs/links
lint: tools  ## Check style, types, spelling
	$(TOX) -e lint
unit: tools  ## Run the unit tests
	$(TOX) -e unit
sandbox: tools ## Run the sandbox's own tests
	$(TOX) -e sandbox
integration: tools ## Run the deployed cluster's tests on the sandbox, or on Juju (ARGS="--driver juju …")
	$(TOX) -e integration -- tests/integration $(ARGS)
traefik: tools ## Enrol, log in and send logs through a real Traefik (built once, a quarter of an hour) while units go
	$(TOX) -e traefik
kubernetes: tools ## Ask a real kube-apiserver (built once, some minutes) what the charm asks Kubernetes
	$(TOX) -e kubernetes
mutations: tools ## Plant each known bug and see that a test finds it (ARGS="--only TEXT")
	@$(TOX) -qq -e sandbox -- python -m tests.mutations $(ARGS)
clean:       ## Remove what the targets made (a running model is destroyed first)
	@if [ -x .tox/sandbox/bin/python ]; then ./sandbox/juju destroy-model --all --no-prompt || true; fi
	rm -rf .tools .tox .venv .sandbox *.charm
