# Type `make` to list the targets. `.venv` is made on first use, from the pinned versions in constraints.txt.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ALL    := $(VENV)/.installed-all
RUN    ?=
STAGES ?=

.DEFAULT_GOAL := help
.PHONY: help demo compare test test-all nightly lint docs bench bench-edits gpu gpu-wheels gpu-rehearsal

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); sys.exit(0 if ok else \
	"$(PYTHON) is Python %d.%d, but qnerf needs 3.11, 3.12 or 3.13: run make PYTHON=/path/to/python3.12" % sys.version_info[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[dev]'
	@touch $@

$(ALL): $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[all,dev]'
	@touch $@

demo: $(STAMP)  ## Raise a figure's arm in every view, consistently (RUN="key=value …" overrides settings)
	$(BIN)/python -m qnerf.run +exp=articulation $(RUN)

compare: $(STAMP)  ## The same edit by every method, side by side
	$(BIN)/python -m qnerf.run +exp=compare $(RUN)

# Two processes of one thread each: small models gain little from a second thread. A file's tests share what it builds.
test: $(STAMP)  ## The default tests: unit tests and short integration runs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-all: $(ALL)  ## Every test, slow and GPU ones included, with every extra
	$(BIN)/python -m pytest -m ''

nightly: $(STAMP)  ## The Stable Diffusion path with the lowest and the newest diffusers: what CI runs at night
	.ci/nightly $(BIN)/python

lint: $(STAMP)  ## Style, types, and which package imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache

docs: $(STAMP)  ## The documentation as a site that opens from disk: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench-edits: $(STAMP)  ## The benchmark of edits, hours on a CPU: all methods but `paper` on 12 scenes, resumed when run again
	$(BIN)/python -m qnerf.run -m +exp=benchmark $(RUN)
	$(BIN)/python -m qnerf.benchmark $$(ls -td outputs/sweeps/benchmark-*/ | head -1)

bench: $(STAMP)  ## Speed and memory, each beside a peer
	@set -e; for script in benchmarks/bench_*.py; do $(BIN)/python $$script; done

# The first runs with a Python that has torch and the GPU, .venv or the system's own; it installs nothing there.
gpu:  ## What a GPU is asked first, in nine minutes: check, time, train (STAGES="check time" for some; docs/gpu.md)
	$(PYTHON) -m benchmarks.gpu $(STAGES)

gpu-wheels:  ## What a GPU machine without a network lacks, to be carried there: .gpu/wheels, 25 MB at most
	$(PYTHON) -m benchmarks.gpu.wheels

gpu-rehearsal: $(STAMP)  ## All of `make gpu` at toy size on a CPU, in less than three minutes
	$(BIN)/python -m benchmarks.gpu --toy $(STAGES)
