# Callmood. `make demo` and `make test` set everything up by themselves: Python, make and git are enough.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
JOBS := .venv/jobs/bin/python
export PYTHON

# What a user gives reaches the recipes as variables of their environment, as it was written: neither make nor the shell
# reads anything into a $, a quote or a backtick.
GIVEN := RECORDINGS CONTACTS DATE LAYOUT OUT FROM TO MODEL ROLES ACCEPT CONTACT REASON RUN CUSTOMER FILE DRY_RUN Q \
	CALLS RUNS CORPORA CREMA_D PREVIOUS NOISE RETRAIN CONFIG TEACHER TRAINING MINUTES PORT FORMAT PERIOD BY WHAT WEEK MONTH \
	PORTS STACK AIRFLOW_DATABASE
$(foreach name,$(GIVEN),$(eval override export $(name) := $$(value $(name))))

# Every target with a line of help; none of them is a file.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' $(firstword $(MAKEFILE_LIST)))

help: ## Show this help.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make the environments from the locks (instant when nothing changed).
	@bash infra/setup.sh

demo: setup ## Run a night on sample calls: [RECORDINGS=folder] [CONTACTS=file] [DATE=YYYY-MM-DD] [LAYOUT=name|file.yaml,...] [OUT=folder].
	@$(JOBS) -m infra.demo $(if $(RECORDINGS),--recordings "$$RECORDINGS") $(if $(CONTACTS),--contacts "$$CONTACTS") \
		$(if $(DATE),--date "$$DATE") $(if $(LAYOUT),--layout "$$LAYOUT") $(if $(OUT),--out "$$OUT")

# The local stack (docs/deployment.md).
RUN_STACK = $(JOBS) -m infra.stack $(if $(STACK),--folder "$$STACK")

up: setup ## Start Airflow, an S3 server and a Spark cluster here, for good: [PORTS=airflow=8090,s3=9100] [STACK=folder] [AIRFLOW_DATABASE=address].
	@bash infra/setup.sh s3-server
	@$(RUN_STACK) up $(if $(PORTS),--ports "$$PORTS")

down: setup ## End everything that make up started: [STACK=folder].
	@$(RUN_STACK) down

status: setup ## Show what runs of the local stack and how far the night is: [STACK=folder].
	@$(RUN_STACK) status

sample-day: setup ## Upload the demo's sample calls to the local stack as DATE=YYYY-MM-DD: [STACK=folder].
	@$(RUN_STACK) sample-day --date "$$DATE"

trigger: setup ## Let the local stack's scheduler run the night of DATE=YYYY-MM-DD now: [STACK=folder].
	@$(RUN_STACK) trigger --date "$$DATE"

NIGHT = $(JOBS) -m infra.night $(if $(MODEL),--model "$$MODEL") $(if $(ROLES),--roles "$$ROLES") $(if $(ACCEPT),--accept "$$ACCEPT")

run: setup ## Run the night of DATE=YYYY-MM-DD against the configured S3 and warehouse; [MODEL=folder] [ROLES=customer,agent] [ACCEPT=thin]; then the days before that are due again.
	@$(NIGHT) --look-back --from "$$DATE" --to "$$DATE"

backfill: setup ## Run the nights of the call dates FROM=YYYY-MM-DD to TO=YYYY-MM-DD, both included.
	@$(NIGHT) --from "$$FROM" --to "$$TO"

enrich: setup ## Join late records, events and surveys to the published days FROM=YYYY-MM-DD to TO=YYYY-MM-DD, without their audio.
	@$(JOBS) -m infra.night --enrich --from "$$FROM" --to "$$TO"

release: setup ## Put quarantined recordings back, for the next night to try again: CONTACT=id | REASON=code.
	@$(JOBS) -m jobs.release $(if $(CONTACT),--contact "$$CONTACT") $(if $(REASON),--reason "$$REASON")

republish: setup ## Undo: publish the earlier run RUN=id of a day once more, from what it staged.
	@$(JOBS) -m jobs.republish --run-id "$$RUN"

report: setup ## Write the report on what is published of WEEK=2026-W47 or MONTH=2026-11, in both editions.
	@$(JOBS) -m jobs.render_report $(if $(WEEK),--week "$$WEEK") $(if $(MONTH),--month "$$MONTH")

alerts: setup ## Apply the rules to the published day DATE=YYYY-MM-DD, and tell people what was not told yet; DRY_RUN=1: only say what they raise.
	@$(JOBS) -m jobs.alerts --call-date "$$DATE" $(if $(filter 1,$(DRY_RUN)),--dry-run,\
		&& .venv/airflow/bin/python dags/notify.py --call-date "$$DATE")

heartbeat: setup ## Alarm, without Airflow, if yesterday is not published by BY=06:00; for cron (docs/alerts.md).
	@$(JOBS) -m infra.heartbeat $(if $(BY),--by "$$BY")

PUBLISHED = $(if $(OUT),--warehouse "$$OUT/warehouse") $(if $(FORMAT),--format "$$FORMAT")
DAYS = $(if $(FROM),--from "$$FROM") $(if $(TO),--to "$$TO")

sql: setup ## Query the published tables with DuckDB: Q="select ...", Q=@name (docs/queries.md), or a prompt without; [FORMAT=csv|json]; OUT=folder for a demo's.
	@$(JOBS) -m reporting.sql $(PUBLISHED) $(if $(Q),"$$Q")

figures: setup ## Print satisfaction with its uncertainty: [PERIOD=day|week|month] [BY=queue|team|agent] [FROM=day] [TO=day] [MODEL=folder] [FORMAT=csv|json] [OUT=folder].
	@$(JOBS) -m reporting.analysis figures $(PUBLISHED) $(DAYS) $(if $(PERIOD),--period "$$PERIOD") $(if $(BY),--by "$$BY") \
		$(if $(MODEL),--model "$$MODEL")

why: setup ## Print why satisfaction is as it is: [WHAT=week|price|recovery|silent] [FROM=day] [TO=day] [BY=queue|team] [FORMAT=csv|json] [OUT=folder].
	@$(JOBS) -m reporting.analysis "$${WHAT:-week}" $(PUBLISHED) $(DAYS) $(if $(BY),--by "$$BY")

calibrate: setup ## Fit survey scores to calls, and keep the fit if it says more than the mean: [FROM=day] [TO=day].
	@$(JOBS) -m jobs.calibrate_satisfaction $(DAYS)

win-back: setup ## Print the customers to win back, of the last 28 days: [FROM=day] [TO=day] [FORMAT=csv|json] [OUT=folder].
	@$(JOBS) -m reporting.win_back $(PUBLISHED) $(DAYS)

dashboard: setup ## Look at the published tables, hear and judge calls in a browser: [OUT=folder of a demo] [RECORDINGS=folder] [MODEL=folder] [PORT=8501].
	@$(JOBS) -m reporting.dashboard $(if $(OUT),--out "$$OUT") $(if $(RECORDINGS),--recordings "$$RECORDINGS") \
		$(if $(MODEL),--model "$$MODEL") $(if $(PORT),--port "$$PORT")

erase: setup ## Erase everything on CONTACT=id, CUSTOMER=key or those in FILE=path, with a certificate; RECORDINGS=1: the recordings, too.
	@$(JOBS) -m jobs.erase $(if $(CONTACT),--contact "$$CONTACT") $(if $(CUSTOMER),--customer "$$CUSTOMER") \
		$(if $(FILE),--file "$$FILE") $(if $(filter 1,$(RECORDINGS)),--recordings)

person: setup ## Print everything that is held on CUSTOMER=key, as JSON and in plain words.
	@$(JOBS) -m jobs.person --customer "$$CUSTOMER"

retention: setup ## Delete what is past its lifetime (docs/privacy.md); DRY_RUN=1: only say what would go.
	@$(JOBS) -m jobs.retention $(if $(filter 1,$(DRY_RUN)),--dry-run)

model-report: ## Write docs/model from the runs in RUNS=folder, on CORPORA=folder: [NOISE=folder] [RECORDINGS=folder] [MODEL=folder] [PREVIOUS=folder] [OUT=folder] [INT8=1] [RETRAIN=1 [CONFIG=file] [TEACHER=file]]; TRAINING=python of training.
	@"$${TRAINING:-.venv/training/bin/python}" -m reporting.model_report --runs "$$RUNS" --corpora "$$CORPORA" \
		$(if $(NOISE),--noise "$$NOISE") $(if $(RECORDINGS),--recordings "$$RECORDINGS") \
		$(if $(MODEL),--shipped "$$MODEL") $(if $(PREVIOUS),--previous "$$PREVIOUS") $(if $(OUT),--out "$$OUT") $(if $(INT8),--int8) \
		$(if $(RETRAIN),--retrain "$${CONFIG:-ser_model/configs/research.yaml}") $(if $(TEACHER),--teacher "$$TEACHER")

OPEN = ser_model/configs/open$(if $(CREMA_D),-cremad).yaml
OPEN_CORPORA = --corpus emodb="$$CORPORA/emodb" $(if $(CREMA_D),--corpus cremad="$$CREMA_D")
LEARN = $(if $(NOISE),--noise "$$NOISE") --teacher "$$TEACHER" --config $(OPEN) $(OPEN_CORPORA)

train-open: ## Train the model for commercial use on EmoDB in CORPORA=folder [and CREMA_D=folder]: TEACHER=file RUNS=folder OUT=folder [NOISE=folder]; TRAINING=python of training.
	@python="$${TRAINING:-.venv/training/bin/python}" && \
		"$$python" -m ser_model crossvalidate --runs "$$RUNS" --seeds 1 $(LEARN) && \
		"$$python" -m ser_model train --run "$$RUNS/all" $(LEARN) && \
		"$$python" -m ser_model export --run "$$RUNS/all" --crossvalidation "$$RUNS" --model "$$OUT" $(OPEN_CORPORA)

lint: setup ## Check style and types.
	@.venv/jobs/bin/ruff check . && .venv/jobs/bin/ruff format --check . && .venv/jobs/bin/mypy && \
		MYPYPATH=dags .venv/jobs/bin/mypy --explicit-package-bases dags/*.py

test: lint ## Check style and types and run every test that needs no more than make setup brings.
	@.venv/airflow/bin/python -m pytest tests/dags -m airflow -p no:cacheprovider
	@$(JOBS) -m pytest tests --ignore tests/dags --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

chaos: setup ## Inject every fault: killed processes, poisoned recordings, races, damage; print a table of what came of it.
	@$(JOBS) -m tests.chaos

fuzz: setup ## Give random bytes to all that reads what comes from outside: [MINUTES=60].
	@$(JOBS) -m tests.fuzz "$${MINUTES:-60}"

soak: setup ## Run a night of many short calls, 2% of them bad, and watch memory and outcomes: [RECORDINGS=500] [CALLS=folder of WAV calls].
	@$(JOBS) -m tests.soak "$${RECORDINGS:-500}" $(if $(CALLS),--calls "$$CALLS")

bench: setup ## Measure speed and memory against other ways and write docs/benchmarks: [CALLS=folder of WAV calls] [QUICK=1].
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(JOBS) -m tests.benchmarks $(if $(CALLS),--calls "$$CALLS") $(if $(QUICK),--quick)

docs: setup ## Write the pages of docs/ that are made from the code (formats.md tries every format: 40 s).
	@$(JOBS) -m schemas.reference > docs/tables.md
	@$(JOBS) -m schemas.reasons > docs/reason-codes.md
	@$(JOBS) -m jobs.settings > docs/configuration.md
	@$(JOBS) -m reporting.ready > docs/queries.md
	@$(JOBS) -m tests.format_table > docs/formats.md
	@$(JOBS) -m infra.aws.costs > docs/costs.md
	@$(JOBS) -m infra.aws.tables > infra/aws/tables.json

package: setup ## Make the jobs and their environment as one archive that Spark takes, in OUT=folder (dist).
	@$(JOBS) -m infra.package "$${OUT:-dist}"

shadow: setup ## Score the published day DATE=YYYY-MM-DD with another model, MODEL=folder, publish nothing, and say what would change: [FORMAT=csv|json].
	@$(JOBS) -m infra.shadow --call-date "$$DATE" --model "$$MODEL" $(if $(FORMAT),--format "$$FORMAT")

sbom: setup ## Write a bill of materials (CycloneDX) of every locked environment to sbom/.
	@$(JOBS) -m infra.sbom sbom

audit: setup ## Ask a database of known vulnerabilities (OSV) about every locked package (needs a network).
	@$(JOBS) -m infra.audit

lock: setup ## Lock every environment anew (needs a package registry).
	@bash infra/lock.sh

clean: ## Remove the environments and the demo's files.
	rm -rf .venv demo .airflow .mypy_cache .ruff_cache .pytest_cache
