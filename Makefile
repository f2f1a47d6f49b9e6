# `make results`: set up and run the mini world. `make test`: set up and run every check.
PYTHON ?= python3.11
BIN := .venv/bin
CORES ?= all

.PHONY: results test check tests clean help

help:
	@grep -E '^# ' Makefile | sed 's/^# //'

results: .venv/installed
	$(BIN)/snakemake --cores $(CORES)

test: check tests

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/dvc stage list
	$(BIN)/python -m opentrans update-readme --check

tests: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/cluster --cov --cov-report=term --cov-fail-under=85

# The tests that start a SLURM of their own and need the whole machine for it; skipped, with the reason, where there is none.
.PHONY: cluster-tests
cluster-tests: .venv/installed
	$(BIN)/python -m pytest tests/cluster

# The lock holds exact versions and hashes; nothing is resolved here. `make lock` renews it.
# PYTHONDONTWRITEBYTECODE would leave packages uncompiled, and every job would pay for that.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m compileall -q -j 0 .venv/lib || true
	touch $@

.PHONY: lock
lock: .venv/installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra cluster --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate --no-emit-index-url --quiet --upgrade --output-file requirements.lock

clean:
	rm -rf results/mini data/mini .snakemake

# Fails where README and findings differ from results/mini. Other processors give other last digits, so `check` only
# compares the pages with their record in docs/results.
.PHONY: check-readme
check-readme: .venv/installed
	$(BIN)/python -m opentrans update-readme --check --results results/mini

.PHONY: readme
readme: .venv/installed
	$(BIN)/snakemake --cores $(CORES) --configfile config/seeds.yaml -- all paper
	$(BIN)/snakemake --cores $(CORES) --configfile config/findings.yaml
	$(BIN)/python -m opentrans update-readme --results results/mini

# Needs graphviz.
.PHONY: rulegraph
rulegraph: .venv/installed
	$(BIN)/snakemake --rulegraph dot | dot -Tsvg > docs/images/rulegraph.svg

# `make benchmarks`: measure everything against its peers, renew docs/performance.md.
.PHONY: benchmarks
benchmarks: .venv/benchmarks
	$(BIN)/python -m pytest -c benchmarks/pytest.ini benchmarks
	$(BIN)/python -m benchmarks.page

.venv/benchmarks: .venv/installed
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[benchmarks]'
	touch $@
