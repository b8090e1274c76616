# Shapbox. `make` lists what there is. Every target sets the machine up first; that is instant when it is.
# Settings go on the line: make run PORT=8080 DATA_DIR=/tmp/box

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev setup-image python run demo verify preflight deploy chaos soak bench image up down logs shell prove \
	test coverage nightly lint format openapi lock models clean
MAKEFLAGS += --no-print-directory

PY := .venv/bin/python
# Any Python that runs, from 3.8, can set the machine up; .venv is made of it if it fits. A name on PATH may be a shim that
# runs nothing.
runs = $(shell $(1) -c 'import sys; sys.exit(sys.version_info < (3, 8))' >/dev/null 2>&1 && echo $(1))
ANY_PYTHON = $(or $(call runs,$(PY)),$(call runs,python3.13),$(call runs,python3.12),$(call runs,python3.14),\
	$(call runs,python3),$(call runs,/usr/bin/python3),$(call runs,python))

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

run: setup ## the appliance in the foreground; Ctrl-C stops it
	@$(PY) -m ops.run

demo: setup ## explain example rows through REST, check every value, save shap-values.csv
	@$(PY) -m ops.lab.demo

verify: setup-image ## check a running appliance (URL=https://…, or this machine's)
	@$(PY) -m ops.verify $(if $(URL),--url "$(URL)") $(if $(EXPECT_COMMIT),--expect-commit "$(EXPECT_COMMIT)") \
	$(if $(SOAK),--soak "$(SOAK)") $(if $(FORMAT),--format "$(FORMAT)")

chaos: setup ## inject faults for CHAOS_SECONDS (300) by CHAOS_SEED (1) under load; every value is checked
	@CHAOS_SECONDS=$(CHAOS_SECONDS) CHAOS_SEED=$(CHAOS_SEED) $(PY) -m ops.lab.chaos

soak: setup ## full load for SOAK_MINUTES (60), watched for growth of memory
	@$(PY) -m ops.lab.soak

bench: setup ## compare ours with XGBoost, shap, shapiq, woodelf, FastAPI, MLServer in BENCH_MINUTES (20); into docs/benchmarks.md
	@BENCH_MINUTES=$(BENCH_MINUTES) $(PY) -m ops.lab.bench --write

image: setup-image ## build the container's image, and list its layers
	@$(PY) -m ops.container image

up: setup-image ## the appliance in a container of 512 MB, in the background; prints address and key
	@$(PY) -m ops.container up

down: setup-image ## stop that container; its jobs and keys stay in a volume
	@$(PY) -m ops.container down

logs: setup-image ## follow what that container prints
	@$(PY) -m ops.container logs

prove: setup-image ## put a container under load for PROVE_MINUTES (10), and print its memory
	@$(PY) -m ops.container image
	@PROVE_MINUTES=$(PROVE_MINUTES) $(PY) -m ops.lab.prove

shell: setup-image ## a shell inside that container
	@$(PY) -m ops.container shell

preflight: setup-image ## check everything before a deploy; IMAGE=no leaves the image out
	@$(PY) -m ops.render.preflight

deploy: setup-image ## this commit to Render (SERVICE=…, RENDER_API_KEY), verified, or rolled back (ROLLBACK=no, VERIFY=no)
	@$(PY) -m ops.render.deploy

test: setup-dev ## all tests: unit, integration, appliance, and the container if Docker is installed
	@$(PY) -m pytest -n 3

coverage: setup-dev ## branch coverage of shared/jobs, worker and monitor (at least 95 %)
	@$(PY) -m pytest -n 4 -q --cov --cov-report=term tests/unit tests/integration/shared tests/integration/worker \
	tests/integration/monitor tests/integration/api

nightly: setup-dev ## the long runs: coverage, chaos by five seeds, soak, bench, long attacks, races and outages
	@$(MAKE) coverage
	@$(PY) -m tests.support.method_table
	@for seed in 1 2 3 4 5; do CHAOS_SECONDS=$(CHAOS_SECONDS) CHAOS_SEED=$$seed $(PY) -m ops.lab.chaos || exit 1; done
	@$(PY) -m ops.lab.soak
	@$(PY) -m tests.search.simulator --histories 10000
	@SHAPBOX_ATTACK_SECONDS=60 SHAPBOX_RACE_SECONDS=180 OUTAGE_SECONDS=60 REDIS_KILLS=50 PLACED_KILLS=50 \
	$(PY) -m pytest tests/container/test_http_attacks.py tests/integration/api/test_races.py \
	tests/appliance/test_redis_outage.py tests/appliance/test_placed_kills.py
	@$(PY) -m tests.search.rest --histories 100
	@$(PY) -m tests.search.faults
	@$(PY) -m tests.search.bit_flips
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(PY) -m tests.search.fuzz
	@POWER_CUTS=2000 POWER_RUNS=3 POWER_STARTS=20 $(PY) -m pytest tests/search/power
	@BENCH_MINUTES=$(BENCH_MINUTES) $(PY) -m ops.lab.bench

C_FILES = $(wildcard shared/treeshap/native/*.[ch] ops/lab/chaos/*.c tests/search/power/*.c tests/search/faults/*.c)

lint: setup-dev ## ruff, mypy, the import rules, the English of texts; JavaScript, CSS, C, YAML, the Dockerfile
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports --no-logo
	@$(PY) -m ops.prose
	@.venv/bin/clang-format --dry-run -Werror $(C_FILES)
	@.venv/bin/yamllint --strict .
	@.venv/bin/hadolint Dockerfile
	@if [ -x .venv/bin/biome ]; then .venv/bin/biome ci --no-errors-on-unmatched services/api; \
	else echo "lint: biome has no wheel for this machine; JavaScript and CSS are not checked"; fi

format: setup-dev ## let ruff, clang-format and biome write the layout
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .
	@.venv/bin/clang-format -i $(C_FILES)
	@if [ -x .venv/bin/biome ]; then .venv/bin/biome check --write services/api; fi

openapi: setup-dev ## write services/api/openapi.json from openapi.yaml
	@$(PY) -m ops.openapi

lock: setup-dev ## resolve all lock files again
	@.venv/bin/uv pip compile $(COMPILE) pyproject.toml -o requirements.lock
	@.venv/bin/uv pip compile $(COMPILE) pyproject.toml --group tools -c requirements.lock -o requirements-tools.lock
	@.venv/bin/uv pip compile $(COMPILE) pyproject.toml --group dev -c requirements-tools.lock -o requirements-dev.lock
	@for peer in engines fastapi mlserver; do \
	.venv/bin/uv pip compile $(COMPILE) ops/lab/bench/peers/$$peer.in -o ops/lab/bench/peers/$$peer.lock; done
	@.venv/bin/uv pip compile $(COMPILE) ops/container/sbom.in -o ops/container/sbom.lock
	@.venv/bin/uv pip compile $(COMPILE) tests/clients/python.in -o tests/clients/python.lock
	@.venv/bin/uv pip compile $(COMPILE) tests/search/fuzz/atheris.in -o tests/search/fuzz/atheris.lock
	@cd tests/clients/node && npm install --silent --package-lock-only --omit-lockfile-registry-resolved

COMPILE := --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	--python-version 3.12

models: setup-dev ## train the shipped models again
	@$(PY) -m models.train

setup: python ## Python, packages, redis-server, a font and kernels, if they are missing
	@$(ANY_PYTHON) -m ops.setup_machine

setup-image: python # without redis-server, font and kernels: the container brings its own
	@$(ANY_PYTHON) -m ops.setup_machine --no-redis

setup-dev: python
	@$(ANY_PYTHON) -m ops.setup_machine --dev

# A machine without any Python: Debian's, where we may install it.
python:
	@$(if $(ANY_PYTHON),:,$(if $(filter 0,$(shell id -u)),apt-get update -q && apt-get install -y -q \
	--no-install-recommends python3 python3-venv,echo "set-up: no python3 runs here: install one (apt-get install \
	python3 python3-venv) and run make again." >&2; exit 1))

clean: ## remove the environment and caches; DATA_DIR stays
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis shap-values.csv
