# The Node binding.
#
# Variables of the whole build: $(distroot) is build/dist, $(SOCKREF_SONAME) the library's file name,
# .libs/$(SOCKREF_SONAME) the built one; $(SWIG) with HAVE_SWIG; see m4/sockref_bindings.m4 for the rest.
# Generated wrappers live in $(srcdir)/swig/generated with the stamp node.stamp, and go into the tarball.
node_wrapper = swig/generated/sockref_low_wrap.cxx
node_stamp = swig/generated/node.stamp
node_stamp_file = $(srcdir)/$(node_stamp)
node_interface = swig/node.i swig/sockref.i
node_net_js = \
	bindings/node/lib/net/adopt.js \
	bindings/node/lib/net/bound.js \
	bindings/node/lib/net/channels.js \
	bindings/node/lib/net/connect.js \
	bindings/node/lib/net/defaults.js \
	bindings/node/lib/net/errors.js \
	bindings/node/lib/net/listening.js \
	bindings/node/lib/net/names.js \
	bindings/node/lib/net/server.js \
	bindings/node/lib/net/socket.js \
	bindings/node/lib/net/state.js \
	bindings/node/lib/net/timeouts.js \
	bindings/node/lib/net/validate.js
node_lib_js = \
	bindings/node/lib/arguments.js \
	bindings/node/lib/compat.d.mts \
	bindings/node/lib/compat.d.ts \
	bindings/node/lib/compat.js \
	bindings/node/lib/compat.mjs \
	bindings/node/lib/connection.js \
	bindings/node/lib/errors.js \
	bindings/node/lib/events.js \
	bindings/node/lib/index.d.mts \
	bindings/node/lib/index.d.ts \
	bindings/node/lib/index.js \
	bindings/node/lib/index.mjs \
	bindings/node/lib/low.js \
	bindings/node/lib/net.d.mts \
	bindings/node/lib/net.d.ts \
	bindings/node/lib/net.js \
	bindings/node/lib/net.mjs \
	bindings/node/lib/pool.js \
	bindings/node/lib/reference.js \
	bindings/node/lib/registry.js
node_modules_js = $(node_lib_js) $(node_net_js)
node_sources = \
	bindings/node/src/batch.cc \
	bindings/node/src/batch.h \
	bindings/node/src/binding.h \
	bindings/node/src/conn.cc \
	bindings/node/src/connect.cc \
	bindings/node/src/driver_thread.cc \
	bindings/node/src/driver_uv.cc \
	bindings/node/src/env.cc \
	bindings/node/src/errors.cc \
	bindings/node/src/reads.cc \
	bindings/node/src/reads.h \
	bindings/node/src/serve.cc \
	bindings/node/src/start.cc \
	bindings/node/src/stats.cc \
	bindings/node/src/watch.cc \
	bindings/node/src/work.cc \
	bindings/node/src/write.cc
node_project = \
	bindings/node/README.md \
	bindings/node/binding.gyp \
	bindings/node/package.json \
	bindings/node/scripts/build.js \
	bindings/node/scripts/pkg-config.js

EXTRA_DIST += $(node_interface) $(node_modules_js) $(node_sources) $(node_project) \
	bindings/node/.npmrc bindings/node/package-lock.json bindings/node/scripts/test.js bindings/node/test \
	bindings/node/tsconfig.json

if WITH_NODE
EXTRA_DIST += $(node_stamp) $(node_wrapper)

node_dist = $(distroot)/node/sockref
node_built = build/node/package.stamp
node_addon = $(node_dist)/build/Release/sockref_low.node
node_library = $(node_dist)/build/Release/$(SOCKREF_SONAME)
node_guard = $(node_dist)/build/Release/sockref-guard

if HAVE_SWIG
$(node_stamp_file): $(node_interface)
	$(AM_V_GEN)$(MKDIR_P) $(srcdir)/swig/generated && \
	$(SWIG) -Wall -Werror -javascript -napi -c++ -I$(srcdir)/swig -o $(srcdir)/$(node_wrapper) \
		$(srcdir)/swig/node.i && echo done > $@
endif
$(srcdir)/$(node_wrapper): $(node_stamp_file) ; @:
MAINTAINERCLEANFILES += $(node_stamp)

# The package as npm packs it, and built in place by node-gyp. Files that are the same stay as they are, so
# that only what changed is compiled again.
$(node_built): $(node_stamp_file) $(node_modules_js) $(node_sources) $(node_project) libsockref.la \
		$(sockref_guard)
	$(AM_V_GEN)$(MKDIR_P) build/node $(node_dist)/lib/net $(node_dist)/src $(node_dist)/scripts && \
	for file in $(node_modules_js) $(node_sources) $(node_project) $(node_wrapper) LICENSE; do \
		case $$file in \
			$(node_wrapper)) to=$(node_dist)/src/sockref_low_wrap.cxx;; \
			bindings/node/*) to=$(node_dist)/$${file#bindings/node/};; \
			*) to=$(node_dist)/$$file;; \
		esac; \
		cmp -s $(srcdir)/$$file $$to || { rm -f $$to && cp $(srcdir)/$$file $$to && chmod u+w $$to; } || exit 1; \
	done && \
	CC='$(CC)' CXX='$(CXX)' NODE_PATH='$(NODE_MODULES)' PKG_CONFIG_PATH='$(abs_top_builddir)/pkgconfig' \
	SOCKREF_LIBRARY='$(abs_top_builddir)/.libs/$(SOCKREF_SONAME)' \
	SOCKREF_GUARD='$(abs_top_builddir)/$(sockref_guard)' \
		$(NODE) $(node_dist)/scripts/build.js configure build --silent --nodedir='$(NODE_PREFIX)' \
		> build/node/build.log 2>&1 || { cat build/node/build.log; exit 1; }; echo done > $@
$(node_addon) $(node_library) $(node_guard): $(node_built) ; @:

node-dist: $(node_built)
BINDING_DIST += node-dist

# Beside the library, in the layout of the package, with a link to the one library; that finds the one guard.
nodemodulesdir = $(libdir)/node_modules/sockref
nodist_nodemodules_DATA = bindings/node/package.json bindings/node/README.md
nodelibdir = $(nodemodulesdir)/lib
nodist_nodelib_DATA = $(node_lib_js)
nodenetdir = $(nodelibdir)/net
nodist_nodenet_DATA = $(node_net_js)
nodereleasedir = $(nodemodulesdir)/build/Release
nodist_noderelease_DATA = $(node_addon)

install-node-link: install-nodist_nodereleaseDATA
	cd $(DESTDIR)$(nodereleasedir) && rm -f $(SOCKREF_SONAME) && \
	$(LN_S) `realpath -m --relative-to=$(nodereleasedir) $(libdir)`/$(SOCKREF_SONAME) $(SOCKREF_SONAME)
install-data-hook: install-node-link
uninstall-node-link:
	rm -f $(DESTDIR)$(nodereleasedir)/$(SOCKREF_SONAME)
uninstall-hook: uninstall-node-link

# build/node/sockref-VERSION.tgz: what npm installs where the library is installed.
node-pack: $(node_built)
	cd $(node_dist) && $(NPM) pack --silent --pack-destination '$(abs_top_builddir)/build/node'

# With each driver; NODE_TEST_FLAGS=test/serve.test.js runs a part.
check-node: node-dist
	unset SOCKREF_DIR SOCKREF_GUARD SOCKREF_NODE_DRIVER XDG_RUNTIME_DIR; SOCKREF_BUILD='$(abs_top_builddir)' CC='$(CC)' \
	$(top_srcdir)/scripts/in-tree $(NODE) $(top_srcdir)/bindings/node/scripts/test.js $(NODE_TEST_FLAGS)
BINDING_CHECK += check-node
endif

.PHONY: node-dist node-pack install-node-link uninstall-node-link check-node
