PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUNS   := $(VENV)/.runs
READY  := $(VENV)/.ready

# The tests start hundreds of processes: each would compile the program anew.
unexport PYTHONDONTWRITEBYTECODE

CLIENTS := tests/clients
GENERATED := market/courses/courses_pb2.py
STORE   ?= sqlite
APART   := $(addprefix tests/market/,ordering payments notifications analytics)

.PHONY: up services demo install test test-services test-replicas check clients bench profile lock clean

up: $(RUNS) $(GENERATED)          ## run the market on http://127.0.0.1:8000, its data in ./var
	@exec $(BIN)/craton up

services: $(RUNS) $(GENERATED)    ## run it as three services behind a gateway, on http://127.0.0.1:8000
	@exec $(BIN)/craton up --topology market/topologies/three.toml

demo: $(RUNS) $(GENERATED)        ## a day in the market, told in the terminal
	@exec $(BIN)/craton demo

install: $(READY) $(GENERATED)    ## make the environment in .venv, with what development needs

define install_from
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Craton needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	@echo "Installing what $(2) needs into $(VENV); the first time takes a minute or two."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement $(1)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
endef

%_pb2.py: %.proto | $(RUNS)
	@$(BIN)/python -m grpc_tools.protoc --proto_path=. --python_out=. $<

$(RUNS): requirements.lock pyproject.toml
	$(call install_from,requirements.lock,running)

$(READY): requirements-dev.lock pyproject.toml
	$(call install_from,requirements-dev.lock,development)
	@touch $(RUNS)

test: install        ## run the tests; what needs a server that isn't there is skipped
	$(BIN)/pytest -n 6

test-services: install  ## the tests of what concerns several modules, with the market as three services
	$(BIN)/pytest -n 6 $(APART) --topology three -k "not postgres"

test-replicas: install  ## an upgrade, and deaths at every crash point, with two replicas of each service; half an hour
	CRATON_REQUIRE_SERVICES=1 $(BIN)/pytest tests/services/rolling_upgrade.py tests/services/each_crash_point.py

check: install       ## lint, types, import rules, module boundaries
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/craton check --lock --topology market/topologies/three.toml

clients: install $(CLIENTS)/venv  ## lint the API's description, and buy with three generated clients; needs Node.js 20
	cd $(CLIENTS) && npm ci --no-progress --loglevel=error
	$(BIN)/python $(CLIENTS)/run.py

$(CLIENTS)/venv: $(CLIENTS)/requirements.lock
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

bench: install       ## measure beside the peers; they get an environment of their own
	$(BIN)/python -m benchmarks.run $(BENCH)

profile: install     ## a flame graph of placing orders, in var/profile.svg
	$(BIN)/python -m benchmarks.orders_side alone place --store $(STORE) --seconds 10 --profile var/profile.svg

lock:                ## pin the newest allowed versions; needs uv
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    --all-extras --group dev pyproject.toml -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    --all-extras --group run --constraint requirements-dev.lock pyproject.toml \
	    -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    $(CLIENTS)/requirements.in -o $(CLIENTS)/requirements.lock

clean:
	rm -rf $(VENV) $(CLIENTS)/venv $(CLIENTS)/node_modules $(CLIENTS)/generated
