"""Builds the compiled data plane, gw/_fast. GW_BUILD chooses the mode: release (default), debug, trace, asan.

GW_MODULES=path,radix builds only those modules, for work on one of them.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup

MODE = os.environ.get("GW_BUILD", "release")
MODES = {
    "release": (["-O2", "-g0"], [], {}),
    "debug": (["-O0", "-g", "-DGW_DEBUG"], [], {"boundscheck": True, "wraparound": True, "cdivision": False}),
    "trace": (["-O0", "-g", "-DCYTHON_TRACE_NOGIL=1"], [], {"linetrace": True}),
    "asan": (["-O1", "-g", "-DGW_DEBUG", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"], ["-fsanitize=address,undefined"], {"emit_code_comments": False}),
}
LIBRARIES = {"tls": ["ssl", "crypto"], "tls_context": ["ssl", "crypto"], "x509": ["crypto"], "llhttp": ["dl"]}
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "auto_pickle": False,
    "embedsignature": False,
    "legacy_implicit_noexcept": False,
}


def require_toolchain(probe: str, advice: str) -> None:
    """Stop with one sentence when a compiler or a header is missing, instead of a page of compiler output."""
    compiler = (os.environ.get("CC") or "cc").split()
    if shutil.which(compiler[0]) is None:
        sys.exit(f"gw: no C compiler '{compiler[0]}' found. Install one (Debian: apt-get install gcc python3-dev) or set CC.")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(probe)
        import sysconfig

        command = [*compiler, "-I", sysconfig.get_path("include"), "-fsyntax-only", str(source)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            sys.exit(advice)


def extensions() -> list:
    from Cython.Build import cythonize

    compile_args, link_args, directives = MODES[MODE]
    only = set(filter(None, os.environ.get("GW_MODULES", "").split(",")))
    sources = [path for path in sorted(Path("gw/_fast").glob("*.pyx")) if not only or path.stem in only]
    found = [
        Extension(f"gw._fast.{path.stem}", [str(path)], libraries=LIBRARIES.get(path.stem, []), extra_compile_args=[*compile_args, "-Wno-unused-function"], extra_link_args=link_args)
        for path in sources
    ]
    debug = MODE == "debug"
    build_dir = None if MODE == "trace" else f"build/cython-{MODE}"
    emit = MODE in ("debug", "asan")
    return cythonize(found, compiler_directives={**DIRECTIVES, **{k: v for k, v in directives.items() if k != "emit_code_comments"}}, annotate=debug, emit_linenums=emit, build_dir=build_dir, nthreads=0, quiet=True)


if MODE not in MODES:
    sys.exit(f"gw: GW_BUILD={MODE} is not a build mode; expected one of {', '.join(MODES)}.")
building = {"build_ext", "build", "bdist_wheel", "install", "develop", "editable_wheel"} & set(sys.argv)
if building:
    require_toolchain("#include <Python.h>\n", "gw: Python.h not found. Install the headers of this Python (Debian: apt-get install python3-dev).")
    require_toolchain("#include <openssl/ssl.h>\n", "gw: openssl/ssl.h not found. Install the OpenSSL headers (Debian: apt-get install libssl-dev; Fedora: dnf install openssl-devel).")
setup(ext_modules=extensions() if building else [])
