# Assay.  `make help` lists the targets.  Everything built lands under $(BUILD).

CC       ?= gcc
SAN      ?=
BUILD    ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
comma    := ,
OPT      ?= -O2
PREFIX   ?= /usr/local

# -fno-strict-aliasing is not needed and not set; asserts stay on, so that what is measured is what is tested.
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -g $(OPT) -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
              -Wpointer-arith -Wno-missing-field-initializers -fno-omit-frame-pointer -msse4.2 -I. -I$(BUILD) $(CFLAGS) \
              $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all)
ALL_LDFLAGS := $(LDFLAGS) $(if $(SAN),-fsanitize=$(SAN)) -Wl,--dynamic-list=engines/plugin.symbols
LDLIBS   := -ljansson -lxxhash -llz4 -lpthread -ldl -lm

BASE_SRC := $(wildcard common/*.c engines/base/*.c)
LIB_SRC  := $(BASE_SRC) $(wildcard engines/*.c engines/null/*.c engines/memory/*.c engines/bitcask/*.c \
                                   workloads/*.c harness/*.c crashtest/*.c results/*.c plot/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o)
# A plug-in brings its own hidden copy of the base; only fail_set and fail_text come from the program.
PIC_OBJ  := $(patsubst %.c,$(BUILD)/pic/%.o,$(filter-out common/fail.c,$(BASE_SRC)))
PLUGINS  := $(patsubst engines/plugins/%.c,$(BUILD)/plugins/%.so,$(wildcard engines/plugins/*.c))
PRELOADS := $(patsubst crashtest/preload/%.c,$(BUILD)/libassay-%.so,$(wildcard crashtest/preload/*.c)) \
            $(patsubst harness/preload/%.c,$(BUILD)/libassay-%.so,$(wildcard harness/preload/*.c))
TESTS    := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/t_*.c))

## build the program, its plug-ins and its preloaded libraries
all: $(BUILD)/assay $(PLUGINS) $(PRELOADS)

$(V).SILENT: # must follow `all`, or V=1 makes it the default goal

$(BUILD)/assay: $(BUILD)/assay.o $(BUILD)/libassay.a engines/plugin.symbols
	echo "  LD    $@"
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< -Wl,--whole-archive $(BUILD)/libassay.a -Wl,--no-whole-archive $(LDLIBS)

$(BUILD)/libassay.a: $(LIB_OBJ)
	rm -f $@ && ar rcs $@ $^

$(BUILD)/libplugin.a: $(PIC_OBJ)
	rm -f $@ && ar rcs $@ $^

$(BUILD)/%.o: %.c $(BUILD)/flags
	echo "  CC    $<"
	mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/pic/%.o: %.c $(BUILD)/flags
	mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fPIC -fvisibility=hidden -MMD -MP -c -o $@ $<

$(BUILD)/plugins/%.so: engines/plugins/%.c $(BUILD)/libplugin.a
	echo "  SO    $@"
	mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fPIC -fvisibility=hidden -shared -Wl,-Bsymbolic -Wl,--exclude-libs,ALL -MMD -MP -o $@ $< $(BUILD)/libplugin.a $(LDLIBS)

$(BUILD)/libassay-%.so: crashtest/preload/%.c $(BUILD)/flags
	echo "  SO    $@"
	$(CC) $(ALL_CFLAGS) -fPIC -fvisibility=hidden -shared -MMD -MP -o $@ $< -ldl -lpthread

$(BUILD)/libassay-%.so: harness/preload/%.c $(BUILD)/flags
	echo "  SO    $@"
	$(CC) $(ALL_CFLAGS) -fPIC -fvisibility=hidden -shared -MMD -MP -o $@ $< -ldl -lpthread

$(BUILD)/tests/%: tests/%.c $(BUILD)/libassay.a
	echo "  TEST  $@"
	mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -o $@ $< -Wl,--whole-archive $(BUILD)/libassay.a -Wl,--no-whole-archive $(LDLIBS) -lcmocka

# Rewritten only when the command line changes, so that a change of flags rebuilds.
$(BUILD)/flags: FORCE
	mkdir -p $(@D)
	echo '$(CC) $(ALL_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS)' > $@

## remove what was built
clean:
	rm -rf build build-*

.PHONY: all clean FORCE
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
