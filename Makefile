# unixipc: the only list of sources, and every way to build, test and check
# them. Targets that need tools install them first (scripts/setup).
#
#   make help            what there is
#   make test SPEC=pipe  one spec
#   make VARIANT=debug   -O1 -g, under build/debug

LUA ?= lua5.4
PREFIX ?= /usr/local
LUADIR ?= $(PREFIX)/share/lua/5.4
LIBDIR ?= $(PREFIX)/lib/lua/5.4
# The first directory with the headers: where Linux, BSD and others put them.
LUA_INCDIR := $(patsubst %/lua.h,%,$(firstword $(wildcard $(addsuffix /lua.h,\
  /usr/include/lua5.4 /usr/local/include/lua5.4 /usr/include/lua-5.4 \
  /usr/local/include/lua54 /opt/homebrew/include/lua5.4) \
  $(patsubst -I%,%/lua.h,$(shell pkg-config --cflags-only-I \
  'lua >= 5.4' 'lua < 5.5' 2>/dev/null)))))

LUA_CFLAGS = $(LUA_INCDIR:%=-isystem %)
LUA_LIBS ?= $(or $(shell pkg-config --libs lua5.4 2>/dev/null),-llua5.4)

VARIANT = release
BUILD = build/$(VARIANT)
SOURCES := $(wildcard csrc/*.c csrc/base/*.c csrc/lib/*.c)
OBJECTS = $(SOURCES:csrc/%.c=$(BUILD)/%.o)
CORE = $(BUILD)/unixipc/core.so
# Programs in C that the specs run: tests of csrc/lib, and peers.
PROGRAMS = $(patsubst %.c,$(BUILD)/%,$(wildcard spec/c/*.c))

# What is undefined traps, which AddressSanitizer reports like all else.
CFLAGS_asan = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
  -fsanitize-undefined-trap-on-error
CFLAGS_debug = -O1 -g
CFLAGS_tsan = -O1 -g -fsanitize=thread
CFLAGS_steps = -O2 -g -DUX_RING_TEST
CFLAGS_fuzz = -O1 -g -fno-omit-frame-pointer \
  -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
CFLAGS ?= -O2
WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes \
  -Wmissing-prototypes -Wvla $(if $(WERROR),-Werror)
COMPILE = $(CC) -std=c11 -fPIC -fvisibility=hidden -pthread $(WARNINGS) \
  $(CFLAGS) $(CFLAGS_$(VARIANT)) -Icsrc $(CPPFLAGS)

# nodelete: a signal that comes after lua_close must still find our handler.
ifeq ($(shell uname),Darwin)
LIBFLAG = -bundle -undefined dynamic_lookup
else
LIBFLAG = -shared
LINK_elf = -Wl,-z,nodelete -Wl,-z,relro,-z,now -lrt
endif
LINK = -pthread $(CFLAGS_$(VARIANT)) $(LDFLAGS) $(LINK_elf)

# The tree's own modules first, then what the user has.
modules = $(CURDIR)/$(1)/?.lua;$(CURDIR)/$(1)/?/init.lua
TREE = LUA=$(LUA) BUILD=$(BUILD) LUA_PATH_5_4="$(call \
  modules,lua);$(call modules,spec);$${LUA_PATH_5_4:-$${LUA_PATH:-;}}" \
  LUA_CPATH_5_4="$(CURDIR)/$(BUILD)/?.so;$${LUA_CPATH_5_4:-$${LUA_CPATH:-;}}"
# With STRESS=1 asan and valgrind take the long tests.
SPECS = $(if $(STRESS),SPEC_TIMEOUT=1800) $(TREE) $(UNDER) \
  $(LUA) scripts/run-specs $(if $(STRESS),--stress)
# V=1 shows the commands.
say = $(if $(V),,@echo "$(1) $(BUILD): $(or $(filter %.c,$^),$(notdir $@))";)
SUBMAKE = $(MAKE) --no-print-directory

.PHONY: all programs demo test check bench examples doc asan valgrind stress \
  tsan model kill fuzz format install uninstall clean help
.DELETE_ON_ERROR:

all: $(CORE) ## build the library into build/release
	@:

programs: $(PROGRAMS)
	@:

$(CORE): $(OBJECTS)
	@mkdir -p $(@D)
	$(call say,link)$(CC) $(LIBFLAG) -o $@ $(OBJECTS) $(LINK)

$(BUILD)/%.o: csrc/%.c Makefile
	@mkdir -p $(@D)
	$(call say,cc  )$(COMPILE) $(LUA_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/spec/c/%: spec/c/%.c $(filter $(BUILD)/lib/%,$(OBJECTS)) Makefile
	@mkdir -p $(@D)
	$(call say,cc  )$(COMPILE) -MMD -MP -o $@ $< $(filter %.o,$^) $(LINK)

# Programs that have Lua inside.
$(BUILD)/spec/c/%_host: COMPILE += $(LUA_CFLAGS)
$(BUILD)/spec/c/%_host: LINK += $(LUA_LIBS)

$(BUILD)/spec/fuzz/host: spec/fuzz/host.c $(OBJECTS) Makefile
	@mkdir -p $(@D)
	$(call say,cc  )$(COMPILE) $(LUA_CFLAGS) -MMD -MP -o $@ $< \
	  $(filter %.o,$^) -fsanitize=fuzzer $(LINK) $(LUA_LIBS)

-include $(OBJECTS:.o=.d) $(PROGRAMS:=.d)

demo: ## a tour of what there is, with real processes
	@scripts/setup demo
	@$(SUBMAKE) all
	@$(TREE) $(LUA) examples/tour.lua

test: ## every spec, or SPEC=stem alone
	@scripts/setup test
	@$(SUBMAKE) all programs
	@$(SPECS) $(SPEC)

stress: STRESS = 1
stress: ## the long tests, spec/stress/, or SPEC=stem alone
	@scripts/setup test
	@$(SUBMAKE) all programs
	@$(SPECS) $(SPEC)

asan: VARIANT = asan
asan: UNDER = scripts/memcheck asan
asan: ## the specs with AddressSanitizer, LeakSanitizer and UBSan
	@scripts/setup test
	@$(SUBMAKE) VARIANT=asan CC=gcc all programs
	@$(SPECS) $(SPEC)

valgrind: VARIANT = debug
valgrind: UNDER = scripts/memcheck valgrind
valgrind: ## the specs under valgrind
	@scripts/setup valgrind
	@$(SUBMAKE) VARIANT=debug all programs
	@$(SPECS) $(SPEC)

# Mutexes are misused there to see it refused. A fixed place in memory, since
# gcc 12's sanitizer does not know those of new kernels.
tsan: ## csrc/lib in threads, with ThreadSanitizer
	@$(SUBMAKE) VARIANT=tsan CC=gcc build/tsan/spec/c/psync_test \
	  build/tsan/spec/c/ring_test
	TSAN_OPTIONS=report_mutex_bugs=0:halt_on_error=1 \
	  setarch -R build/tsan/spec/c/psync_test 5
	TSAN_OPTIONS=halt_on_error=1 setarch -R build/tsan/spec/c/ring_test

model: ## the ring: all orders of steps of two or three, one killed
	@$(SUBMAKE) VARIANT=steps build/steps/spec/c/ring_model
	build/steps/spec/c/ring_model

# ROUNDS in each of 17 modes; STOP seconds at each step, many at once.
ROUNDS ?= 10000
STOP ?= 5
kill: ## the ring: killed, stopped at each step; ROUNDS kills at random a mode
	@$(SUBMAKE) VARIANT=steps build/steps/spec/c/ring_storm
	@$(SUBMAKE) build/release/spec/c/ring_storm
	build/steps/spec/c/ring_storm steps
	build/steps/spec/c/ring_storm stop $(STOP)
	build/release/spec/c/ring_storm $(ROUNDS)

fuzz: ## hostile bytes, FUZZ_SECONDS (60) for each, or SPEC=stem alone
	@scripts/setup fuzz
	@MAKE="$(MAKE)" $(TREE) scripts/fuzz $(SPEC)

check: ## format, linters, layers, coverage of the documentation, warnings
	@scripts/setup check
	@MAKE="$(MAKE)" LUA=$(LUA) scripts/check

format: ## rewrite the C code as .clang-format says
	clang-format -i $(wildcard csrc/*.[ch] csrc/*/*.[ch] spec/*/*.[ch])

.PHONY: tidy
tidy:
	clang-tidy --quiet $(SOURCES) -- -std=c11 -Icsrc $(LUA_CFLAGS)

examples: ## every example that can run unattended
	@scripts/setup demo
	@$(SUBMAKE) all
	@$(TREE) $(LUA) scripts/run-examples

bench: ## ratios to C and to other libraries, with the goals
	@scripts/setup bench
	@$(SUBMAKE) all
	@$(TREE) $(LUA) bench/run.lua $(BENCH)

doc: ## HTML pages into build/doc
	@scripts/setup doc
	ldoc --fatalwarnings .
	@sed -i -E 's,href="(doc/|\.\./)?([A-Za-z-]+\.md)(["#]),href="\2.html\3,g' \
	  build/doc/topics/*.html # what leads to a file leads to its page

install: all ## into PREFIX (or LUADIR and LIBDIR), below DESTDIR
	install -d "$(DESTDIR)$(LUADIR)/unixipc" "$(DESTDIR)$(LIBDIR)/unixipc"
	install -m 644 lua/unixipc/*.lua "$(DESTDIR)$(LUADIR)/unixipc"
	install -m 755 $(CORE) "$(DESTDIR)$(LIBDIR)/unixipc"

uninstall: ## what install put there
	rm -rf "$(DESTDIR)$(LUADIR)/unixipc" "$(DESTDIR)$(LIBDIR)/unixipc"

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1 \2/p' Makefile | \
	  awk '{n = $$1; $$1 = ""; printf "  %-10s%s\n", n, $$0}'
