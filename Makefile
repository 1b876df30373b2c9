# Berth. `make help` lists the targets; README.md says what they are for.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# One set of flags for everything: Kubernetes compiles once and stays in the
# build cache. cgo is off, so that what is built on a newer machine also runs on
# the nodes of the test bed; only the race detector needs it.
export GOFLAGS := -trimpath -buildvcs=false
export CGO_ENABLED := 0
export GOTOOLCHAIN := local

BIN := _out/bin
K8S := v1.37.2
VERSION_FLAGS := -X k8s.io/component-base/version.gitVersion=$(K8S) -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37
PROGRAMS := lvm-provisioner scheduler-plugin galera-init
# What Berth's own code and its tests need from the distribution.
DEPS := containernetworking-plugins debian-archive-keyring e2fsprogs galera-4 gcc iproute2 kmod libc6-dev \
	lvm2 mariadb-backup mariadb-plugin-provider-bzip2 mariadb-plugin-provider-lz4 mariadb-plugin-provider-lzma mariadb-plugin-provider-lzo \
	mariadb-plugin-provider-snappy mariadb-server mmdebstrap procps rsync socat thin-provisioning-tools user-mode-linux xfsprogs
# Packages that link kube-scheduler (minutes to compile once more for the race
# detector) or need what bed-build makes. All others are fast.
SLOW := ./cmd/scheduler-plugin/... ./pkg/plugin/... ./test/bench/homecoming/... ./test/bench/scheduler/... ./test/scheduling/... ./test/testbed/... ./test/corpus/... ./test/loopback/... ./test/chaos/... ./test/wreck/... ./test/e2e/... ./test/explore/... ./test/provisioning/...
FAST = $(shell go list ./... | grep -vE '/(cmd/scheduler-plugin|pkg/plugin|test/bench/homecoming|test/bench/scheduler|test/scheduling|test/chaos|test/corpus|test/e2e|test/explore|test/loopback|test/provisioning|test/testbed|test/wreck)(/|$$)')

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## install what the test bed and the tests need (Debian packages; needs root)
	@missing=; for p in $(DEPS); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
		echo "installing:$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

.PHONY: build
build: ## build Berth's programs and the test bed's into _out/bin
	@mkdir -p $(BIN)
	go build -ldflags '-s -w $(VERSION_FLAGS)' -o $(BIN)/ $(PROGRAMS:%=./cmd/%) ./test/testbed/cmd/... ./test/drill/cmd/drill

.PHONY: control-plane
control-plane: ## build etcd and Kubernetes from their Go modules into _out/bin
	@mkdir -p $(BIN)
	cd test/testbed/tools && go build -ldflags '-s -w $(VERSION_FLAGS)' -o ../../../$(BIN)/etcd go.etcd.io/etcd/server/v3
	cd test/testbed/tools && go build -ldflags '-s -w $(VERSION_FLAGS)' -o ../../../$(BIN)/ \
		$(addprefix k8s.io/kubernetes/cmd/,kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet)

.PHONY: bed-build
bed-build: deps build control-plane ## all that a test bed needs: binaries, root file system, images
	$(BIN)/testbed build

.PHONY: demo
demo: bed-build ## the drill on real parts: three disasters, and what came of them
	$(BIN)/drill

.PHONY: drill-runs
drill-runs: bed-build ## the first disaster N times in a row (N=10)
	$(BIN)/drill --runs $(or $(N),10)

.PHONY: chaos
chaos: deps control-plane ## kill members at random moments, N rounds (N=25), from seed SEED (0): rows lost, double bootstraps, seconds
	@mkdir -p $(BIN)
	go build -o $(BIN)/chaos ./test/chaos/cmd/chaos
	$(BIN)/chaos --lanes 2 --rounds $(or $(N),25) --seed $(or $(SEED),0)

.PHONY: race-rounds
race-rounds: build control-plane ## 100 re-created pods race the PV controller, N rounds (N=50): how many get a wrong home; from vgextend to the next member bound
	RACE_ROUNDS=$(or $(N),50) EXTEND_ROUNDS=9 FIGURES=$(CURDIR)/_out go test -count 1 -v -timeout 30m -run 'TestRace|TestTwentyClaims' ./test/scheduling

.PHONY: bench-scheduler
bench-scheduler: ## scheduling cycles of stock kube-scheduler and ours, side by side at 100, 1,000 and 5,000 nodes, and in an API storm; fails when a goal is missed
	@mkdir -p $(BIN)
	go build -o $(BIN)/bench-scheduler ./test/bench/scheduler
	$(BIN)/bench-scheduler

.PHONY: bench-scheduler-e2e
bench-scheduler-e2e: build control-plane ## 500 re-created Galera clusters against a real API server: who comes home, stock and ours
	go build -o $(BIN)/bench-scheduler-e2e ./test/bench/homecoming
	$(BIN)/bench-scheduler-e2e

CORPUS := go run ./test/corpus/cmd/corpus

.PHONY: corpus
corpus: deps ## data directories of real servers in every format, clean and killed, into _out/corpus
	$(CORPUS) make

.PHONY: crash-runs
crash-runs: deps ## kill N servers under load (N=200): no false alarm, and the server's own position
	$(CORPUS) crash-runs --runs $(or $(N),200)

.PHONY: corruption-table
corruption-table: deps ## every kind of damage: what validate, innochecksum, --wsrep-recover and a server say
	$(CORPUS) corruption-table --docs docs/corruption-table.md

.PHONY: bit-flips
bit-flips: deps ## N single bits turned over in used pages of every format (N=10000): how many are found
	$(CORPUS) bit-flips --flips $(or $(N),10000)

.PHONY: bench-position
bench-position: deps ## the position after kill -9, natively and by mariadbd --wsrep-recover, in turn on the same directories
	@mkdir -p $(BIN)
	go build -o $(BIN)/bench-position ./test/bench/recovery/cmd/bench-position
	$(BIN)/bench-position

.PHONY: bench-validate
bench-validate: deps ## galera-init validate beside innochecksum, dd and the server's own recovery, warm and cold (needs root)
	@mkdir -p $(BIN)
	go build -ldflags '-s -w $(VERSION_FLAGS)' -o $(BIN)/ ./cmd/galera-init
	go build -o $(BIN)/bench-validate ./test/bench/validate
	$(BIN)/bench-validate

.PHONY: bench-volumes
bench-volumes: bed-build ## 3, 100 and 1,000 volumes found again after the API lost all objects, and an idle agent; claims on the test bed beside bare lvcreate and mkfs (needs root)
	go build -o $(BIN)/bench-volumes ./test/bench/volumes
	$(BIN)/bench-volumes

.PHONY: outages
outages: bed-build ## the test bed's long outages: nodes away, a partition, a second power cut, damage, scaling
	go test ./test/e2e -tags outages -v -timeout 90m -run 'TestDrill/install|TestOverride|TestNode|TestMinority|TestSecondPower|TestDamaged|TestScale'

.PHONY: volumes-bed
volumes-bed: bed-build ## volumes on the real device-mapper of a test bed of one node: layouts, wiping, devices that fail, a lost disk; directories without lvm
	go test ./test/e2e -count 1 -tags outages -v -timeout 60m -run TestVolume -args -one-node

.PHONY: test
test: bed-build ## everything: lint, unit, race, real LVM, real servers, end to end on the test bed
	go vet ./...
	CGO_ENABLED=1 go test -race -timeout 30m $(FAST)
	go test -run TestRandomSequences ./pkg/provisioner
	go test -tags controlplane -run ControlPlane ./cmd/lvm-provisioner ./pkg/provisioner ./pkg/galeracluster
	$(MAKE) fuzz FUZZTIME=1000x
	$(MAKE) explore EXPLORE=90
	$(MAKE) chaos
	go test -p 1 -timeout 75m $(SLOW)

.PHONY: check
check: ## the fast part of the tests: lint, unit, race
	@unformatted=$$(gofmt -l cmd pkg test); [ -z "$$unformatted" ] || { echo "not formatted: $$unformatted"; exit 1; }
	go vet $(FAST)
	CGO_ENABLED=1 go test -race -timeout 30m $(FAST)

.PHONY: explore
explore: ## the decision and the grants in every order of faults (EXPLORE=150 seconds, MORE=0: how often more each fault)
	go run ./test/explore/cmd/explore --seconds $(or $(EXPLORE),150) --more $(or $(MORE),0)

.PHONY: volumes-explore
volumes-explore: ## N random sequences (N=20000) of everything that happens to volumes, from seed SEED (1), against a model
	SEQUENCES=$(or $(N),20000) SEED=$(or $(SEED),1) go test -count 1 -v -timeout 120m -run TestRandomSequences ./pkg/provisioner

.PHONY: volumes-kill
volumes-kill: deps control-plane ## kill the real agent, or its lvm, N times (N=200) from seed SEED (1), on real lvm and a real API server
	KILLS=$(or $(N),200) SEED=$(or $(SEED),1) go test -count 1 -v -timeout 60m -run TestKilled ./test/provisioning

.PHONY: fuzz
fuzz: ## fuzz every parser for a moment each (FUZZTIME=2s; a count as 1000x has no deadline to miss)
	@for dir in $$(grep -rl '^func Fuzz' pkg --include='*_test.go' | xargs -n1 dirname | sort -u); do \
		for name in $$(grep -ho '^func Fuzz[A-Za-z]*' $$dir/*_test.go | cut -c6-); do \
			go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(or $(FUZZTIME),2s) ./$$dir || exit 1; \
		done; \
	done

.PHONY: clean
clean: ## end the test beds and remove everything that was built
	@for bed in _out/bed _out/demo-bed _out/e2e-bed _out/bench-bed; do [ ! -e $$bed ] || $(BIN)/testbed --dir $$bed down; done
	rm -rf _out
