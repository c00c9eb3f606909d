# All commands for developers and operators; `make` without arguments lists them.
# Needs Python 3.11 or newer, make and coreutils; uv is taken from PATH or installed by pip into the bootstrap directory.

UV_VERSION := 0.13.9
BOOTSTRAP := .keyferry/bootstrap
UV := $(or $(shell uv --version >/dev/null 2>&1 && command -v uv),$(BOOTSTRAP)/bin/uv)
PYTHON := $(or $(UV_PROJECT_ENVIRONMENT),.venv)/bin/python
RUN := $(UV) run --frozen
# Processes that share the tests out among them; the first alone starts whole systems (tests/support/worker_distribution.py).
TEST_WORKERS := 2

export UV_PYTHON_DOWNLOADS := never
# Without cached bytecode each of the twelve processes of a system, and each command, would spend a second on compiling.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help env up down status console page check check-page test test-ui test-observe test-containers test-chart screenshots \
	mutants fuzz test-shuffled test-long verify-live bench examples schemas

help: ## Show this list
	@while IFS= read -r line; do case "$$line" in [a-z]*:*"## "*) \
		printf '  make %-13s %s\n' "$${line%%:*}" "$${line##*"## "}";; esac; done < $(firstword $(MAKEFILE_LIST))

define sync
@$(UV) sync --frozen $(1) || { echo "Trying again with the certificates that this system trusts"; \
	UV_SYSTEM_CERTS=1 $(UV) sync --frozen $(1); }
endef

env: $(UV) ## Install exactly the versions in uv.lock into .venv
	$(call sync)

# Development dependencies are neither installed nor removed here.
up: $(UV) ## Start everything on this machine, without containers; Ctrl-C stops it
	$(call sync,--inexact --no-group dev --no-group ui)
	@exec $(PYTHON) -m deploy.embedded up

down: ## Stop what `make up` started
	@if [ -x $(PYTHON) ]; then exec $(PYTHON) -m deploy.embedded down; else echo "nothing is running: there is no $(PYTHON)"; fi

status: ## Show the processes that `make up` started
	@if [ -x $(PYTHON) ]; then exec $(PYTHON) -m deploy.embedded status; else echo "nothing is running: there is no $(PYTHON)"; fi

console: ## Print a link that signs your browser in at the console
	@if [ -x $(PYTHON) ]; then exec $(PYTHON) -m deploy.embedded console; else echo "nothing is running: there is no $(PYTHON)"; fi

page: $(UV) ## Build the console's page, unless it is built of the present sources
	$(call sync,--inexact --no-group dev --no-group ui)
	@$(PYTHON) -m deploy.console_page build

check-page: $(UV) ## Types, style, format and unit tests of the console's page
	$(call sync,--inexact --no-group dev --no-group ui)
	@$(PYTHON) -m deploy.console_page check

check: env ## Format, lint, types, import rules, house rules, schemas, lock
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) pytest -q tests/unit/test_house_rules.py
	$(RUN) python -m keyferry.contracts.render --check
	$(RUN) python -m services.console.openapi --check
	$(RUN) python -m deploy.helm.render --check
	$(UV) lock --check
	$(PYTHON) -m deploy.console_page check

test: env ## Run the tests, real servers included
	$(RUN) pytest -n $(TEST_WORKERS) -m "not long"

test-ui: env ## Test the console's page in Chromium, with axe and Lighthouse; installs Chromium on Debian as root
	@$(PYTHON) -m tests.ui.chromium
	@$(PYTHON) -m deploy.console_page build
	$(RUN) pytest tests/ui -m "not long"

test-observe: env ## Test alerts and rules with Prometheus's own programs; unpacks Debian's where there are none
	@$(PYTHON) -m tests.observe.prometheus_programs
	$(RUN) pytest tests/observe -m "not long"

# Helm's library and Kubernetes' schemas are installed for this alone.
test-chart: $(UV) ## Render the Helm chart and compare it with Kubernetes' schemas, the services and their secrets
	$(call sync,--inexact --group chart)
	$(RUN) --group chart pytest tests/chart

# Docker Compose is installed for this alone; the engine and debootstrap are Debian's, and images are built without a registry of images.
test-containers: $(UV) ## Build the images and test the whole system in containers; as root on Debian, installs what is missing
	$(call sync,--inexact --group containers)
	$(RUN) --group containers pytest tests/containers --timeout 600 -o timeout_func_only=true

screenshots: env ## Take the pictures in docs/images anew
	@$(PYTHON) -m tests.ui.chromium
	@$(PYTHON) -m tests.ui.screenshots

# mutmut is installed for this alone. Not part of `make test`: it takes minutes, and asks about the tests, not the product.
mutants: $(UV) ## Change the rules of money, keys and endings, one expression at a time: a test must fail
	$(call sync,--group mutation)
	$(RUN) --group mutation python -m tests.mutation

# atheris is installed for this alone. The short version, without it, is in the unit tests.
fuzz: $(UV) ## Fuzz the parsers of what strangers send, guided by coverage, for ten minutes
	$(call sync,--group fuzz)
	$(RUN) --group fuzz python -m tests.fuzz

test-shuffled: env ## Run the unit tests in a random order and with random seeds; pytest prints the one that repeats it
	$(RUN) pytest -p randomly -n $(TEST_WORKERS) tests/unit

# Real keys are needed, and a fraction of a cent for each provider; not part of any other target.
verify-live: env ## Verify the providers whose keys are in the environment; PROVIDERS="openai mistral" for some of them
	@$(PYTHON) -m tests.live $(PROVIDERS)

test-long: env ## Run all tests with the full counts of the property, chaos and claim tests
	$(RUN) pytest

bench: env ## Measure latency, rates and memory, compared with a direct call and a bare spike
	$(RUN) python -m tests.bench

examples: env ## Run the examples against a system started with `KEYFERRY_EGRESS_ALLOW=127.0.0.0/8 make up`
	@for example in examples/*; do echo "--- $$example"; \
		case "$$example" in *.sh) sh "$$example";; *.py) $(PYTHON) "$$example";; esac || exit 1; done

schemas: env ## Render schemas, AsyncAPI and tables from the topology, and OpenAPI from the routes
	$(RUN) python -m keyferry.contracts.render
	$(RUN) python -m services.console.openapi
	$(RUN) python -m deploy.helm.render

$(BOOTSTRAP)/bin/uv:
	@echo "No uv on PATH: installing uv $(UV_VERSION) into $(BOOTSTRAP)"
	@python3 -m venv $(BOOTSTRAP) \
		&& $(BOOTSTRAP)/bin/python -m pip install --disable-pip-version-check --quiet "uv==$(UV_VERSION)" \
		|| { rm -rf $(BOOTSTRAP); \
			echo "uv could not be installed. Install uv yourself, or Python's venv module (package python3-venv" \
				"on Debian) and check that pip reaches its package index; then run make again" >&2; exit 1; }
