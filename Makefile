# The whole build of hamgr. `make help` lists the targets; CONTRIBUTING.md explains them.
#
#   MODE=debug|release|asan|cov   kind of build, under build/$(MODE)
#   V=1                           show the commands
#   CI=1                          warnings are errors
#   SEEDS=N, SEED=N               how many drawn stories (2000); one of them again
#   FUZZ_SECONDS=N                how long each parser is fuzzed (60)
#   PREFIX, DESTDIR               where `make install` puts what it installs
#   CC CFLAGS CPPFLAGS LDFLAGS LDLIBS are the user's and come last

MODES := debug release asan cov
MODE  ?= debug
SEEDS ?= 2000
SEED  ?=
ifeq ($(origin CC),default)
CC := gcc
endif
AR ?= ar
PREFIX ?= /usr

ifeq ($(filter $(MODE),$(MODES)),)
$(error MODE=$(MODE) is unknown; use one of: $(MODES))
endif

Q   := $(if $(filter 1,$(V)),,@)
SAY := $(if $(filter 1,$(V)),@:,@printf '  %-5s %s\n')

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wformat=2 -Wundef -Wvla \
        -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum $(if $(filter 1,$(CI)),-Werror)

CFLAGS.debug   := -Og -g
CFLAGS.release := -O2 -g -fstack-protector-strong
CFLAGS.asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
                  -fno-sanitize-recover=all
CFLAGS.cov     := -O0 -g --coverage
LDFLAGS.asan   := -fsanitize=address,undefined
LDFLAGS.cov    := --coverage

# What hamgr is linked with, and the Debian package to name when pkg-config does not find it.
PKGS := libpq:libpq-dev hiredis:libhiredis-dev libevent:libevent-dev libevent_openssl:libevent-dev openssl:libssl-dev \
        libconfig:libconfig-dev libprotobuf-c:libprotobuf-c-dev libsystemd:libsystemd-dev \
        jansson:libjansson-dev libnftables:libnftables-dev
PKG_NAMES  := $(foreach p,$(PKGS),$(firstword $(subst :, ,$(p))))
PKG_CFLAGS := $(shell pkg-config --cflags $(PKG_NAMES) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKG_NAMES) 2>/dev/null)

FLAGS   = -std=c17 -D_GNU_SOURCE -Ihamgr -I. -Ibuild/gen $(WARN) $(CFLAGS.$(1)) $(PKG_CFLAGS) \
          $(CPPFLAGS) $(CFLAGS)
COMPILE = $(CC) $(FLAGS)
LINK    = $(CC) $(LDFLAGS.$(1)) $(CFLAGS) -Wl,--as-needed $(LDFLAGS)
LIBS    = $(PKG_LIBS) -lpthread $(LDLIBS)
CMOCKA  = $(shell pkg-config --libs cmocka 2>/dev/null || echo -lcmocka)

export UBSAN_OPTIONS := print_stacktrace=1

# --- what there is -------------------------------------------------------------------------------
# Everything but the main()s is one library; a program takes from it what it needs.
MAINS     := hamgr/daemon/main.c hamgr/cli/main.c witness/main.c fence/main.c
PROGRAMS  := $(foreach m,hamgr/daemon:hamgrd hamgr/cli:hamgr witness:hamgr-witness fence:hamgr-fence,\
                 $(if $(wildcard $(firstword $(subst :, ,$(m)))/main.c),$(lastword $(subst :, ,$(m)))))
PROTO     := hamgr/wire/hamgr.proto
GEN       := build/gen/wire/hamgr.pb-c
LIB_SRC   := $(filter-out $(MAINS),$(sort $(wildcard hamgr/*/*.c witness/*.c fence/*.c)))
PURE_SRC  := $(sort $(wildcard hamgr/core/*.c hamgr/view/*.c fence/deadline.c))
UNIT_SRC  := $(sort $(wildcard tests/unit/test_*.c))
PG_SRC    := $(sort $(wildcard tests/pg/test_*.c))
PG_HELP   := $(filter-out $(PG_SRC),$(sort $(wildcard tests/pg/*.c)))
REDIS_SRC  := $(sort $(wildcard tests/redis/test_*.c))
REDIS_HELP := $(filter-out $(REDIS_SRC),$(sort $(wildcard tests/redis/*.c)))
SIM_SRC   := $(sort $(wildcard tests/sim/*.c))
CHECK_SRC := $(sort $(wildcard tests/sim/check*.c))
RULES_SRC := $(wildcard tests/tools/rules.c)
FUZZ      := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
C_FILES   := $(sort $(shell find hamgr witness fence tests -name '*.[ch]' 2>/dev/null))

# --- how each mode makes it: objects, library, test programs ---------------------------------------
define mode_rules
LIB_OBJ.$(1) := $(LIB_SRC:%.c=build/$(1)/obj/%.o) $(if $(wildcard $(PROTO)),build/$(1)/obj/gen/hamgr.pb-c.o)
PROGRAM.$(1) := $(PROGRAMS:%=build/$(1)/%)
SIM_OBJ.$(1) := $(SIM_SRC:%.c=build/$(1)/obj/%.o)
PG.$(1)      := $(PG_SRC:tests/pg/%.c=build/$(1)/pg/%)
REDIS.$(1)   := $(REDIS_SRC:tests/redis/%.c=build/$(1)/redis/%)
UNIT.$(1)    := $(UNIT_SRC:tests/unit/%.c=build/$(1)/unit/%)

build/$(1)/obj/gen/hamgr.pb-c.o: $(GEN).c build/$(1)/flags
	@mkdir -p $$(@D)
	$(SAY) CC $$@
	$(Q)$(CC) -std=c17 -Ibuild/gen $(CFLAGS.$(1)) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS) -w -c -o $$@ $$<

build/$(1)/obj/%.o: %.c build/$(1)/flags
	@mkdir -p $$(@D)
	$(SAY) CC $$@
	$(Q)$(call COMPILE,$(1)) -MMD -MP -c -o $$@ $$<

build/$(1)/libhamgr.a: $$(LIB_OBJ.$(1)) build/$(1)/sources
	$(SAY) AR $$@
	$(Q)rm -f $$@ && $(AR) rcs $$@ $$(LIB_OBJ.$(1))
	@# of two functions with one name the linker silently takes the first
	$(Q)! nm -g --defined-only $$@ 2>/dev/null | awk '$$$$2 == "T" { print "defined twice: " $$$$3 }' | sort | uniq -d | grep . >&2

build/$(1)/unit/%: build/$(1)/obj/tests/unit/%.o build/$(1)/libhamgr.a
	@mkdir -p $$(@D)
	$(SAY) LINK $$@
	$(Q)$(call LINK,$(1)) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $$(CMOCKA) $(LIBS)

build/$(1)/pg/%: build/$(1)/obj/tests/pg/%.o $(PG_HELP:%.c=build/$(1)/obj/%.o) build/$(1)/libhamgr.a
	@mkdir -p $$(@D)
	$(SAY) LINK $$@
	$(Q)$(call LINK,$(1)) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $$(CMOCKA) $(LIBS)

build/$(1)/redis/%: build/$(1)/obj/tests/redis/%.o $(REDIS_HELP:%.c=build/$(1)/obj/%.o) build/$(1)/libhamgr.a
	@mkdir -p $$(@D)
	$(SAY) LINK $$@
	$(Q)$(call LINK,$(1)) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $$(CMOCKA) $(LIBS)

build/$(1)/hamgrd: build/$(1)/obj/hamgr/daemon/main.o
build/$(1)/hamgr: build/$(1)/obj/hamgr/cli/main.o
build/$(1)/hamgr-witness: build/$(1)/obj/witness/main.o
build/$(1)/hamgr-fence: build/$(1)/obj/fence/main.o
build/$(1)/hamgrd build/$(1)/hamgr build/$(1)/hamgr-witness build/$(1)/hamgr-fence: build/$(1)/libhamgr.a
	$(SAY) LINK $$@
	$(Q)$(call LINK,$(1)) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $(LIBS)
$(patsubst tests/unit/%.c,build/$(1)/unit/%,$(wildcard tests/unit/test_check_*.c)): $(CHECK_SRC:%.c=build/$(1)/obj/%.o)

build/$(1)/sim: $$(SIM_OBJ.$(1)) build/$(1)/libhamgr.a build/$(1)/sources
	$(SAY) LINK $$@
	$(Q)$(call LINK,$(1)) -o $$@ $$(filter %.o %.a,$$^) $$(CMOCKA) $(LIBS)

build/$(1)/probe-client: build/$(1)/obj/tests/system/client.o build/$(1)/obj/tests/system/measure.o
build/$(1)/probe-redis: build/$(1)/obj/tests/system/redis_client.o build/$(1)/obj/tests/system/measure.o
build/$(1)/client-hiredis: build/$(1)/obj/tests/clients/hiredis.o
build/$(1)/probe-client build/$(1)/probe-redis build/$(1)/client-hiredis:
	$(SAY) LINK $$@
	$(Q)$(call LINK,$(1)) -o $$@ $$^ $(LIBS)

# Preloaded into programs of every kind, so that it is built without what belongs to one kind.
build/$(1)/faults.so: tests/system/faults.c build/$(1)/flags
	$(SAY) LINK $$@
	$(Q)$$(CC) $$(WARN) -D_GNU_SOURCE -std=c17 -O2 -fPIC -shared -o $$@ $$<

build/$(1)/witness-load: build/$(1)/obj/tests/witness/load.o build/$(1)/libhamgr.a
	$(SAY) LINK $$@
	$(Q)$(call LINK,$(1)) -o $$@ $$^ $(LIBS)

build/$(1)/sentinel-made: build/$(1)/obj/tests/clients/serve.o build/$(1)/libhamgr.a
	@mkdir -p $$(@D)
	$(SAY) LINK $$@
	$(Q)$(call LINK,$(1)) -o $$@ $$^ $(LIBS)

build/$(1)/rules: build/$(1)/obj/tests/tools/rules.o build/$(1)/libhamgr.a
build/$(1)/settings: build/$(1)/obj/tests/tools/settings.o build/$(1)/libhamgr.a
build/$(1)/rules build/$(1)/settings:
	$(SAY) LINK $$@
	$(Q)$(call LINK,$(1)) -o $$@ $$^ $(LIBS)

# Changed flags compile everything anew; an added or deleted source makes a new library.
build/$(1)/flags: FORCE
	@command -v $(firstword $(CC)) >/dev/null || \
	    { echo "make: the compiler '$(firstword $(CC))' is missing: run 'make deps' as root" >&2; exit 1; }
	@mkdir -p $$(@D)
	@echo '$(call COMPILE,$(1))' | cmp -s - $$@ || echo '$(call COMPILE,$(1))' >$$@
build/$(1)/sources: FORCE
	@mkdir -p $$(@D)
	@echo '$(LIB_SRC) $(SIM_SRC)' | cmp -s - $$@ || echo '$(LIB_SRC) $(SIM_SRC)' >$$@
endef
$(foreach mode,$(MODES),$(eval $(call mode_rules,$(mode))))

# The generated code comes before anything that may include it.
ifneq ($(wildcard $(PROTO)),)
$(GEN).c $(GEN).h &: $(PROTO)
	@mkdir -p $(@D)
	$(SAY) PROTO $@
	$(Q)protoc-c --proto_path=hamgr/wire --c_out=build/gen/wire $<
$(foreach mode,$(MODES),$(filter build/$(mode)/obj/hamgr/wire/%,$(LIB_OBJ.$(mode)))): $(GEN).h
endif

# Fuzzing needs clang and a library of its own, in which every branch is counted.
FUZZ_SECONDS ?= 60
FUZZ_SAN     := -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all
FUZZ_COMPILE  = clang -std=c17 -D_GNU_SOURCE -Ihamgr -I. -Ibuild/gen $(FUZZ_SAN) \
                -fsanitize=fuzzer-no-link,address,undefined $(PKG_CFLAGS) $(CPPFLAGS)
FUZZ_OBJ     := $(LIB_SRC:%.c=build/fuzz/obj/%.o) $(if $(wildcard $(PROTO)),build/fuzz/obj/$(GEN).o)

build/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(SAY) CC $@
	$(Q)$(FUZZ_COMPILE) -MMD -MP -c -o $@ $<
$(FUZZ_OBJ): $(if $(wildcard $(PROTO)),$(GEN).h)
build/fuzz/libhamgr.a: $(FUZZ_OBJ)
	$(SAY) AR $@
	$(Q)rm -f $@ && $(AR) rcs $@ $^
build/fuzz/fuzz_%: build/fuzz/obj/tests/fuzz/fuzz_%.o build/fuzz/libhamgr.a
	$(SAY) LINK $@
	$(Q)clang $(FUZZ_SAN) -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIBS)

.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all deps help check check-unit check-pg check-redis check-sim check-sim-mutants check-model check-asan \
        check-pure check-layers check-format check-style check-clang check-lints check-rules \
        lint format coverage fuzz rules golden check-system check-fence check-compose bench bench-witness soak campaign grow \
        demo-build demo-stop story \
        demo install clean ci FORCE

# --- targets --------------------------------------------------------------------------------------
ALL := $(PROGRAM.$(MODE)) build/$(MODE)/libhamgr.a $(UNIT.$(MODE)) $(if $(SIM_SRC),build/$(MODE)/sim) \
       $(if $(RULES_SRC),build/$(MODE)/rules) \
       build/$(MODE)/probe-client build/$(MODE)/probe-redis build/$(MODE)/client-hiredis build/$(MODE)/faults.so \
       build/$(MODE)/witness-load
all: $(ALL) ## the programs, the library and the test programs

deps: ## install what packages.txt names and Debian has not installed yet (root)
	@tests/deps.sh

help: ## this list
	@sed -n 's/^\([a-z_.-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24
	@echo; sed -n 's/^#   /    /p' $(firstword $(MAKEFILE_LIST))

check: ## every suite; as root it first installs what is missing
	@MAKE='$(MAKE)' tests/run-all.sh

check-unit: $(UNIT.$(MODE)) ## unit tests
	@rc=0; for t in $^; do $$t || rc=1; done; exit $$rc

check-pg: $(PG.$(MODE)) ## what hamgrd sees of real PostgreSQL servers, and does to them
	@rc=0; for t in $^; do $$t || rc=1; done; exit $$rc

check-redis: $(REDIS.$(MODE)) ## the same of real Redis servers
	@rc=0; for t in $^; do $$t || rc=1; done; exit $$rc

.PHONY: check-redis-old
check-redis-old: build/$(MODE)/redis/test_redis_check # of a server that hamgr must refuse
	@$<

check-sim: build/release/sim ## the simulator: told stories and SEEDS=2000 drawn ones, or SEED=N again
ifneq ($(SEED),)
	@$< --seed '$(SEED)'
else
	@rc=0; $< --stories || rc=1; $< --seeds '$(SEEDS)' || rc=1; exit $$rc
endif

# Naming $(MAKE) lends the jobs of this make to those that it starts.
check-sim-mutants: build/release/sim ## broken guards that the simulator must find
	@MAKE='$(MAKE)' tests/sim/mutants/run.sh

check-model: ## the Promela model of the register, by spin; QUICK=1 less of it, FULL=1 more
	@tests/model/run.sh

check-asan: $(UNIT.asan) build/asan/sim ## unit tests, told stories and 150 drawn ones with sanitizers
	@rc=0; for t in $(UNIT.asan); do $$t || rc=1; done; build/asan/sim --stories || rc=1; \
	    build/asan/sim --seeds 150 || rc=1; exit $$rc

check-fence: build/$(MODE)/hamgr-fence ## the helper with a real server in network namespaces; needs root
	@MODE=$(MODE) tests/fence/run.sh

# Clients of other languages come from npm's registry; where that cannot be reached, redis-py alone.
.PHONY: check-clients
check-clients: build/$(MODE)/sentinel-made ## real clients and 10,000 idle ones at the Sentinel endpoint
	@MODE='$(MODE)' tests/clients/run.sh

check-pure: $(LIB_OBJ.release) ## core and view call nothing that could block, wait or fail
	@tests/lint/pure.sh build/release/obj $(PURE_SRC)

check-layers: ## nobody includes what is not below
	@tests/lint/layers.sh

check-format: ## clang-format would change nothing
	@rc=0; for f in $(C_FILES); do clang-format --dry-run -Werror $$f 2>/dev/null || \
	    { echo "format: $$f is not as clang-format wants it: run 'make format'" >&2; rc=1; }; done; exit $$rc
	@echo "format: $(words $(C_FILES)) files are as clang-format wants them"

check-style: ## lengths of files and functions, blanks, tabs
	@tests/lint/style.sh

check-lints: ## each lint finds a fault that was planted for it
	@CC='$(CC)' tests/lint/test_lints.sh

check-clang: $(if $(wildcard $(PROTO)),$(GEN).h) ## clang has no warning either, and each header stands alone
	@clang $(call FLAGS,debug) -Werror -fsyntax-only $(filter %.c,$(C_FILES))
	@for h in $(filter %.h,$(C_FILES)); do \
	    echo "#include \"$$h\"" | clang $(call FLAGS,debug) -Werror -fsyntax-only -x c - || exit 1; done
	@echo "clang: $(words $(C_FILES)) files without a warning"

check-rules: build/$(MODE)/rules ## the printed decision table is the one that was reviewed
	@build/$(MODE)/rules | diff -u tests/golden/rules.txt - && \
	    echo "rules: as in tests/golden/rules.txt"

lint: check-pure check-layers check-format check-style check-clang check-lints ## all checks of form

format: ## let clang-format change the C files
	$(Q)clang-format -i $(C_FILES)

# PyPI's pytest may be first in PATH; Debian's is the one that packages.txt names.
SYSTEM := /usr/bin/python3 -B -m pytest -p no:cacheprovider -q
SYSTEM_NEEDS = $(PROGRAM.$(1)) $(patsubst %,build/$(1)/%,probe-client probe-redis client-hiredis faults.so witness-load)

check-system: $(call SYSTEM_NEEDS,$(MODE)) ## real servers, daemons and faults, hosts are namespaces (root); ONLY=EXPR: some
	@MODE='$(MODE)' $(SYSTEM) $(if $(ONLY),-k '$(ONLY)') tests/system

# Not in `make check`: it wants docker, and the first time minutes for the image.
check-compose: $(call SYSTEM_NEEDS,release) ## hosts that boot a real systemd, by docker (root); not in check
	@for p in dockerd docker docker-compose debootstrap; do command -v $$p >/dev/null || { echo \
	    "check-compose: $$p is missing: apt-get install docker.io docker-compose debootstrap" >&2; exit 1; }; done
	@MODE=release /usr/bin/python3 -B tests/compose/check.py

# Not in `make check`: it wants debootstrap, and the first time half an hour.
.PHONY: check-versions
check-versions: ## other Debians, with their Redis, Valkey and PostgreSQL (root); ONLY='trixie sid'; not in check
	@tests/versions/run.sh $(ONLY)

bench: $(call SYSTEM_NEEDS,release) ## what clients see of each fault, 10 times (root); ONLY=NAME, TIMES=N
	@MODE=release /usr/bin/python3 -B tests/system/bench.py $(if $(TIMES),--times '$(TIMES)') $(ONLY)

.PHONY: bench-clients
bench-clients: $(call SYSTEM_NEEDS,release) ## how long client libraries take to follow a Redis primary (root, npm); TIMES=5
	@/usr/bin/python3 -B tests/system/clients_bench.py $(if $(TIMES),--times '$(TIMES)')
	@/usr/bin/python3 -B tests/system/clients_bench.py idle

bench-witness: build/release/hamgr-witness build/release/witness-load ## a witness with 1,000 clusters: memory, CPU; CLUSTERS=N
	@build/release/witness-load --clusters '$(or $(CLUSTERS),1000)' --seconds '$(or $(SECONDS),10)'

# In pieces: FROM=101 FAULTS=100 goes on where another run ended; PLAY=17,40-42 plays those again.
CAMPAIGN_MODE := $(if $(filter file,$(origin MODE)),release,$(MODE))
campaign: $(call SYSTEM_NEEDS,$(CAMPAIGN_MODE)) ## random faults on a real cluster (root): KIND=two|three|two-lan|three-lan SEED=1 FAULTS=200
	@MODE='$(CAMPAIGN_MODE)' /usr/bin/python3 -B tests/system/campaign.py $(if $(KIND),--kind '$(KIND)') \
	    $(if $(SEED),--seed '$(SEED)') $(if $(FAULTS),--faults '$(FAULTS)') $(if $(FROM),--from '$(FROM)') \
	    $(if $(PLAY),--play '$(PLAY)') $(if $(LIST),--list)

grow: $(call SYSTEM_NEEDS,release) ## from 1 to 5 database members and back to 2, with a failover at each size (root)
	@MODE=release /usr/bin/python3 -B tests/system/grow.py $(if $(DURABILITY),--durability '$(DURABILITY)')

soak: $(call SYSTEM_NEEDS,release) ## 30 minutes of full CPU and disk load: no false failover (root)
	@MODE=release /usr/bin/python3 -B tests/system/bench.py soak $(if $(MINUTES),--minutes '$(MINUTES)')

.PHONY: overload
overload: $(call SYSTEM_NEEDS,release) ## 10 minutes of a primary that is only late: no failover (root); MINUTES=N
	@MODE=release /usr/bin/python3 -B tests/system/bench.py overload $(if $(MINUTES),--minutes '$(MINUTES)')

coverage: $(UNIT.cov) build/cov/sim ## lines of hamgr/core that tests reach; below 95 % fails
	@find build/cov -name '*.gcda' -delete
	@for t in $(UNIT.cov); do $$t >/dev/null 2>&1 || { echo "coverage: $$t failed" >&2; exit 1; }; done
	@build/cov/sim --seeds 300 >/dev/null || { echo "coverage: build/cov/sim --seeds 300 failed" >&2; exit 1; }
	@gcovr --root . --object-directory build/cov --filter 'hamgr/core/' --fail-under-line 95

# New finds stay in build/fuzz/corpus-NAME; what crashes, hangs or leaks is kept beside it.
fuzz: $(FUZZ:%=build/fuzz/fuzz_%) ## every tests/fuzz/fuzz_NAME.c for FUZZ_SECONDS, with clang's fuzzer
	@rc=0; for name in $(FUZZ); do \
	    mkdir -p build/fuzz/corpus-$$name tests/fuzz/corpus/$$name; \
	    echo "fuzz: $$name for $(FUZZ_SECONDS) s"; \
	    build/fuzz/fuzz_$$name -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 \
	        -print_final_stats=1 -artifact_prefix=build/fuzz/crash-$$name- \
	        build/fuzz/corpus-$$name tests/fuzz/corpus/$$name >build/fuzz/$$name.log 2>&1 && \
	        sed -n 's/^stat::number_of_executed_units: */fuzz: inputs tried: /p' build/fuzz/$$name.log || \
	        { rc=1; tail -40 build/fuzz/$$name.log >&2; echo "fuzz: $$name failed" >&2; }; \
	done; exit $$rc

rules: build/$(MODE)/rules ## print the decision table
	@$<

golden: build/$(MODE)/rules build/$(MODE)/settings ## print anew what is made from tables, to be reviewed
	@mkdir -p tests/golden
	@$< >tests/golden/rules.txt
	@build/$(MODE)/settings hamgr.conf >conf/hamgr.conf.example
	@build/$(MODE)/settings witness.conf >conf/witness.conf.example
	@build/$(MODE)/settings settings.md >docs/settings.md

# Starts make anew, because the compiler may come only with what is installed first.
demo: ## a cluster on this machine: the primary is killed under load; it stays to play with (root)
	@[ "$$(id -u)" = 0 ] || { echo "demo: run it as root: it makes network namespaces" >&2; exit 1; }
	@tests/deps.sh
	@$(MAKE) --no-print-directory -s -j"$$(nproc)" demo-build >/dev/null
	@[ -z "$$SUDO_UID" ] || chown -R "$$SUDO_UID:$$SUDO_GID" build
	@/usr/bin/python3 -B tests/system/demo.py

demo-build: $(call SYSTEM_NEEDS,release)

demo-stop: ## take the demo's cluster away (root)
	@/usr/bin/python3 -B tests/system/demo.py stop

story: build/release/sim ## a host is lost, told step by step by the simulator; no server is touched
	@$< --story host-lost

compile_commands.json: FORCE ## for editors and analysers
	@{ printf '['; sep=''; for f in $(filter %.c,$(C_FILES)); do \
	    printf '%s\n{ "directory": "%s", "file": "%s", "command": "%s -c %s" }' \
	        "$$sep" '$(CURDIR)' "$$f" '$(call COMPILE,$(MODE))' "$$f"; sep=','; done; printf '\n]\n'; } >$@

# hamgrd and its helpers are daemons of the system, hamgr is everybody's.
install: $(PROGRAM.$(MODE)) ## programs, units, examples, manual; PREFIX=/usr, DESTDIR=, MODE=release
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)/etc/hamgr \
	    $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/tmpfiles.d \
	    $(DESTDIR)$(PREFIX)/lib/sysusers.d $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
	    $(DESTDIR)$(PREFIX)/share/doc/hamgr
	install build/$(MODE)/hamgr $(DESTDIR)$(PREFIX)/bin
	install build/$(MODE)/hamgrd build/$(MODE)/hamgr-fence build/$(MODE)/hamgr-witness $(DESTDIR)$(PREFIX)/sbin
	install -m 644 conf/systemd/*.service $(DESTDIR)$(PREFIX)/lib/systemd/system
	for d in $(notdir $(wildcard conf/systemd/*.service.d)); do \
	    install -D -m 644 conf/systemd/$$d/hamgr.conf \
	        $(DESTDIR)$(PREFIX)/lib/systemd/system/$$d/hamgr.conf || exit 1; done
	install -m 644 conf/tmpfiles.d/*.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d
	install -m 644 conf/sysusers.d/*.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d
	install -m 644 conf/completion/hamgr $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 644 conf/*.example docs/*.md README.md $(DESTDIR)$(PREFIX)/share/doc/hamgr

ci: ## what the continuous integration runs
	@bash .ci/run

clean: ## remove everything that was built
	$(Q)rm -rf build compile_commands.json

-include $(shell find build -path build/versions -prune -o -name '*.d' -type f -print 2>/dev/null)
