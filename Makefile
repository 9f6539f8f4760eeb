# The commands of the project; `make help` lists those of every day. Each environment is made from a lock with hashes
# and made anew when its lock changes.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
AIRFLOW_VERSION ?= 3.3.2
AIRFLOW_VERSIONS := 3.0.2 3.1.8 3.2.2 3.3.2
export WINDSOCK_HOME ?= $(CURDIR)/.windsock
ENVS := $(WINDSOCK_HOME)/env
UV := $(ENVS)/uv/bin/uv
AIRFLOW_ENV := $(ENVS)/airflow-$(AIRFLOW_VERSION)
AIRFLOW_TEST_ENV := $(ENVS)/airflow-$(AIRFLOW_VERSION)-test
MONITOR_ENV := $(ENVS)/monitor
DEV_ENV := $(ENVS)/dev
BENCH_ENV := $(ENVS)/bench-hooks
DOCS_ENV := $(ENVS)/docs
RELEASE_ENV := $(ENVS)/release
# uv reads no pip configuration: hand it the index that this machine's pip would ask.
export UV_DEFAULT_INDEX ?= $(shell $(PYTHON) -m pip config get global.index-url 2>/dev/null)
export UV_NO_PROGRESS ?= $(if $(CI),true,false)
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1
ifeq ($(UV_DEFAULT_INDEX),)
unexport UV_DEFAULT_INDEX
endif

# sync NAME LOCK SENTENCE: an environment that holds what the lock names and nothing else.
define sync
	@echo "windsock: $(3)"
	@requirements/clear $(WINDSOCK_HOME) $(1)
	@$(UV) venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(1)
	@VIRTUAL_ENV=$(1) $(UV) pip sync --quiet --require-hashes $(2)
endef

# A PYTHON of the user's is looked at before anything is made with it; docker alone needs none.
ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) -c 'import sys; print(sys.version_info >= (3, 10))' 2>/dev/null),True)
$(error windsock: PYTHON=$(PYTHON) is not Python 3.10 or newer (`$(PYTHON) -V`). Give another, such as PYTHON=python3.12)
endif
endif

# A target's text begins with its group; `+` after it keeps a command that few need out of the short list.
GROUPS := run check test bench release
define list
	@for group in $(GROUPS); do echo "$$group"; \
	  sed -nE "s/^([a-z-]+):.* ## $$group$(1): (.*)/\1 \2/p" $(MAKEFILE_LIST) | \
	  while read -r target text; do printf '  %-20s %s\n' "make $$target" "$$text"; done; done
endef

.PHONY: help help-all
help: ## run: the commands of every day; make help-all lists every command
	$(call list,)
help-all: ## run+: every command
	$(call list,[+]?)

$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "windsock: Python 3.10 or newer is needed, and $(PYTHON) is $$($(PYTHON) -V). Give another: make PYTHON=python3.12 …"; exit 1; }
	@echo "windsock: making $(ENVS) with $$($(PYTHON) -V)"
	@requirements/clear $(WINDSOCK_HOME) $(ENVS)/uv
	@$(PYTHON) -m venv $(ENVS)/uv || \
	  { echo "windsock: this Python cannot make environments. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(ENVS)/uv/bin/pip install --quiet --require-hashes -r requirements/uv.txt
	@touch $@

$(AIRFLOW_TEST_ENV)/.made: requirements/airflow-$(AIRFLOW_VERSION)-test.txt | $(UV)
	$(call sync,$(AIRFLOW_TEST_ENV),$<,installing Airflow $(AIRFLOW_VERSION) for tests)
	@touch $@

$(ENVS)/airflow-%/.made: requirements/airflow-%.txt | $(UV)
	$(call sync,$(@D),$<,installing Airflow $* (about 180 packages; a minute or two the first time))
	@touch $@

$(BENCH_ENV)/.made: requirements/bench-hooks.txt | $(UV)
	$(call sync,$(BENCH_ENV),$<,installing Airflow with the peer that bench/hooks.py compares with)
	@touch $@

$(MONITOR_ENV)/.made: requirements/monitor.txt pyproject.toml client/pyproject.toml | $(UV)
	$(call sync,$(MONITOR_ENV),$<,installing the monitor)
	@VIRTUAL_ENV=$(MONITOR_ENV) $(UV) pip install --quiet --no-deps --editable . --editable client
	@touch $@

$(DEV_ENV)/.made: requirements/dev.txt pyproject.toml client/pyproject.toml | $(UV)
	$(call sync,$(DEV_ENV),$<,installing the monitor and what checks it)
	@VIRTUAL_ENV=$(DEV_ENV) $(UV) pip install --quiet --no-deps --editable . --editable client
	@touch $@

$(DOCS_ENV)/.made: requirements/docs.txt | $(UV)
	$(call sync,$(DOCS_ENV),$<,installing what builds the pages)
	@touch $@

$(RELEASE_ENV)/.made: requirements/release.txt | $(UV)
	$(call sync,$(RELEASE_ENV),$<,installing what builds and examines a release)
	@touch $@

# What tests run in a browser and beside one, from the npm registry by its lock (hashes, no address).
tests/npm/node_modules/.made: tests/npm/package-lock.json
	tests/debian-packages
	@echo "windsock: installing what the tests take from npm"
	@requirements/clear tests/npm tests/npm/node_modules
	@cd tests/npm && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

# What pages show charts with. Another version: change it here, then write its sums into SHA256SUMS.
UPLOT := 1.6.32
UPLOT_HOME := templates/web/static/vendor/uplot
.PHONY: vendor
vendor: ## release+: fetch what the pages take from npm anew, and hold it against its sums
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	  (cd "$$folder" && npm pack --silent uplot@$(UPLOT) >/dev/null && tar xzf uplot-*.tgz); \
	  install -m 644 "$$folder"/package/{LICENSE,dist/uPlot.iife.min.js,dist/uPlot.min.css} $(UPLOT_HOME)/
	@cd $(UPLOT_HOME) && sha256sum --check SHA256SUMS

.PHONY: envs
envs: $(AIRFLOW_ENV)/.made $(AIRFLOW_TEST_ENV)/.made $(MONITOR_ENV)/.made $(DEV_ENV)/.made ## run+: every environment, from locks with hashes, into .windsock/env

.PHONY: dev-env
dev-env: $(DEV_ENV)/.made ## run+: the environment of make dev, make check-fast and make test-one alone

.PHONY: run
run: $(AIRFLOW_ENV)/.made $(MONITOR_ENV)/.made ## run: Airflow, the DAGs and the monitor, no Docker (ARGS=--once: ends by itself)
	@exec $(MONITOR_ENV)/bin/windsock up --airflow $(AIRFLOW_ENV) $(ARGS)

.PHONY: dev
dev: $(DEV_ENV)/.made ## run: the monitor alone, restarted at each change, with sample events and a mailbox
	@PYTHONPATH=plugins:client exec $(DEV_ENV)/bin/python -m scripts.dev

.PHONY: wheels
wheels: $(RELEASE_ENV)/.made ## release+: wheels and source archives of monitor, plugin and client, in dist/
	@PATH=$(RELEASE_ENV)/bin:$$PATH scripts/release/wheels dist

.PHONY: audit
audit: $(RELEASE_ENV)/.made $(MONITOR_ENV)/.made $(DEV_ENV)/.made $(AIRFLOW_ENV)/.made ## release: known holes and licences of every lock (ARGS=--strict, --advisories FOLDER)
	@$(RELEASE_ENV)/bin/python -m scripts.release audit --environments $(ENVS) $(ARGS)

.PHONY: lock-check
lock-check: | $(UV) ## release+: that each lock is what its .in gives (asks the package index)
	@PATH=$(dir $(UV)):$$PATH scripts/release/lock-check

.PHONY: release
release: $(RELEASE_ENV)/.made $(MONITOR_ENV)/.made $(DEV_ENV)/.made $(AIRFLOW_ENV)/.made ## release: wheels, images, bills of materials and checksums into dist/ (ARGS=--dry-run)
	@$(RELEASE_ENV)/bin/python -m scripts.release make --environments $(ENVS) $(ARGS)

.PHONY: docs
docs: $(DOCS_ENV)/.made ## release: the pages, into site/; a link that leads nowhere fails
	@PYTHONPATH=. $(DOCS_ENV)/bin/properdocs build --quiet --strict --config-file mkdocs.yml

.PHONY: docs-reference
docs-reference: $(DEV_ENV)/.made ## release: write the reference pages anew, from the code
	@PYTHONPATH=plugins:client $(DEV_ENV)/bin/python -m scripts.docs_reference

.PHONY: compose
compose: ## run: the stack in containers, healthy; without an .env it writes one
	@compose/up

.PHONY: compose-down
compose-down: ## run: stop the stack; the data stay (ARGS=--volumes removes them)
	@compose/down $(ARGS)

# What imports Airflow is checked against an Airflow; all else by mypy's own configuration (pyproject.toml).
MYPY_AIRFLOW := $(DEV_ENV)/bin/mypy --python-executable $(AIRFLOW_TEST_ENV)/bin/python

.PHONY: check
check: $(DEV_ENV)/.made $(AIRFLOW_TEST_ENV)/.made ## check: format, lint, types, import ranks, the pages and their links
	$(DEV_ENV)/bin/ruff format --check .
	$(DEV_ENV)/bin/ruff check .
	$(DEV_ENV)/bin/mypy
	$(MYPY_AIRFLOW) plugins client compose tests/plugin/*.py bench/hooks*.py bench/peers/*.py bench/peers/plugins/*.py bench/mail/hook.py
	MYPYPATH=dags $(MYPY_AIRFLOW) dags tests/dags/*.py
	MYPYPATH=tests/scenarios/dags $(MYPY_AIRFLOW) --explicit-package-bases tests/*/dags/*.py bench/*/dags/*.py
	PYTHONPATH=plugins:client $(DEV_ENV)/bin/lint-imports
	$(MAKE) --no-print-directory docs

.PHONY: check-fast
check-fast: $(DEV_ENV)/.made ## check: format and lint alone: seconds
	$(DEV_ENV)/bin/ruff format --check .
	$(DEV_ENV)/bin/ruff check .

.PHONY: test-one
test-one: $(DEV_ENV)/.made ## test: one file or folder of the monitor's tests, slow ones too (T=tests/unit/rules)
	$(DEV_ENV)/bin/python -m pytest $(T)

# A test that needs an Airflow, a browser or a PostgreSQL, or takes more than 5 s, is slow: `make test` leaves it out,
# and `make test-all` runs those alone after it. So nothing runs twice.
.PHONY: test
test: check ## test: what a change must pass: make check, then every test that is not slow
	tests/debian-packages
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-airflow-side test-monitor-side \
	  MARKED='not slow' BESIDE='$(ALONE)'

.PHONY: test-all
test-all: test $(AIRFLOW_ENV)/.made $(MONITOR_ENV)/.made ## test: make test, then the slow tests: everything that needs no Docker
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-airflow-side test-monitor-side MARKED=slow WORKERS=2
	$(MAKE) --no-print-directory test-together

# The tests of `make test` once more, counted: by it alone, 85 % of the lines of `monitor/` and `plugins/` are run.
.PHONY: coverage
coverage: export COVERAGE_FILE := $(WINDSOCK_HOME)/coverage/data
coverage: $(DEV_ENV)/.made ## test: the share of lines that the tests of make test run; below 85 % it fails
	tests/debian-packages
	requirements/clear $(WINDSOCK_HOME) $(WINDSOCK_HOME)/coverage && mkdir -p $(WINDSOCK_HOME)/coverage
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-airflow-side test-monitor-side \
	  MARKED='not slow' BESIDE='$(ALONE)' PYTEST='coverage run -m pytest'
	$(DEV_ENV)/bin/coverage combine --quiet
	$(DEV_ENV)/bin/coverage report

# A test that hangs is ended, told with its stack, and tried once more: in one run of CI in four something hung, for
# 80 minutes, and nothing said what. One that fails is not tried again.
UNHUNG := --timeout=300 --reruns=1 --only-rerun='Timeout \(>' -raR
PYTEST := pytest
MARKED := slow or not slow
ALONE := tests/scale tests/e2e tests/scenarios tests/faults # each keeps both processors busy
BESIDE :=
WORKERS := 4

# Four workers, also on two processors: half of a test's time it waits. What is slow has Airflows and browsers of
# its own, and deadlines: two of them keep two processors busy.
.PHONY: test-airflow-side test-monitor-side test-together
test-airflow-side: $(AIRFLOW_TEST_ENV)/.made
	$(AIRFLOW_TEST_ENV)/bin/python -m $(PYTEST) -m '$(MARKED)' tests/plugin tests/dags

test-monitor-side: $(DEV_ENV)/.made tests/npm/node_modules/.made
	$(DEV_ENV)/bin/python -m $(PYTEST) $(UNHUNG) --numprocesses=$(WORKERS) --dist=loadfile -m '$(MARKED)' \
	  tests/unit tests/identity tests/up tests/chart tests/observability tests/versions tests/release \
	  tests/docs/test_names.py tests/docs/test_code_names.py tests/docs/test_docstrings.py tests/docs/test_reference.py tests/docs/test_threat_model.py \
	  tests/browser tests/feed $(BESIDE)

test-together: $(AIRFLOW_ENV)/.made $(DEV_ENV)/.made
	$(DEV_ENV)/bin/python -m pytest -m slow $(ALONE)

.PHONY: test-matrix
test-matrix: $(AIRFLOW_VERSIONS:%=$(ENVS)/airflow-%/.made) $(DEV_ENV)/.made ## test+: every scenario on every supported Airflow; writes docs/scenarios.md
	tests/debian-packages
	PYTHON=$(DEV_ENV)/bin/python tests/scenarios/matrix $(AIRFLOW_VERSIONS)

.PHONY: test-faults
test-faults: $(AIRFLOW_ENV)/.made $(DEV_ENV)/.made ## test+: processes killed, requests cut, answers lost (ARGS="--kills 200 --seed 1")
	tests/debian-packages
	$(DEV_ENV)/bin/python -m tests.faults $(ARGS)

.PHONY: test-scale
test-scale: $(DEV_ENV)/.made ## test+: several monitors on one PostgreSQL, and their deaths (ARGS="--events 100000")
	tests/debian-packages
	PYTHONPATH=plugins:client $(DEV_ENV)/bin/python -m tests.scale $(ARGS)

.PHONY: test-restore
test-restore: $(DEV_ENV)/.made ## test+: backup, loss and restore with mails under way; a move of 200,000 events
	tests/debian-packages
	RESTORE_MAILS=60 MOVE_EVENTS=200000 $(DEV_ENV)/bin/python -m pytest tests/unit/cli/backup/test_backup.py tests/unit/cli/backup/test_copy_to_postgresql.py

# An Airflow as a user has it: made anew each time, with pip in it, and nothing of this project's.
FRESH_AIRFLOW_ENV := $(ENVS)/fresh-airflow
.PHONY: test-docs
test-docs: $(DEV_ENV)/.made $(RELEASE_ENV)/.made ## test+: the commands of the how-to pages, done, on a fresh Airflow
	$(call sync,$(FRESH_AIRFLOW_ENV),requirements/airflow-$(AIRFLOW_VERSION).txt,installing a fresh Airflow $(AIRFLOW_VERSION))
	@$(FRESH_AIRFLOW_ENV)/bin/python -m ensurepip >/dev/null 2>&1 && touch $(FRESH_AIRFLOW_ENV)/.made
	tests/debian-packages
	WINDSOCK_TEST_AIRFLOW_ENV=$(FRESH_AIRFLOW_ENV) $(DEV_ENV)/bin/python -m pytest -m slow tests/docs

.PHONY: test-replicas
test-replicas: $(DEV_ENV)/.made ## test+: several monitors on one PostgreSQL: killed, cut off, failing over (3 minutes)
	tests/debian-packages
	$(DEV_ENV)/bin/python -m pytest -s tests/replicas

.PHONY: test-compose
test-compose: $(DEV_ENV)/.made ## test: the compose stack, each profile, for real (needs Docker)
	@PYTHON=$(DEV_ENV)/bin/python tests/compose/run $(ARGS)

.PHONY: test-chaos
test-chaos: $(DEV_ENV)/.made ## test+: celery and scale: what dies with 20 runs in flight (needs Docker; 6 minutes)
	@PYTHON=$(DEV_ENV)/bin/python WINDSOCK_CHAOS_RUNS=20 WINDSOCK_TRAINING_RUNS=20 \
	  WINDSOCK_CHAOS_CUT_SECONDS=60 WINDSOCK_CHAOS_AWAY_SECONDS=20 \
	  PYTEST_ARGS='-s tests/compose/test_what_dies.py' tests/compose/run celery,scale

.PHONY: bench-hooks
bench-hooks: $(BENCH_ENV)/.made ## bench: the time that each hook adds, with the monitor up, down and silent
	$(BENCH_ENV)/bin/python -m bench.hooks $(ARGS)

.PHONY: bench-reconcile
bench-reconcile: $(AIRFLOW_ENV)/.made $(DEV_ENV)/.made ## bench+: the cost of one comparison, with little history and with much
	tests/debian-packages
	$(DEV_ENV)/bin/python -m bench.reconcile $(ARGS)

.PHONY: bench-peers
bench-peers: $(BENCH_ENV)/.made ## bench+: the cost of listeners to tasks and scheduler: Windsock, OpenLineage, none
	$(BENCH_ENV)/bin/python -m bench.peers $(ARGS)

.PHONY: bench-mail
bench-mail: $(AIRFLOW_ENV)/.made $(DEV_ENV)/.made ## bench: deliveries a second, beside a bare loop and Airflow's SmtpHook
	tests/debian-packages
	$(DEV_ENV)/bin/python -m bench.mail $(ARGS)

.PHONY: bench-outbox
bench-outbox: $(DEV_ENV)/.made ## bench+: a claim with a thousand and with a million deliveries
	tests/debian-packages
	$(DEV_ENV)/bin/python -m bench.outbox $(ARGS)

.PHONY: bench-ingest
bench-ingest: $(DEV_ENV)/.made ## bench: events a second, durable, beside a bare executemany loop
	tests/debian-packages
	$(DEV_ENV)/bin/python -m bench.ingest $(ARGS)

.PHONY: bench-pages
bench-pages: $(DEV_ENV)/.made ## bench: pages and replay with ten thousand events in the log and with a million
	tests/debian-packages
	$(DEV_ENV)/bin/python -m bench.pages $(ARGS)

.PHONY: bench-scale
bench-scale: $(DEV_ENV)/.made ## bench+: events and deliveries a second with 1, 2 and 4 monitors on one PostgreSQL
	tests/debian-packages
	PYTHONPATH=plugins:client $(DEV_ENV)/bin/python -m bench.scale $(ARGS)

.PHONY: bench-bounds
bench-bounds: $(DEV_ENV)/.made ## bench+: the cost of each bound: memory, and how long the monitor then takes to answer
	$(DEV_ENV)/bin/python -m bench.bounds $(ARGS)

.PHONY: bench-feed
bench-feed: $(DEV_ENV)/.made ## bench: the live feed beside nginx with nchan: latency, throughput, memory
	tests/debian-packages
	$(DEV_ENV)/bin/python -m bench.feed $(ARGS)

.PHONY: bench-lists
bench-lists: $(DEV_ENV)/.made ## bench+: 10,000 rows in a browser: frames that come late
	tests/debian-packages
	$(DEV_ENV)/bin/python -m bench.lists $(ARGS)

.PHONY: bench-latency
bench-latency: $(AIRFLOW_ENV)/.made $(DEV_ENV)/.made ## bench: event in Airflow to SSE client
	$(DEV_ENV)/bin/python -m bench.latency $(ARGS)

.PHONY: format
format: $(DEV_ENV)/.made ## check: format, and mend what ruff can mend
	$(DEV_ENV)/bin/ruff format .
	$(DEV_ENV)/bin/ruff check --fix .

.PHONY: lock
lock: | $(UV) ## release: write requirements/*.txt anew
	PATH=$(dir $(UV)):$$PATH requirements/lock.sh

.PHONY: clean
clean: ## run: remove what make made: environments, data, logs
	requirements/clear $(WINDSOCK_HOME) $(WINDSOCK_HOME)
