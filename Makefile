# Assay.  `make help` lists the targets.  Everything built lands under $(BUILD).
.DEFAULT_GOAL := all

ifeq ($(origin CC),default)
CC       := gcc
endif
SAN      ?=
BUILD    ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
comma    := ,
OPT      ?= -O2
PREFIX   ?= /usr/local
VERSION  := 0.1

# -fno-strict-aliasing is not needed and not set; asserts stay on, so that what is measured is what is tested.
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -g $(OPT) -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
              -Wpointer-arith -Wno-missing-field-initializers -fno-omit-frame-pointer -msse4.2 -I. -I$(BUILD) $(CFLAGS) \
              $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all)
ALL_LDFLAGS := $(LDFLAGS) $(if $(SAN),-fsanitize=$(SAN)) -Wl,--dynamic-list=engines/plugin.symbols
LDLIBS   := -ljansson -lxxhash -llz4 -lpthread -ldl -lm

# Optional: without it, what wants many reads in flight uses threads (calibrate) or advice (lsm).
ifneq ($(shell pkg-config --exists liburing 2>/dev/null && echo yes),)
ALL_CFLAGS += -DASSAY_LIBURING
LDLIBS     += -luring
endif

# Peers: engines of others.  One row each in peers.mk; one whose header is missing leaves NAME.missing, which the program reads.
#   $(call peer,ENGINE,SOURCE,HEADER,LIBRARIES AND FLAGS,PACKAGE)
define peer
PEER_SRC      += engines/plugins/$(2).c
PEER_PACKAGES += $(5)
$(if $(wildcard /usr/include/$(3)),PEERS_BUILT,PEERS_MISSING) += $(BUILD)/plugins/$(1)
$(BUILD)/plugins/$(1).so: PEER_LIBS := $(4)
$(BUILD)/plugins/$(1).so: engines/plugins/$(2).c
$(BUILD)/plugins/$(1).missing: PACKAGE := $(5)
endef
include engines/plugins/peers.mk

BASE_SRC := $(wildcard common/*.c engines/base/*.c)
LIB_SRC  := $(sort $(BASE_SRC) $(filter-out engines/plugins/%,$(wildcard engines/*.c engines/*/*.c)) \
                   $(wildcard workloads/*.c harness/*.c crashtest/*.c results/*.c plot/*.c))
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o)
# A plug-in brings its own hidden copy of the base; only fail_set and fail_text come from the program.
PIC_OBJ  := $(patsubst %.c,$(BUILD)/pic/%.o,$(filter-out common/fail.c,$(BASE_SRC)))
PLUGINS  := $(patsubst engines/plugins/%.c,$(BUILD)/plugins/%.so,$(filter-out $(PEER_SRC),$(wildcard engines/plugins/*.c)))
PRELOADS := $(patsubst crashtest/preload/%.c,$(BUILD)/libassay-%.so,$(wildcard crashtest/preload/*.c)) \
            $(patsubst harness/preload/%.c,$(BUILD)/libassay-%.so,$(wildcard harness/preload/*.c)) \
            $(BUILD)/libassay-recorder.so
PLANTED  := $(patsubst crashtest/planted/%.patch,$(BUILD)/planted/%.so,$(wildcard crashtest/planted/*.patch))
TESTS    := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/t_*.c))
TEST_SO  := $(patsubst tests/plugins/%.c,$(BUILD)/tests/plugins/%.so,$(wildcard tests/plugins/*.c))
FUZZES   := $(patsubst tests/%.c,%,$(wildcard tests/fuzz_*.c))
# For a make inside this one: all cores, unless the outer make already hands out jobs.
JOBS      = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))
SUBMAKE   = $(MAKE) --no-print-directory $(JOBS)

## build the program, its plug-ins and its preloaded libraries
all: $(BUILD)/assay $(PLUGINS) $(PEERS_BUILT:=.so) $(PEERS_MISSING:=.missing) $(PRELOADS)

$(V).SILENT:

$(BUILD)/assay: $(BUILD)/assay.o $(BUILD)/libassay.a engines/plugin.symbols
	echo "  LD    $@"
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< -Wl,--whole-archive $(BUILD)/libassay.a -Wl,--no-whole-archive $(LDLIBS)

$(BUILD)/libassay.a: $(LIB_OBJ)
	rm -f $@ && ar rcs $@ $^

$(BUILD)/libplugin.a: $(PIC_OBJ)
	rm -f $@ && ar rcs $@ $^

# Sums of records are rounds of AES.
$(BUILD)/engines/bitcask/%.o $(BUILD)/tests/t_bitcask $(BUILD)/planted/bitcask-%.so: private ALL_CFLAGS += -maes

$(BUILD)/%.o: %.c $(BUILD)/flags
	echo "  CC    $<"
	mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/pic/%.o: %.c $(BUILD)/flags
	mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fPIC -fvisibility=hidden -MMD -MP -c -o $@ $<

$(PLUGINS): $(BUILD)/plugins/%.so: engines/plugins/%.c $(BUILD)/libplugin.a
	echo "  SO    $@"
	mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fPIC -fvisibility=hidden -shared -Wl,-Bsymbolic -Wl,--exclude-libs,ALL -MMD -MP -o $@ $< $(BUILD)/libplugin.a $(LDLIBS)

$(PEERS_BUILT:=.so): $(BUILD)/libplugin.a
	echo "  SO    $@"
	mkdir -p $(@D)
	rm -f $(@:.so=.missing)
	$(CC) $(ALL_CFLAGS) -DPEER='"$(basename $(@F))"' -fPIC -fvisibility=hidden -shared -Wl,-Bsymbolic -Wl,--exclude-libs,ALL -MMD -MP -o $@ \
	    $(filter %.c,$^) $(BUILD)/libplugin.a $(PEER_LIBS) $(LDLIBS)

$(PEERS_MISSING:=.missing):
	mkdir -p $(@D)
	rm -f $(@:.missing=.so)
	echo $(PACKAGE) > $@

$(BUILD)/libassay-%.so: crashtest/preload/%.c $(BUILD)/flags
	echo "  SO    $@"
	$(CC) $(ALL_CFLAGS) -fPIC -fvisibility=hidden -shared -MMD -MP -o $@ $< -ldl -lpthread

# Never sanitized: it enters the kernel by itself, and must be loadable before everything else.
$(BUILD)/libassay-recorder.so: $(wildcard crashtest/preload/recorder/*.c crashtest/preload/recorder/*.h) \
                               crashtest/recorder.h crashtest/trace.h $(BUILD)/flags
	echo "  SO    $@"
	$(CC) $(filter-out -fsanitize=% -fno-sanitize-recover=%,$(ALL_CFLAGS)) -fPIC -fvisibility=hidden -ftls-model=initial-exec \
	    -shared -o $@ $(filter %.c,$^) -ldl -lpthread

$(BUILD)/libassay-%.so: harness/preload/%.c $(BUILD)/flags
	echo "  SO    $@"
	$(CC) $(ALL_CFLAGS) -fPIC -fvisibility=hidden -shared -MMD -MP -o $@ $< -ldl -lpthread

# A bug planted on purpose: a patched copy of an engine, to prove that the crash tester sees it.
$(BUILD)/planted/%.so: crashtest/planted/%.patch crashtest/planted/build.sh crashtest/planted/mutant.c \
                       $(BUILD)/libplugin.a $(wildcard engines/*/*.c engines/*/*.h)
	echo "  BUG   $@"
	crashtest/planted/build.sh $* $(BUILD) $(CC) $(ALL_CFLAGS) -- $(BUILD)/libplugin.a $(LDLIBS)

## crash and measure the engines, and draw report/index.html (about 5 minutes; ENGINES=a,b ROUNDS=n DIR=folder)
bench: deps
	$(SUBMAKE) all
	harness/suite.sh $(BUILD) report

## crash and measure all engines, those of others too, and draw report-peers/ (an hour or so; CRASH_SECONDS=n; goes on where it was left)
bench-peers: peers
	harness/suite.sh -p $(BUILD) report-peers

## our merge tree beside RocksDB and LevelDB: fill, overwrite, gets, missing keys, scans (ROUNDS=n RECORDS="1M 10M" ENGINES=a,b DIR=folder)
bench-lsm: peers
	harness/lsm.sh $(BUILD)

## 20 GB of overwrites in a key space of 2 GB within 512 MB of memory: figures over time in report-steady/ (some minutes an engine; ENGINES=a,b)
bench-steady: all
	mkdir -p $(BUILD)/steady
	$(BUILD)/assay bench --engine $(or $(ENGINES),lsm) --workload overwrite-steady --memory 512M --dir $(BUILD)/steady \
	    --out $(BUILD)/overwrite-steady.json
	$(BUILD)/assay report $(BUILD)/overwrite-steady.json --out report-steady

## write the table of engines in README.md anew
engines-table: all
	engines/table.sh -w $(BUILD)

## install the libraries of the peers (RocksDB, LMDB, SQLite, Redis ...) and build their plug-ins; one without its library is left out
peers:
	PEERS='$(sort $(PEER_PACKAGES))' ./deps.sh peers
	$(SUBMAKE) all
	$(BUILD)/assay engines

## run db_bench, tkrzw_dbm_perf, kchashtest and redis-benchmark beside ours, on the same work (ROUNDS=n PUTS=n; CASES='rocksdb redis')
crosscheck:
	PEERS='$(sort $(PEER_PACKAGES) rocksdb-tools tkrzw-utils kyotocabinet-utils redis-tools)' ./deps.sh crosscheck
	$(SUBMAKE) all
	harness/crosscheck.sh $(BUILD) $(CASES)

## climb the ladder of the LSM tree (unbuffered writes, new buffers, ...), beside what was published, and draw report-ladder/ (ROUNDS=n DIR=folder)
bench-ladder: all
	harness/ladder.sh $(BUILD) report-ladder

## draw report/ again from the results of the last `make bench`
plots: all
	$(BUILD)/assay report $(BUILD)/results/*.json --out report

## kill engines, ours and those with planted bugs: one seed each (see also planted-campaign)
crashtest: all planted
	crashtest/planted/run.sh -b $(BUILD)

## the same with 10 seeds: how many lives and seconds each planted bug takes to be seen
planted-campaign: all planted
	crashtest/planted/run.sh -b $(BUILD) -n 10

## crash one engine for long: each tier, killed and under disk profiles (ENGINE=lsm CRASH_SECONDS=60 a cell; ROUNDS='-o lsm.runs=2 -o ...')
crashtest-long: all
	crashtest/long.sh -b $(BUILD) -s $(or $(CRASH_SECONDS),60) $(ROUNDS) $(or $(ENGINE),lsm)

## build every planted bug as a plug-in
planted: $(PLANTED)

# They say when there is no memory and how much is asked for, when a ring fails, and what takes long.
$(BUILD)/tests/t_lsm_memory: private ALL_LDFLAGS += -Wl,--wrap=malloc,--wrap=realloc
$(BUILD)/tests/t_lsm_logs: private ALL_LDFLAGS += -Wl,--wrap=manifest_write,--wrap=table_open,--wrap=tree_name_log,--wrap=memtable_new
$(BUILD)/tests/t_lsm_parts: private ALL_LDFLAGS += -Wl,--wrap=io_uring_submit_and_wait

$(BUILD)/tests/%: tests/%.c $(BUILD)/libassay.a | $(TEST_SO)
	echo "  TEST  $@"
	mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -o $@ $< -Wl,--whole-archive $(BUILD)/libassay.a -Wl,--no-whole-archive $(LDLIBS) -lcmocka

# Engines that only tests load.
$(BUILD)/tests/plugins/%.so: tests/plugins/%.c $(BUILD)/libplugin.a
	echo "  SO    $@"
	mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fPIC -fvisibility=hidden -shared -Wl,-Bsymbolic -Wl,--exclude-libs,ALL -MMD -MP -o $@ $< $(BUILD)/libplugin.a $(LDLIBS)

# A fuzz target as a plain test: every file of its corpus, once.
$(BUILD)/tests/fuzz_%: tests/fuzz_%.c tests/corpus.c $(BUILD)/libassay.a
	echo "  TEST  $@"
	mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -DCORPUS='"tests/corpus/$*"' -o $@ $< tests/corpus.c \
	    -Wl,--whole-archive $(BUILD)/libassay.a -Wl,--no-whole-archive $(LDLIBS)

# The workload files, as rows PRESET("name", "text") that workloads/presets.c includes; rewritten only when one changes.
$(BUILD)/presets.inc: FORCE
	mkdir -p $(@D)
	for name in $(sort $(basename $(notdir $(wildcard workloads/*.json)))); do \
	    echo "PRESET(\"$$name\","; sed 's/\\/\\\\/g; s/"/\\"/g; s/^/"/; s/$$/\\n"/' workloads/$$name.json; echo ')'; \
	done > $@.new
	cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(BUILD)/workloads/presets.o: $(BUILD)/presets.inc

# Rewritten only when the command line changes, so that a change of flags rebuilds.
$(BUILD)/flags: FORCE
	mkdir -p $(@D)
	echo '$(CC) $(ALL_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS)' > $@

## everything that `make test` runs, built
tests: all $(if $(SAN),,$(PLANTED)) $(BUILD)/tests/servant $(TESTS) $(FUZZES:%=$(BUILD)/tests/%)

## install what building, testing and drawing need, when something is missing (apt, as root; else it says what)
deps:
	CC='$(CC)' ./deps.sh $(if $(filter test%,$(MAKECMDGOALS)),test)

## all tests: plain, under ASan with UBSan, and under TSan
test: deps
	$(SUBMAKE) tests
	$(SUBMAKE) SAN=address,undefined OPT=-O1 tests
	$(SUBMAKE) SAN=thread OPT=-O1 tests
	tests/run.sh build build-address-undefined build-thread

## the plain tests alone (TEST=word picks programs by name)
test-plain: deps
	$(SUBMAKE) tests
	tests/run.sh $(TEST:%=-k %) $(BUILD)

## the engine redis, its private server, a server by name and a cluster, all started and stopped here (part of make test)
test-redis: all $(BUILD)/tests/t_contract
	BUILD=$(BUILD) ASSAY=$(BUILD)/assay tests/t_redis.sh || [ $$? = 77 ]

## the tests of one sanitizer: make test-san SAN=thread
test-san: deps
	$(SUBMAKE) OPT=-O1 tests
	tests/run.sh -s $(TEST:%=-k %) $(BUILD)

## look for inputs that break the file parsers, FUZZ_SECONDS each (libFuzzer, needs clang)
FUZZ_SECONDS ?= 60
fuzz: deps
	$(SUBMAKE) CC=clang BUILD=build-fuzz OPT=-O1 SAN=address,undefined CFLAGS='$(CFLAGS) -fsanitize=fuzzer-no-link' fuzz-run

fuzz-run: $(FUZZES:%=build-fuzz/fuzz/%)
	for target in $(FUZZES); do \
	    mkdir -p build-fuzz/found/$$target tests/corpus/$${target#fuzz_}; \
	    echo "  FUZZ  $$target ($(FUZZ_SECONDS) s)"; \
	    build-fuzz/fuzz/$$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0 \
	        -artifact_prefix=build-fuzz/found/$$target/ build-fuzz/found/$$target tests/corpus/$${target#fuzz_} || exit 1; \
	done

build-fuzz/fuzz/%: tests/%.c $(BUILD)/libassay.a
	echo "  FUZZ  $@"
	mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $< $(BUILD)/libassay.a $(LDLIBS)

## build one engine as a plug-in: make plugin SRC=mine.c OUT=mine.so
plugin: $(BUILD)/libplugin.a
	test -n '$(SRC)' -a -n '$(OUT)' || { echo 'make plugin wants SRC=mine.c OUT=mine.so' >&2; exit 2; }
	$(CC) $(ALL_CFLAGS) -fPIC -fvisibility=hidden -shared -Wl,-Bsymbolic -Wl,--exclude-libs,ALL -o $(OUT) $(SRC) \
	    $(BUILD)/libplugin.a $(LDLIBS)

BIN      := $(DESTDIR)$(PREFIX)/bin
LIBDIR   := $(DESTDIR)$(PREFIX)/lib/assay
SHARE    := $(DESTDIR)$(PREFIX)/share/assay

## install under PREFIX (/usr/local); DESTDIR for packages
install: all
	install -d $(BIN) $(LIBDIR)/plugins $(SHARE)/workloads $(SHARE)/results $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(BUILD)/assay $(BIN)/assay
	$(if $(PLUGINS),install -m 644 $(PLUGINS) $(LIBDIR)/plugins/)
	$(if $(PRELOADS),install -m 644 $(PRELOADS) $(LIBDIR)/)
	$(if $(wildcard workloads/*.json),install -m 644 $(wildcard workloads/*.json) $(SHARE)/workloads/)
	$(if $(wildcard plot/*.gp),install -m 644 $(wildcard plot/*.gp) $(SHARE)/)
	$(if $(wildcard results/*.json),install -m 644 $(wildcard results/*.json) $(SHARE)/results/)
	install -m 644 assay.1 $(DESTDIR)$(PREFIX)/share/man/man1/assay.1

## take away what install put there
uninstall:
	rm -rf $(BIN)/assay $(LIBDIR) $(SHARE) $(DESTDIR)$(PREFIX)/share/man/man1/assay.1

## this list
help:
	awk '/^## /{ text = substr($$0, 4); next } /^[a-z][a-z-]*:/ && text { split($$0, name, ":"); printf "  %-12s %s\n", name[1], text } \
	     !/^[A-Z_]+ *[?:]?=/{ text = "" }' Makefile

# What was built, for the results: rewritten only when it changes.
$(BUILD)/build-facts.h: FORCE
	mkdir -p $(@D)
	{ echo '#define FACTS_VERSION "$(VERSION)"'; \
	  echo "#define FACTS_GIT \"$$(git rev-parse HEAD 2>/dev/null)\""; \
	  echo "#define FACTS_DIRTY $$(git status --porcelain --untracked-files=no 2>/dev/null | grep -q . && echo 1 || echo 0)"; \
	  echo "#define FACTS_COMPILER \"$$($(CC) --version | head -1 | tr -d '\\"')\""; \
	  echo "#define FACTS_CFLAGS \"$$(echo '$(ALL_CFLAGS)' | tr -d '\\"' | tr -s ' ')\""; \
	  echo '#define FACTS_SANITIZER "$(SAN)"'; } > $@.new
	cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(BUILD)/results/facts.o: $(BUILD)/build-facts.h

# Names of system calls by number, as this machine's headers have them.
$(BUILD)/syscall-names.h:
	mkdir -p $(@D)
	echo '#include <asm/unistd.h>' | $(CC) -E -dM - | \
	  sed -n 's/^#define __NR_\([a-z0-9_]*\) \([0-9][0-9]*\)$$/X(\2, "\1")/p' | sort > $@.new
	mv $@.new $@

$(BUILD)/harness/counting.o: $(BUILD)/syscall-names.h

## remove what was built
clean:
	rm -rf build build-*

.PHONY: crashtest-long all bench bench-steady bench-lsm bench-peers bench-ladder engines-table peers crosscheck plots planted crashtest planted-campaign tests deps test test-plain test-redis test-san fuzz fuzz-run plugin install uninstall help clean FORCE
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
