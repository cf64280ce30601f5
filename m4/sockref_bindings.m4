# Which bindings are built, and why one is left out.

# SOCKREF_LEAVE_OUT(binding, reason)
# The first reason is the one that is told.
AC_DEFUN([SOCKREF_LEAVE_OUT], [AS_IF([test "x$with_$1" = xyes],
    [with_$1=no; $1_summary="no ($2)"])])

# SOCKREF_BINDING(binding, Name, checks)
# Runs the checks unless the binding is disabled; a binding that was asked for by --enable must be possible.
AC_DEFUN([SOCKREF_BINDING], [
    AC_ARG_ENABLE([$1], [AS_HELP_STRING([--disable-$1], [leave the $2 binding out])],
        [], [enable_$1=auto])
    with_$1=yes
    $1_summary=yes
    AS_IF([test "x$enable_$1" = xno], [SOCKREF_LEAVE_OUT([$1], [--disable-$1])])
    AS_IF([test "x$enable_sanitize" != xno],
        [SOCKREF_LEAVE_OUT([$1], [--enable-sanitize builds the C library alone])])
    AS_IF([test "x$enable_shared" = xno],
        [SOCKREF_LEAVE_OUT([$1], [--disable-shared: each binding loads the shared library])])
    AS_IF([test ! -f "$srcdir/swig/$1.i"], [SOCKREF_LEAVE_OUT([$1], [swig/$1.i is missing])])
    AS_IF([test "x$with_$1" = xyes && test -z "$SWIG" && test ! -f "$srcdir/swig/generated/$1.stamp"],
        [SOCKREF_LEAVE_OUT([$1],
            [no SWIG >= sockref_swig_minimum, and no wrapper came with the sources; run scripts/setup])])
    AS_IF([test "x$with_$1" = xyes], [$3])
    AS_IF([test "x$enable_$1" = xyes && test "x$with_$1" = xno],
        [AC_MSG_ERROR([the $2 binding was asked for, but cannot be built: $$1_summary])])
    AM_CONDITIONAL(m4_toupper([WITH_$1]), [test "x$with_$1" = xyes])
])

AC_DEFUN([SOCKREF_BINDINGS], [
m4_define([sockref_swig_minimum], [4.5.0])
# Tools that scripts/setup put beside the sources come first.
sockref_top=`cd "$srcdir" && pwd`
sockref_tools="$sockref_top/.tools"

AC_ARG_VAR([SWIG], [SWIG, at least ]m4_defn([sockref_swig_minimum])[; "none" to do with the wrappers that came along])
AS_IF([test "x$SWIG" = xnone], [SWIG=],
    [AC_PATH_PROGS([SWIG], [swig], [], [$sockref_tools/swig-venv/bin$PATH_SEPARATOR$PATH])])
AS_IF([test -n "$SWIG"], [
    AC_MSG_CHECKING([for the version of $SWIG])
    swig_version=`"$SWIG" -version 2>/dev/null | $SED -n 's/^SWIG Version //p'`
    AC_MSG_RESULT([${swig_version:-unknown}])
    AS_VERSION_COMPARE([${swig_version:-0}], sockref_swig_minimum, [
        AC_MSG_WARN([$SWIG is older than sockref_swig_minimum and is not used])
        SWIG=
    ])
])
AM_CONDITIONAL([HAVE_SWIG], [test -n "$SWIG"])

AC_ARG_VAR([NODE], [Node.js, at least 20])
AC_ARG_VAR([NPM], [the npm that belongs to NODE])
AC_ARG_VAR([NODE_PREFIX], [directory whose include/node has Node's headers])
AC_ARG_VAR([NODE_MODULES], [directory with node-addon-api; bindings/node/node_modules by default])
AC_PATH_PROGS([NODE], [node nodejs], [], [$sockref_tools/node/bin$PATH_SEPARATOR$PATH])
AC_PATH_PROGS([NPM], [npm], [], [$sockref_tools/node/bin$PATH_SEPARATOR$PATH])
: "${NODE_MODULES:=$sockref_top/bindings/node/node_modules}"
SOCKREF_BINDING([node], [Node], [
    AS_IF([test -z "$NODE"], [SOCKREF_LEAVE_OUT([node], [no node was found])])
    AS_IF([test "x$with_node" = xyes], [
        node_major=`"$NODE" -p 'process.versions.node.split(".")[[0]]' 2>/dev/null`
        AS_IF([test "${node_major:-0}" -lt 20],
            [SOCKREF_LEAVE_OUT([node], [$NODE is version ${node_major:-unknown}, 20 is needed])])
    ])
    AS_IF([test "x$with_node" = xyes && test -z "$NODE_PREFIX"],
        [NODE_PREFIX=`"$NODE" -p 'path.dirname(path.dirname(fs.realpathSync(process.execPath)))'`])
    AS_IF([test ! -f "$NODE_PREFIX/include/node/node_api.h"],
        [SOCKREF_LEAVE_OUT([node], [no headers in $NODE_PREFIX/include/node])])
    AS_IF([test ! -d "$NODE_MODULES/node-addon-api"],
        [SOCKREF_LEAVE_OUT([node], [$NODE_MODULES has no node-addon-api; run npm ci in bindings/node])])
    AS_IF([test -z "$CXX"], [SOCKREF_LEAVE_OUT([node], [no C++ compiler was found])])
])
AC_SUBST([NODE_CPPFLAGS], ["-I$NODE_PREFIX/include/node -I$NODE_MODULES/node-addon-api"])

AC_ARG_VAR([PYTHON], [Python, at least 3.11, with its headers])
AC_PATH_PROGS([PYTHON], [python3 python], [], [$sockref_tools/py/bin$PATH_SEPARATOR$PATH])
SOCKREF_BINDING([python], [Python], [
    AS_IF([test -z "$PYTHON"], [SOCKREF_LEAVE_OUT([python], [no python3 was found])])
    AS_IF([test "x$with_python" = xyes], [
        AS_IF(["$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null], [],
            [SOCKREF_LEAVE_OUT([python], [$PYTHON is older than 3.11])])
        AS_IF(["$PYTHON" -c 'import sys; sys.exit("t" in sys.abiflags)' 2>/dev/null], [],
            [SOCKREF_LEAVE_OUT([python], [$PYTHON is free-threaded])])
        python_include=`"$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null`
        AS_IF([test ! -f "$python_include/Python.h"],
            [SOCKREF_LEAVE_OUT([python], [no Python.h in $python_include])])
    ])
])
AC_SUBST([PYTHON_CPPFLAGS], ["-I$python_include"])

AC_ARG_VAR([JAVA_HOME], [a JDK, at least 17])
AC_ARG_VAR([JAVAC], [the JDK's compiler])
AC_ARG_VAR([MVN], [Maven, for the tests of the Java binding])
sockref_java_path="${JAVA_HOME:+$JAVA_HOME/bin$PATH_SEPARATOR}$PATH"
AC_PATH_PROGS([JAVAC], [javac], [], [$sockref_java_path])
AC_PATH_PROGS([JAVA], [java], [], [$sockref_java_path])
AC_PATH_PROGS([JAR], [jar], [], [$sockref_java_path])
AC_PATH_PROGS([MVN], [mvn])
SOCKREF_BINDING([java], [Java], [
    AS_IF([test -z "$JAVAC" || test -z "$JAR" || test -z "$JAVA"],
        [SOCKREF_LEAVE_OUT([java], [no JDK was found])])
    AS_IF([test "x$with_java" = xyes], [
        java_major=`"$JAVAC" -version 2>&1 | $SED -n 's/^javac \(@<:@0-9@:>@*\).*/\1/p'`
        AS_IF([test "${java_major:-0}" -lt 17],
            [SOCKREF_LEAVE_OUT([java], [$JAVAC is version ${java_major:-unknown}, 17 is needed])])
        java_home="$JAVA_HOME"
        AS_IF([test -z "$java_home"], [
            java_home=`readlink -f "$JAVAC"`
            java_home=`AS_DIRNAME(["$java_home"])`
            java_home=`AS_DIRNAME(["$java_home"])`
        ])
        AS_IF([test ! -f "$java_home/include/jni.h"],
            [SOCKREF_LEAVE_OUT([java], [no jni.h in $java_home/include])])
    ])
])
AC_SUBST([JAVA_CPPFLAGS], ["-I$java_home/include -I$java_home/include/linux"])
])
