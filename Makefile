# make results        set up and run the mini world
# make test           set up and run every check and test
# make check          lint, types, layers, format and pages, without a test
# make quick          the tests that start no process
# make tests          every test, with coverage
# make cluster-tests  the tests that start a SLURM of their own; skipped, with the reason, where there is none
# make readme         results and the study; renews the tables and figures of README and findings
# make check-readme   fails where README and findings differ from results/mini
# make rulegraph      draws docs/images/rulegraph.svg; needs graphviz
# make benchmarks     measures everything against its peers; renews docs/performance.md
# make lock           renews requirements.lock; LOCK_FLAGS=--upgrade moves to the newest versions
# make clean          removes the mini world and its results
# make help           this list
#
# PYTHON=python3.12 takes another interpreter than the newest that is there, CORES=4 fewer cores than all.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11; do \
    if $$name -c '' 2> /dev/null; then echo $$name; break; fi; done)
BIN := .venv/bin
CORES ?= all

.PHONY: help results test check tests quick cluster-tests lock clean check-readme readme rulegraph benchmarks

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

results: .venv/installed
	$(BIN)/snakemake --cores $(CORES)

test: check tests

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/dvc stage list
	$(BIN)/python -m tools.readme --check
	$(BIN)/python -m tools.costs_page --check

tests: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/cluster --cov --cov-report=term --cov-fail-under=85

quick: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/cluster -m "not workflow"

# They need the whole machine, so they are not part of `tests`.
cluster-tests: .venv/installed
	$(BIN)/python -m pytest tests/cluster

# The lock holds exact versions and hashes; nothing is resolved here.
# PYTHONDONTWRITEBYTECODE would leave packages uncompiled, and every job would pay for that.
.venv/installed: requirements.lock pyproject.toml
	$(or $(PYTHON),$(error Python 3.11, 3.12 or 3.13 is needed; say where it is: make PYTHON=...)) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	touch $@

# One lock for Python 3.11 to 3.13 on Linux and macOS. Pins stay as they are where they still fit.
lock: .venv/installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra all --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate --no-emit-index-url --quiet $(LOCK_FLAGS) --output-file requirements.lock

clean:
	rm -rf results/mini data/mini .snakemake

# Other processors give other last digits, so `check` only compares the pages with their record in docs/results.
check-readme: .venv/installed
	$(BIN)/python -m tools.readme --check --results results/mini

readme: .venv/installed
	$(BIN)/snakemake --cores $(CORES)
	$(BIN)/snakemake --cores $(CORES) --configfile config/study.yaml -- paper
	$(BIN)/python -m tools.readme --results results/mini

rulegraph: .venv/installed
	$(BIN)/snakemake --rulegraph dot | dot -Tsvg > docs/images/rulegraph.svg

benchmarks: .venv/benchmarks
	$(BIN)/python -m pytest -c benchmarks/pytest.ini benchmarks
	$(BIN)/python -m benchmarks.page

.venv/benchmarks: .venv/installed
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[benchmarks]'
	touch $@
