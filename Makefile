# What one types in a checkout. Each target does its own set-up, in .venv, and may be repeated.
# `make demo` and `make test` need a Python from 3.11 to 3.13 and nothing else; ARGS goes to what they run.

RIGHT_PYTHON = import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
	if $$python -c '$(RIGHT_PYTHON)' >/dev/null 2>&1; then echo $$python; break; fi; done)
PIP = .venv/bin/python -m pip --quiet --disable-pip-version-check
READY = .venv/ready

.PHONY: help demo test attacks oracle crash explorer lint types bench bench-peers bench-parts lock chromium

help:
	@echo "make demo         a service with some 9,700 leads in it, on http://127.0.0.1:8000"
	@echo "make test         the tests, in some minutes"
	@echo "make attacks      every argument with another workspace's names and with what no text can hold"
	@echo "make crash        processes killed while they import, write, run automations and deliver"
	@echo "make oracle       thousands of random questions, answered by the planner and by plain Python"
	@echo "make lint types   ruff, and mypy --strict"
	@echo "make bench        the service and its peers under load; ARGS=--quick for a first look"
	@echo "make bench-peers  PostGraphile, which make bench then takes along; needs npm"
	@echo "make bench-parts  what writing, files, events and subscriptions cost"
	@echo "make explorer     the full explorer, which make demo builds too where there is npm"
	@echo "make lock         requirements.lock, from pyproject.toml"

# The explorer's build takes longer than the demo: it runs beside it, and is served from the moment it is there.
demo: $(READY)
	@nice .venv/bin/python -m app.ui.build --quiet >.venv/explorer.log 2>&1 </dev/null & \
	exec .venv/bin/leadgraph demo $(ARGS)

test: $(READY) chromium
	.venv/bin/pytest -n 2 $(ARGS)

# Every leaf of every argument, with another workspace's names and with what no text can hold: minutes, so not in `test`.
attacks: $(READY)
	.venv/bin/pytest -o addopts=--strict-markers -n 2 tests/attacks $(ARGS)

# Thousands of random questions, each answered by the planner and by plain Python; what differs is made small and told.
oracle: $(READY)
	.venv/bin/pytest -n 2 tests/oracle --hypothesis-profile=large $(ARGS)

# Processes that are killed while they import, write, run automations and deliver, twenty times on each database: minutes, so not in `test`.
# Those who never read, and who ask too often, for a minute.
crash: $(READY)
	.venv/bin/pytest -o addopts=--strict-markers -n 2 tests/crash $(ARGS)

explorer: $(READY)
	.venv/bin/python -m app.ui.build

lint: $(READY)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: $(READY)
	.venv/bin/mypy

# Half an hour with 200,000 leads; `make bench ARGS=--quick` shows the like of it in a few minutes, `ARGS=--clean` removes what it keeps.
bench: $(READY)
	.venv/bin/python tests/bench $(ARGS)

# PostGraphile 5, which make bench then takes along; it needs npm, and brings its own Node on Linux.
bench-peers:
	@command -v npm >/dev/null || { echo "npm is needed: the benchmark leaves PostGraphile out without it" >&2; exit 1; }
	npm ci --prefix tests/bench/postgraphile

# What writing, files, events and subscriptions cost, into tests/bench/RESULTS.md: all of it, or ARGS="events live".
bench-parts: $(READY)
	.venv/bin/python tests/bench/parts.py $(ARGS)

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with venv is needed: install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv ..."
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --editable .
	@touch $@

# Tests look at the explorer in a browser where there is one; on CI there has to be.
chromium:
	@if [ "$(CI)" = true ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v chromium >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium >/dev/null; fi

# uv is the one that locks for every platform at once, and writes no host names.
lock:
	@room=$$(mktemp -d) && trap 'rm -rf "$$room"' EXIT && $(PYTHON) -m venv "$$room" && \
	"$$room/bin/python" -m pip install --quiet --disable-pip-version-check uv && \
	"$$room/bin/uv" pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --output-file requirements.lock pyproject.toml
