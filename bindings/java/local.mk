# The java binding.
#
# Variables of the whole build: $(distroot) is build/dist, $(SOCKREF_SONAME) the library's file name,
# .libs/$(SOCKREF_SONAME) the built one; $(SWIG) with HAVE_SWIG; see m4/sockref_bindings.m4 for the rest.
# Generated wrappers live in $(srcdir)/swig/generated with the stamp java.stamp, and go into the tarball.
java_generated = swig/generated/java/org/sockref
java_wrapper = swig/generated/sockref_java_wrap.c
java_stamp = swig/generated/java.stamp
java_stamp_file = $(srcdir)/$(java_stamp)
java_interface = swig/java.i swig/sockref.i
java_shim_sources = \
	swig/java_channel.c \
	swig/java_conn.c \
	swig/java_connect.c \
	swig/java_handlers.c \
	swig/java_pool.c \
	swig/java_serve.c \
	swig/java_shim.c \
	swig/java_stats.c
java_shim = $(java_shim_sources) swig/java_handlers.h swig/java_shim.h
java_generated_classes = \
	$(java_generated)/NativeOptions.java \
	$(java_generated)/NativeReference.java \
	$(java_generated)/NativeRegistry.java \
	$(java_generated)/SockrefNative.java \
	$(java_generated)/SockrefNativeJNI.java
java_sources = bindings/java/src/main/java
java_classes = \
	$(java_sources)/org/sockref/AcceptOperation.java \
	$(java_sources)/org/sockref/Accepted.java \
	$(java_sources)/org/sockref/Addresses.java \
	$(java_sources)/org/sockref/Background.java \
	$(java_sources)/org/sockref/ChannelStreams.java \
	$(java_sources)/org/sockref/ConnectOperation.java \
	$(java_sources)/org/sockref/ConnectOptions.java \
	$(java_sources)/org/sockref/Connection.java \
	$(java_sources)/org/sockref/ConnectionInfo.java \
	$(java_sources)/org/sockref/ConnectionOptions.java \
	$(java_sources)/org/sockref/Descriptor.java \
	$(java_sources)/org/sockref/EventLoop.java \
	$(java_sources)/org/sockref/Handle.java \
	$(java_sources)/org/sockref/Handlers.java \
	$(java_sources)/org/sockref/Health.java \
	$(java_sources)/org/sockref/Histogram.java \
	$(java_sources)/org/sockref/LiveCounts.java \
	$(java_sources)/org/sockref/LoopStats.java \
	$(java_sources)/org/sockref/NativeCopies.java \
	$(java_sources)/org/sockref/NativeLoader.java \
	$(java_sources)/org/sockref/Numbers.java \
	$(java_sources)/org/sockref/Operation.java \
	$(java_sources)/org/sockref/Options.java \
	$(java_sources)/org/sockref/PathBytes.java \
	$(java_sources)/org/sockref/PeerCredentials.java \
	$(java_sources)/org/sockref/Poller.java \
	$(java_sources)/org/sockref/PoolOperation.java \
	$(java_sources)/org/sockref/ReadOperation.java \
	$(java_sources)/org/sockref/Readiness.java \
	$(java_sources)/org/sockref/Registry.java \
	$(java_sources)/org/sockref/RegistryStats.java \
	$(java_sources)/org/sockref/Service.java \
	$(java_sources)/org/sockref/Shim.java \
	$(java_sources)/org/sockref/Side.java \
	$(java_sources)/org/sockref/SocketEvent.java \
	$(java_sources)/org/sockref/SocketOptions.java \
	$(java_sources)/org/sockref/SocketPool.java \
	$(java_sources)/org/sockref/SocketReference.java \
	$(java_sources)/org/sockref/SocketStats.java \
	$(java_sources)/org/sockref/Sockets.java \
	$(java_sources)/org/sockref/Sockref.java \
	$(java_sources)/org/sockref/SockrefChannel.java \
	$(java_sources)/org/sockref/SockrefException.java \
	$(java_sources)/org/sockref/SockrefServerChannel.java \
	$(java_sources)/org/sockref/StartOperation.java \
	$(java_sources)/org/sockref/Transfers.java \
	$(java_sources)/org/sockref/VirtualThreads.java \
	$(java_sources)/org/sockref/Watches.java \
	$(java_sources)/org/sockref/WriteOperation.java \
	$(java_sources)/org/sockref/package-info.java \
	$(java_sources)/module-info.java
java_resources = bindings/java/src/main/resources

EXTRA_DIST += $(java_interface) $(java_shim) bindings/java/pom.xml bindings/java/README.md bindings/java/src \
	tests/harness/slow-unlink.c

if WITH_JAVA
EXTRA_DIST += $(java_stamp) $(java_wrapper) $(java_generated_classes)

java_dist = $(distroot)/java
java_native = $(java_dist)/native
java_library = $(java_native)/libsockref_java.so
java_jar = $(java_dist)/sockref.jar

if HAVE_SWIG
$(java_stamp_file): $(java_interface)
	$(AM_V_GEN)rm -rf $(srcdir)/swig/generated/java && $(MKDIR_P) $(srcdir)/$(java_generated) && \
	$(SWIG) -Wall -Werror -java -package org.sockref -outdir $(srcdir)/$(java_generated) \
		-I$(srcdir)/swig -o $(srcdir)/$(java_wrapper) $(srcdir)/swig/java.i && echo done > $@
endif
$(srcdir)/$(java_wrapper): $(java_stamp_file) ; @:
MAINTAINERCLEANFILES += $(java_stamp)

# Laid out whole, so that what is there is what is run: the library beside the one that it needs; replaced, for a program
# that runs may have it mapped.
$(java_library): $(java_stamp_file) $(java_shim) libsockref.la $(sockref_guard)
	$(AM_V_CCLD)$(MKDIR_P) $(java_native) && \
	rm -f $(java_native)/$(SOCKREF_SONAME) $(java_native)/sockref-guard && \
	cp .libs/$(SOCKREF_SONAME) $(java_native)/$(SOCKREF_SONAME) && cp $(sockref_guard) $(java_native)/sockref-guard && \
	$(CC) $(DEFS) -D_GNU_SOURCE -I$(top_builddir)/include -I$(top_srcdir)/include -I$(srcdir)/swig \
		$(JAVA_CPPFLAGS) $(CPPFLAGS) $(CFLAGS) -std=gnu11 -fPIC -fvisibility=hidden -fno-strict-aliasing \
		$(WARN_CFLAGS) -shared \
		$(LDFLAGS) -Wl,-z,relro -Wl,-z,now -Wl,-z,defs -Wl,-rpath,'$$ORIGIN' -Wl,--enable-new-dtags \
		-o $@ $(srcdir)/$(java_wrapper) `for file in $(java_shim_sources); do echo "$(srcdir)/$$file"; done` \
		$(java_native)/$(SOCKREF_SONAME) && \
	printf '%s\n' $(SOCKREF_SONAME) libsockref_java.so sockref-guard > $(java_native)/natives.list

# What the tools do takes seconds: to optimise them fully, and threads that collect beside them, take longer than they gain.
java_brief = -XX:+IgnoreUnrecognizedVMOptions -XX:TieredStopAtLevel=1 -XX:+UseSerialGC

$(java_jar): $(java_stamp_file) $(java_classes)
	$(AM_V_GEN)rm -rf build/java/classes && $(MKDIR_P) build/java/classes/META-INF $(java_dist) && \
	cp $(srcdir)/LICENSE build/java/classes/META-INF/ && \
	$(JAVAC) $(java_brief:%=-J%) --release 17 -Xlint:all -Werror -d build/java/classes \
		`for file in $(java_classes) $(java_generated_classes); do echo "$(srcdir)/$$file"; done` && \
	$(JAR) --create --file $@ -C build/java/classes . -C $(srcdir)/$(java_resources) META-INF

java-dist: $(java_library) $(java_jar)
BINDING_DIST += java-dist

# Classes in the data directory; the library in the library's own, where it finds what it needs.
javadir = $(datadir)/java
nodist_java_DATA = $(java_jar)
javalibdir = $(libdir)
nodist_javalib_DATA = $(java_library)

build/java/slow-unlink.so: tests/harness/slow-unlink.c
	$(AM_V_CCLD)$(MKDIR_P) build/java && \
	$(CC) -D_GNU_SOURCE $(CPPFLAGS) $(CFLAGS) $(WARN_CFLAGS) -fPIC -shared -o $@ $(srcdir)/tests/harness/slow-unlink.c

java_maven = MAVEN_OPTS="$${MAVEN_OPTS-$(java_brief)}" $(MVN) -B -f '$(abs_top_srcdir)/bindings/java/pom.xml' \
	-Dsockref.native.dir='$(abs_top_builddir)/$(java_native)' \
	-Dsockref.generated='$(abs_top_srcdir)/swig/generated/java' \
	-Dsockref.slow.unlink='$(abs_top_builddir)/build/java/slow-unlink.so' \
	-Dsockref.example='$(abs_top_srcdir)/examples/Echo.java' \
	-Dsockref.build='$(abs_top_builddir)/build/java/maven'

# The suite under -Xcheck:jni: what the VM complains of is a failure. JAVA_TEST=Class#method runs one.
check-java: java-dist check-javadoc build/java/slow-unlink.so
	@grep -q '^  <version>$(PACKAGE_VERSION)</version>$$' $(srcdir)/bindings/java/pom.xml || \
		{ echo 'bindings/java/pom.xml is not of version $(PACKAGE_VERSION)' >&2; exit 1; }
	@test -n '$(MVN)' || { echo 'check-java: the suite needs Maven' >&2; exit 1; }
	@rm -f build/java/suite.status; \
	{ unset SOCKREF_DIR SOCKREF_GUARD XDG_RUNTIME_DIR; \
	$(java_maven) $(if $(JAVA_TEST),-Dtest='$(JAVA_TEST)') test 2>&1; echo $$? > build/java/suite.status; } | \
		tee build/java/suite.log; \
	if grep -E 'WARNING in native method|FATAL ERROR in native method' build/java/suite.log; then \
		echo 'check-java: the VM found a fault in native code' >&2; exit 1; fi; \
	exit `cat build/java/suite.status`
BINDING_CHECK += check-java

# Documentation comments are complete and right.
check-javadoc: $(java_stamp_file)
	$(AM_V_GEN)$(MKDIR_P) build/java/javadoc && \
	`dirname $(JAVAC)`/javadoc $(java_brief:%=-J%) -quiet -Xdoclint:all -Werror -d build/java/javadoc \
		`for file in $(java_classes) $(java_generated_classes); do echo "$(srcdir)/$$file"; done`
endif

.PHONY: java-dist check-java check-javadoc
