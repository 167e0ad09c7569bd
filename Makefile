# The two commands of the README are `make demo` and `make test`. Each makes what it needs in .venv;
# all that is asked of the machine is Python 3.11 (or later) and make.

# PYTHON=python3.13 names another one, which has a folder of its own: .venv-3.13.
NAMED  := $(filter-out undefined default file,$(origin PYTHON))
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv$(if $(NAMED),$(shell $(PYTHON) -c 'import sys; print("-%d.%d" % sys.version_info[:2])'))
BIN    := $(VENV)/bin
PEER   := .venv-peer
LOWEST := .venv-lowest
ENGINES := .venv-engines

# One more than there are processors: tests wait a third of their time, for sockets and for time-outs.
WORKERS = $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.PHONY: demo test test-quick test-engines check figures bench schema completions manual picture soak soak-engines lowest clean

# A table, a run that is killed and resumed, and a call in a pipe: no key, no network beyond the package index.
demo: $(VENV)/.installed
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh tests/demo/demo.sh

# Everything: the core, the wire, real processes, the manual, and servers that are not ours.
test: $(VENV)/.dev $(PEER)/.installed
	$(BIN)/python -m pytest -q -n $(WORKERS) $(PYTEST)

# The same without the peers, whose packages are large.
test-quick: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n $(WORKERS) -m 'not peer' $(PYTEST)

# Runs on more than one machine: Ray, and the recipes of chatpipe-engines(7) on Slurm and GNU parallel,
# which it does not install. CHATPIPE_TEST_ALL=1 lets it fail where one is missing.
test-engines: $(ENGINES)/.installed
	$(ENGINES)/bin/python -m pytest -q -n $(WORKERS) --timeout 300 --dist loadfile tests/engines $(PYTEST)

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python tests/schema/generate_accept.py --check

# The structure of the package in figures. FIGURES='OLD NEW' compares two checkouts.
figures:
	@$(PYTHON) tests/quality/figures.py $(FIGURES)

bench: $(VENV)/.dev
	$(BIN)/python -m tests.bench $(BENCH)

# Long runs, one after another, with their figures: a million lines, kills, bad weather, failing disks.
# SEED=2 has other moments for what happens at random. Then many random examples of each property, and mutants
# of a few modules, to see whether a test notices each. Some half an hour.
soak: $(VENV)/.dev
	CHATPIPE_SOAK=$(SEED) $(BIN)/python -m pytest -q -s -n 0 --timeout 1800 tests/soak $(PYTEST)
	CHATPIPE_SOAK=$(SEED) $(BIN)/python -m pytest -q -n $(WORKERS) --timeout 1800 -m hypothesis $(PYTEST)
	$(BIN)/python tests/quality/mutate.py

# The same for runs on Ray: a node that dies, a limit that three workers keep for three minutes.
soak-engines: $(ENGINES)/.installed
	$(ENGINES)/bin/python -m pytest -q -s -n 0 --timeout 600 tests/engines/soak $(PYTEST)

# The lowest versions that pyproject.toml promises.
lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest -q -n $(WORKERS) -m 'not peer' $(PYTEST)

# What is generated and committed.
schema: $(VENV)/.dev
	$(BIN)/python tests/schema/generate_accept.py

completions: $(VENV)/.installed
	$(BIN)/chatpipe completion bash > completions/chatpipe.bash
	$(BIN)/chatpipe completion zsh > completions/_chatpipe
	$(BIN)/chatpipe completion fish > completions/chatpipe.fish
	PYTHONPATH=tests $(BIN)/python -m completion.name_table

# In the page of each command, the list of the options that chatpipe-options(7) describes. In
# chatpipe-formats(5), the sections about records.
manual: $(VENV)/.dev
	PYTHONPATH=tests $(BIN)/python -m manual.generate
	PYTHONPATH=tests $(BIN)/python -m formats.page

# The picture of the README, recorded from `make demo`.
picture: $(VENV)/.dev
	cd tests && PATH="$(CURDIR)/$(BIN):$$PATH" ../$(BIN)/python -m demo.picture ../share/demo.svg

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(PEER)/.installed: Makefile
	$(PYTHON) -m venv $(PEER)
	$(PEER)/bin/python -m pip install --quiet 'litellm[proxy]' vcrpy
	-$(PEER)/bin/python -m pip install --quiet --only-binary :all: xllamacpp gguf  # not for every machine
	-npm install --silent --no-audit --no-fund --prefix $(PEER) @copilotkit/aimock@1.43.0  # where Node.js is
	@touch $@

$(LOWEST)/.installed: pyproject.toml tests/lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(LOWEST)/bin/python -m pip install --quiet --constraint tests/lowest.txt --editable . --group dev
	@touch $@

$(ENGINES)/.installed: pyproject.toml
	$(PYTHON) -m venv $(ENGINES)
	$(ENGINES)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(ENGINES)/bin/python -m pip install --quiet --editable '.[ray]' --group dev --group engines
	@touch $@

clean:
	rm -rf .venv .venv-* dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
