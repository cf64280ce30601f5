# The python binding.
#
# Variables of the whole build: $(distroot) is build/dist, $(SOCKREF_SONAME) the library's file name,
# .libs/$(SOCKREF_SONAME) the built one; $(SWIG) with HAVE_SWIG; see m4/sockref_bindings.m4 for the rest.
# Generated wrappers live in $(srcdir)/swig/generated with the stamp python.stamp, and go into the tarball.
python_wrapper = swig/generated/sockref_python_wrap.c
python_proxies = swig/generated/python/lowlevel.py
python_stamp = swig/generated/python.stamp
python_stamp_file = $(srcdir)/$(python_stamp)
python_interface = swig/python.i swig/python_address.c swig/python_connection.c swig/python_detach.c \
	swig/python_endpoint.c swig/python_error.c swig/python_events.c swig/python_extra.c swig/python_handlers.c \
	swig/python_loop.c swig/python_pin.c swig/python_pool.c swig/python_protocol.c swig/python_read.c \
	swig/python_send.c swig/python_stats.c swig/python_transport.c swig/python_write.c swig/sockref.i
python_package = bindings/python/sockref
python_modules = \
	$(python_package)/__init__.py \
	$(python_package)/_blocking.py \
	$(python_package)/_client.py \
	$(python_package)/_connection.py \
	$(python_package)/_errors.py \
	$(python_package)/_events.py \
	$(python_package)/_handlers.py \
	$(python_package)/_listen.py \
	$(python_package)/_loops.py \
	$(python_package)/_lowlevel.pyi \
	$(python_package)/_native.py \
	$(python_package)/_options.py \
	$(python_package)/_paths.py \
	$(python_package)/_pool.py \
	$(python_package)/_reference.py \
	$(python_package)/_registry.py \
	$(python_package)/_server.py \
	$(python_package)/_stats.py \
	$(python_package)/_transports.py \
	$(python_package)/aio.py \
	$(python_package)/compat.py \
	$(python_package)/lowlevel.pyi \
	$(python_package)/py.typed
python_project = \
	bindings/python/MANIFEST.in \
	bindings/python/README.md \
	bindings/python/pyproject.toml \
	bindings/python/setup.py

EXTRA_DIST += $(python_interface) $(python_modules) $(python_project) bindings/python/tests

if WITH_PYTHON
EXTRA_DIST += $(python_stamp) $(python_wrapper) $(python_proxies)

python_dist = $(distroot)/python/sockref
python_extension = $(python_dist)/_lowlevel.abi3.so

if HAVE_SWIG
$(python_stamp_file): $(python_interface)
	$(AM_V_GEN)$(MKDIR_P) $(srcdir)/swig/generated/python && \
	$(SWIG) -Wall -Werror -python -outdir $(srcdir)/swig/generated/python -I$(srcdir)/swig \
		-o $(srcdir)/$(python_wrapper) $(srcdir)/swig/python.i && echo done > $@
endif
$(srcdir)/$(python_wrapper) $(srcdir)/$(python_proxies): $(python_stamp_file) ; @:
MAINTAINERCLEANFILES += $(python_stamp)

# Laid out as the package is: the library unrenamed beside the one that needs it. A program that runs may have it mapped: it
# is replaced, not overwritten.
$(python_extension): $(python_stamp_file) libsockref.la $(sockref_guard)
	$(AM_V_CCLD)$(MKDIR_P) $(python_dist) && \
	rm -f $(python_dist)/$(SOCKREF_SONAME) $(python_dist)/sockref-guard && \
	cp .libs/$(SOCKREF_SONAME) $(python_dist)/$(SOCKREF_SONAME) && cp $(sockref_guard) $(python_dist)/sockref-guard && \
	$(CC) -DPy_LIMITED_API=0x030B0000 -I$(top_builddir)/include -I$(top_srcdir)/include \
		$(PYTHON_CPPFLAGS) $(CPPFLAGS) $(CFLAGS) -std=gnu11 -pthread -fPIC -fvisibility=hidden -fno-strict-aliasing \
		$(WARN_CFLAGS) -Wno-missing-field-initializers -shared \
		$(LDFLAGS) -Wl,-z,relro -Wl,-z,now -Wl,-rpath,'$$ORIGIN' -Wl,--enable-new-dtags \
		-o $@ $(srcdir)/$(python_wrapper) $(python_dist)/$(SOCKREF_SONAME)

build/python/package.stamp: $(python_stamp_file) $(python_modules)
	$(AM_V_GEN)$(MKDIR_P) $(python_dist) build/python && \
	for file in $(python_modules) $(python_proxies); do \
		cp $(srcdir)/$$file $(python_dist)/ || exit 1; \
	done && chmod -R u+w $(python_dist) && echo done > $@

python-dist: $(python_extension) build/python/package.stamp
BINDING_DIST += python-dist

# The package beside the library's directory, with a link to the one library.
pythonversion := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
pythonpkgdir = $(libdir)/python$(pythonversion)/site-packages/sockref
nodist_pythonpkg_DATA = $(python_modules) $(srcdir)/$(python_proxies) $(python_extension)

install-python-link: install-nodist_pythonpkgDATA
	cd $(DESTDIR)$(pythonpkgdir) && rm -f $(SOCKREF_SONAME) && \
	$(LN_S) `realpath -m --relative-to=$(pythonpkgdir) $(libdir)`/$(SOCKREF_SONAME) $(SOCKREF_SONAME)
install-data-hook: install-python-link
# An empty directory would still be a package.
uninstall-python-link:
	rm -f $(DESTDIR)$(pythonpkgdir)/$(SOCKREF_SONAME)
	rm -rf $(DESTDIR)$(pythonpkgdir)/__pycache__
	rmdir $(DESTDIR)$(pythonpkgdir) 2>/dev/null || :
uninstall-hook: uninstall-python-link

# build/python/sockref-VERSION.tar.gz: what pip builds where the library is installed.
python_sdist_files = $(python_project) LICENSE
python-sdist: $(python_stamp_file)
	rm -rf build/python/sdist && $(MKDIR_P) build/python/sdist/sockref build/python/sdist/src
	for file in $(python_sdist_files); do cp $(srcdir)/$$file build/python/sdist/ || exit 1; done
	for file in $(python_modules) $(python_proxies); do cp $(srcdir)/$$file build/python/sdist/sockref/ || exit 1; done
	cp $(srcdir)/$(python_wrapper) build/python/sdist/src/lowlevel_wrap.c
	chmod -R u+w build/python/sdist
	cd build/python/sdist && $(PYTHON) setup.py -q sdist --dist-dir ..

# build/python/sockref-VERSION-*.whl, made from that: it has the library and the guard with it.
python-wheel: python-sdist libsockref.la $(sockref_guard) pkgconfig/sockref-uninstalled.pc
	rm -f build/python/*.whl
	PKG_CONFIG_PATH='$(abs_top_builddir)/pkgconfig' CC='$(CC)' $(PYTHON) -m pip -q --disable-pip-version-check wheel \
		--no-deps --no-index --no-build-isolation --wheel-dir build/python build/python/sockref-$(PACKAGE_VERSION).tar.gz

# PYTEST_FLAGS='-k l44' runs a part; SCRIPTS=1000 PYTEST_FLAGS='-k scripts' plays more of the random scripts.
check-python: python-dist python-wheel
	unset SOCKREF_DIR SOCKREF_GUARD XDG_RUNTIME_DIR; SOCKREF_BUILD='$(abs_top_builddir)' PYTHONDONTWRITEBYTECODE=1 \
	$(top_srcdir)/scripts/in-tree python3 -X dev -m pytest -p no:cacheprovider $(PYTEST_FLAGS) \
		$(top_srcdir)/bindings/python/tests
BINDING_CHECK += check-python
endif

.PHONY: python-dist python-sdist python-wheel install-python-link uninstall-python-link check-python
