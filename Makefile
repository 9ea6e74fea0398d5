# Every target that a person calls has a line `target: ... ## what it does`, which `make help` prints.
# The environment is a file target: it is made once, and again only when what it is made from changes.

ROOT ?= runs
ARGS ?=
VENV := .venv
PYTHON_VENV := $(VENV)/bin/python
DEBUT := $(VENV)/bin/debut
READY := $(VENV)/.ready
KFP_VENV := .venv-kfp
KFP_LOCK := tests/kubeflow/newer-kfp.lock
KFP_READY := $(KFP_VENV)/.ready
SOURCES := benchmarks components models pipeline serving tests scripts

# Half of a process's start is compiling TensorFlow and TFX where bytecode isn't kept.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test check serve bench clean
.PHONY: test-devices test-encoders test-portable test-flink test-kubeflow test-containers test-kfp

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  ROOT=DIR keeps a run's files elsewhere than in runs/; ARGS='...' goes to debut, pytest or the benchmarks."

run: $(READY) ## Train on the sample shop, push the model, recommend its new products to three customers
	$(DEBUT) run --root "$(ROOT)" $(ARGS)
	$(PYTHON_VENV) -m pipeline.demo --root "$(ROOT)"

test: $(READY) ## Run the tests; the last line counts them
	$(PYTHON_VENV) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-encoders: $(READY) ## Whole runs with an encoder from scratch, a compressed and a fine-tuned one; minutes
	$(PYTHON_VENV) -m pytest -m encoders tests/end_to_end $(ARGS)

test-devices: $(READY) ## Train on several devices and on two workers, of which one is killed; minutes
	$(PYTHON_VENV) -m pytest -m devices tests/devices $(ARGS)

test-portable: $(READY) ## The Beam stages on Prism, which Go builds once, against the direct runner; minutes
	$(PYTHON_VENV) -m pytest -m portable tests/portable $(ARGS)

test-flink: $(READY) ## The same on a Flink cluster of this machine; minutes
	$(PYTHON_VENV) -m pytest -m flink tests/portable $(ARGS)

test-kubeflow: $(READY) ## Run every container command of the compiled pipeline as a process, twice; minutes
	$(PYTHON_VENV) -m pytest -m kubeflow tests/kubeflow $(ARGS)

test-containers: $(READY) ## The same in containers, where Docker or Podman runs
	$(PYTHON_VENV) -m pytest -m containers tests/kubeflow $(ARGS)

test-kfp: $(READY) $(KFP_READY) ## Have a newer kfp, in an environment of its own, read the compiled pipeline
	@mkdir -p build
	$(DEBUT) compile --runner kubeflow --config tests/kubeflow/gpu.yaml --output build/pipeline.yaml $(ARGS)
	$(KFP_VENV)/bin/python -m tests.kubeflow.newer_kfp build/pipeline.yaml

check: $(READY) ## Lint, formatting and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy $(SOURCES)

serve: $(READY) ## Serve the model that the last run pushed
	$(DEBUT) serve --root "$(ROOT)" $(ARGS)

bench: $(READY) ## Measure speed, memory and quality
	$(PYTHON_VENV) -m benchmarks $(ARGS)

clean: ## Remove the environment and caches; what is in ROOT stays
	rm -rf $(VENV) $(VENV).lock $(KFP_VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# pip, not uv: it reads the settings for an index and a certificate by itself.
$(KFP_READY): $(READY) $(KFP_LOCK)
	$(PYTHON_VENV) -m venv --clear $(KFP_VENV)
	$(KFP_VENV)/bin/python -m pip install --quiet --require-hashes -r $(KFP_LOCK)
	@touch $@

$(READY): requirements.lock pyproject.toml scripts/bootstrap
	@PYTHON="$(PYTHON)" scripts/bootstrap
