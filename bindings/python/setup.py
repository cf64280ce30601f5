"""The extension module, against a libsockref that pkg-config knows, with that library and its guard beside it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

from setuptools import Extension, __version__ as setuptools_version, setup
from setuptools.command.build_ext import build_ext

# Else it says many things of pyproject.toml, and not this one.
if int(setuptools_version.split(".")[0]) < 77:
    sys.exit(f"sockref: setuptools >= 77 is needed, and this is {setuptools_version}: upgrade it, or leave it to pip's build isolation")

# Before 3.15 it has no stable ABI, and after that another one.
if "t" in sys.abiflags:
    sys.exit("sockref does not work on free-threaded CPython: use one with the GIL")

with open("pyproject.toml", "rb") as project:
    VERSION = tomllib.load(project)["project"]["version"]
WRAPPER = "src/lowlevel_wrap.c"

# In a checkout that was built, what SWIG generated is taken from there; a source package has it.
CHECKOUT = {
    "../../LICENSE": "LICENSE",
    "../../swig/generated/sockref_python_wrap.c": WRAPPER,
    "../../swig/generated/python/lowlevel.py": "sockref/lowlevel.py",
}


def pkg_config(*questions: str) -> str:
    try:
        told = subprocess.check_output([os.environ.get("PKG_CONFIG", "pkg-config"), *questions])
    except (OSError, subprocess.CalledProcessError):
        sys.exit(f"sockref: pkg-config does not know libsockref >= {VERSION}; install it, or set PKG_CONFIG_PATH")
    # Of a letter outside ASCII it escapes each byte by itself, which leaves no UTF-8.
    return os.fsdecode(re.sub(rb"\\([\x80-\xff])", rb"\1", told)).strip()


def flags(question: str) -> list[str]:
    return shlex.split(pkg_config(question, f"sockref >= {VERSION}"))


def variable(name: str) -> str:
    return pkg_config(f"--variable={name}", "sockref")


def library_file() -> str:
    """The library under its SONAME, which is what the extension asks for."""
    directory = variable("libdir")
    found = os.path.realpath(os.path.join(directory, "libsockref.so"))
    soname = re.match(r"libsockref\.so\.\d+", os.path.basename(found))
    if not soname:
        sys.exit(f"sockref: there is no shared library in {directory}")
    return os.path.join(directory, soname.group())


class build_with_companions(build_ext):
    """One wheel has all: the library is found by RUNPATH $ORIGIN, and it looks for its guard beside itself."""

    def run(self) -> None:
        self.force = True  # else what an earlier build took from another library stays, where it is newer
        super().run()
        for source, copy in self.companions().items():
            self.copy_file(source, copy)

    def companions(self) -> dict[str, str]:
        directory = os.path.dirname(self.get_ext_fullpath("sockref._lowlevel"))
        sources = [library_file(), variable("guard")]
        return {source: os.path.join(directory, os.path.basename(source)) for source in sources}

    def get_outputs(self) -> list[str]:
        return [*super().get_outputs(), *self.companions().values()]


def find_sources() -> None:
    if all(map(os.path.exists, CHECKOUT)):
        os.makedirs("src", exist_ok=True)
        for source, copy in CHECKOUT.items():
            shutil.copyfile(source, copy)
    if not os.path.exists(WRAPPER):
        sys.exit("sockref: make at the top has not built the Python binding: run scripts/build there first")


def extension() -> Extension:
    return Extension(
        "sockref._lowlevel",
        sources=[WRAPPER],
        define_macros=[("Py_LIMITED_API", "0x030B0000")],
        extra_compile_args=["-std=gnu11", "-fvisibility=hidden", "-fno-strict-aliasing", *flags("--cflags")],
        extra_link_args=[*flags("--libs"), "-Wl,-rpath,$ORIGIN", "-Wl,--enable-new-dtags"],
        py_limited_api=True,
    )


if "egg_info" not in sys.argv:
    find_sources()
# A source package is made where nothing is installed yet. One wheel serves CPython 3.11 and later.
building = "sdist" not in sys.argv and "egg_info" not in sys.argv
setup(
    cmdclass={"build_ext": build_with_companions},
    ext_modules=[extension()] if building else [],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
