# One command from a fresh machine to a result: each target first builds the
# virtual environment it needs, and finds it ready the next time.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?=
# These are given on the command line: an environment may have a DATA of its own.
OUTPUT = outputs
SEED = 0
MEMBERS =
DATA =
OWNER =
# More arguments for pytest or the benchmarks, as a shell reads them.
FLAGS =
# The others are handed on as they are, spaces, commas and `$` included.
override OUTPUT := $(value OUTPUT)
override SEED := $(value SEED)
override MEMBERS := $(value MEMBERS)
override DATA := $(value DATA)
override OWNER := $(value OWNER)
override FLAGS := $(value FLAGS)
export OUTPUT SEED MEMBERS DATA OWNER

BIN := $(VENV)/bin
# What was given to this make is not for those that tests run.
ALONE := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL
# The tests of a file share what is made once for them.
PYTEST := -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# From the first of these minor versions of Python 3, and before the second.
MINORS := $(shell sed -n 's/^requires-python = ">=3\.\([0-9]*\),<3\.\([0-9]*\)"/\1 \2/p' pyproject.toml)
OLDEST := $(firstword $(MINORS))
NEWEST := $(shell expr $(lastword $(MINORS)) - 1)

# TensorFlow with CUDA where an NVIDIA GPU is, the small CPU build where that
# exists and no GPU does.
TENSORFLOW := $(shell if nvidia-smi -L >/dev/null 2>&1; \
	then echo 'tensorflow[and-cuda]'; \
	elif [ "$$(uname -sm)" = "Linux x86_64" ]; then echo tensorflow-cpu; \
	else echo tensorflow; fi)
# Python compiles what it imports; the rest of TensorFlow takes half a minute.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--no-compile
EXTRA := $(BIN)/python -c "import sys, tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies'][sys.argv[1]], sep='\n')"

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo lab test test-slow test-floor floor test-jax lint bench \
	notebooks kaggle clean clean-outputs

# MEMBERS=BERTMean,GatedNetVLAD and DATA=/folder choose others than the sample's.
demo: $(VENV)/ready
	@set -e; for notebook in notebooks/*.py; do \
		echo; echo "== $$notebook"; \
		set -- --output-dir "$$OUTPUT" --seed "$$SEED"; \
		if [ -n "$$MEMBERS" ] && grep -q '^members = ' $$notebook; then \
			set -- "$$@" --members "$$MEMBERS"; fi; \
		if [ -n "$$DATA" ] && grep -q '^data_dir = ' $$notebook; then \
			set -- "$$@" --data-dir "$$DATA"; fi; \
		$(BIN)/python $$notebook "$$@"; \
	done

# The notebooks in the browser.
lab: $(VENV)/ready-lab
	$(BIN)/python -m jupyterlab notebooks

# On the CPU, also where there is a GPU: only there are runs the same to the bit.
test test-slow test-floor test-jax: export CUDA_VISIBLE_DEVICES =

test: $(VENV)/ready-test
	$(ALONE) $(BIN)/python $(PYTEST) -m "not slow" $(FLAGS)

# Devices, Kaggle's mounts, kills of the whole chain: long, and seldom broken.
test-slow: $(VENV)/ready-test
	$(ALONE) $(BIN)/python $(PYTEST) -m slow $(FLAGS)

# The oldest promised versions: the layers, saving, and a smoke run of the chain.
test-floor: floor
	$(ALONE) .venv-floor/bin/python $(PYTEST) tests/test_chain.py \
		tests/test_models.py tests/test_presets.py tests/layers \
		tests/test_losses.py tests/test_export.py -m "not slow" $(FLAGS)

floor:
	$(MAKE) VENV=.venv-floor CONSTRAINTS="-c tests/floor.txt" .venv-floor/ready-test

# What JAX compiles runs once or twice here.  One file takes most of the time, so
# its tests are shared out too.
test-jax: $(VENV)/ready-test
	$(ALONE) KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=1 \
		$(BIN)/python $(PYTEST) --dist worksteal tests/test_models.py \
		tests/test_presets.py tests/layers tests/test_losses.py \
		tests/test_explain.py $(FLAGS)

lint: $(VENV)/ready-lint
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

bench: $(VENV)/ready-test
	$(BIN)/python -m tests.benchmarks $(FLAGS)

# Runs the notebooks on the sample, and keeps what they show.
notebooks: $(VENV)/ready-test
	$(BIN)/python -m tests.execute_notebooks notebooks/*.py
	cp notebooks/outputs/figures/04_timeline.png notebooks/timeline.png

# OWNER is your name on Kaggle; DATA=owner/name,... attaches more data sets, and
# DATA=sample none, so that the notebooks simulate their data.
kaggle: $(VENV)/ready
	@$(BIN)/python -m kit.runtime.kaggle "$$OWNER" "$$DATA"

# All that is built, and nothing that was trained.
clean:
	rm -rf .venv .venv-floor build *.egg-info .pytest_cache .ruff_cache \
		.hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Where the demo and the notebooks leave what they make.
clean-outputs:
	rm -rf outputs notebooks/outputs

$(VENV)/ready: requirements.txt
	@echo "Building the environment in $(VENV) (about two minutes, once)"
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, $(OLDEST)) <= sys.version_info[:2] <= (3, $(NEWEST)))' || \
		{ echo "Python must be one that TensorFlow has builds for, 3.$(OLDEST) to" \
		"3.$(NEWEST): make PYTHON=/path/to/one. Received: PYTHON=$(PYTHON)," \
		"$$("$(PYTHON)" --version 2>&1)"; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	sed 's/^tensorflow>/$(TENSORFLOW)>/' requirements.txt > $(VENV)/requirements.txt
	$(INSTALL) -r $(VENV)/requirements.txt $(CONSTRAINTS)
	$(INSTALL) --no-deps --editable .
	@touch $@

$(VENV)/ready-%: $(VENV)/ready pyproject.toml
	$(EXTRA) $* > $(VENV)/$*.txt
	$(INSTALL) -r $(VENV)/$*.txt $(CONSTRAINTS)
	@touch $@
