# One command from a fresh machine to a result: each target first builds the
# virtual environment it needs, and finds it ready the next time.
PYTHON ?= python3
VENV ?= .venv
OUTPUT ?= outputs
SEED ?= 0
MEMBERS ?=
DATA ?=
OWNER ?=
# More arguments for pytest or the benchmarks.
FLAGS ?=
BIN := $(VENV)/bin
NOTEBOOKS := $(sort $(wildcard notebooks/*.py))
CONSTRAINTS ?=
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
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
EXTRA := $(BIN)/python -c "import sys, tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies'][sys.argv[1]], sep='\n')"

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo lab train cost test test-floor test-jax lint bench notebooks \
	kaggle clean clean-outputs

# MEMBERS=BERTMean,GatedNetVLAD and DATA=/folder choose others than the sample's.
demo: $(VENV)/ready
	@set -e; for notebook in $(NOTEBOOKS); do \
		echo; echo "== $$notebook"; flags=; \
		case $$notebook in *01_*) ;; *) \
			flags="$$flags $(addprefix --members ,$(MEMBERS))" ;; esac; \
		case $$notebook in *05_*) ;; *) \
			flags="$$flags $(addprefix --data-dir ,$(DATA))" ;; esac; \
		$(BIN)/python $$notebook --output-dir $(OUTPUT) --seed $(SEED) $$flags; \
	done

# The notebooks in the browser.
lab: $(VENV)/ready-lab
	$(BIN)/python -m jupyterlab notebooks

# Any members through both stages: a member for each GPU, going on where a run
# before ended.  FLAGS="--steps 1000" and the like, see `kit/stages/__main__.py`.
train: $(VENV)/ready
	$(BIN)/python -m kit.stages --output-dir $(OUTPUT) --seed $(SEED) \
		$(addprefix --members ,$(MEMBERS)) $(addprefix --data-dir ,$(DATA)) $(FLAGS)

# What each member would take on this device, from this data source.
cost: $(VENV)/ready
	$(BIN)/python -m kit.stages.cost --output-dir $(OUTPUT) \
		$(addprefix --members ,$(MEMBERS)) $(addprefix --data-dir ,$(DATA)) $(FLAGS)

# On the CPU, also where there is a GPU: only there are runs the same to the bit.
test test-floor test-jax: export CUDA_VISIBLE_DEVICES =

test: $(VENV)/ready-test
	$(BIN)/python -m pytest $(FLAGS)

# The oldest promised versions: the layers, saving, and a smoke run of the chain.
test-floor:
	$(MAKE) VENV=.venv-floor CONSTRAINTS="-c tests/floor.txt" .venv-floor/ready-test
	.venv-floor/bin/python -m pytest tests/layers tests/test_models.py \
		tests/test_presets.py tests/test_losses.py tests/test_export.py \
		tests/test_chain.py $(FLAGS)

test-jax: $(VENV)/ready-test
	KERAS_BACKEND=jax $(BIN)/python -m pytest tests/layers \
		tests/test_models.py tests/test_losses.py tests/test_presets.py \
		tests/test_look.py $(FLAGS)

lint: $(VENV)/ready-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(VENV)/ready-test
	$(BIN)/python -m tests.benchmarks $(FLAGS)

notebooks: $(VENV)/ready
	$(BIN)/jupytext --to ipynb --update $(NOTEBOOKS)

# OWNER is your name on Kaggle; DATA=owner/name,... attaches more data sets, and
# DATA=sample none, so that the notebooks simulate their data.
kaggle: $(VENV)/ready
	@$(BIN)/python -m kit.runtime.kaggle "$(OWNER)" $(addprefix --data=,$(DATA))

# All that is built, and nothing that was trained.
clean:
	rm -rf .venv .venv-floor build *.egg-info .pytest_cache .ruff_cache \
		.hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Where the demo, `make train` and the notebooks leave what they make.
clean-outputs:
	rm -rf outputs notebooks/outputs

$(VENV)/ready: requirements.txt
	@echo "Building the environment in $(VENV) (about two minutes, once)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, $(OLDEST)) <= sys.version_info[:2] <= (3, $(NEWEST)))' || \
		{ echo "Python must be one that TensorFlow has builds for, 3.$(OLDEST) to" \
		"3.$(NEWEST): make PYTHON=/path/to/one. Received: PYTHON=$(PYTHON)," \
		"$$($(PYTHON) --version 2>&1)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	sed 's/^tensorflow>/$(TENSORFLOW)>/' requirements.txt > $(VENV)/requirements.txt
	$(INSTALL) -r $(VENV)/requirements.txt $(CONSTRAINTS)
	$(INSTALL) --no-deps --editable .
	@touch $@

$(VENV)/ready-%: $(VENV)/ready pyproject.toml
	$(EXTRA) $* > $(VENV)/$*.txt
	$(INSTALL) -r $(VENV)/$*.txt $(CONSTRAINTS)
	@touch $@
