"""Builds the compiled data plane, gw/_fast. GW_BUILD chooses the mode: release (default), debug, trace, asan.

GW_MODULES=path,radix builds only those modules, for work on one of them; GW_MODULES=none builds none.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup

SANITIZE = "-fsanitize=address,undefined"
MODES = {  # compiler arguments, linker arguments, Cython directives
    "release": (["-O3", "-g0"], [], {}),
    "debug": (["-O0", "-g", "-DGW_DEBUG"], [], {"boundscheck": True, "wraparound": True, "cdivision": False}),
    "trace": (["-O0", "-g", "-DCYTHON_TRACE_NOGIL=1"], [], {"linetrace": True}),
    "asan": (["-O1", "-g", "-DGW_DEBUG", "-fno-omit-frame-pointer", SANITIZE], [SANITIZE], {}),
}
# Compare-and-swap of 16 bytes: x86-64 has it since 2006, but compilers do not use it unasked.
COMPILE = dict.fromkeys(("bucket", "lease"), ["-mcx16"] if platform.machine() == "x86_64" else [])
LIBRARIES = {
    "jwt_step": ["crypto"],
    "api_keys": ["crypto"],
    "keys": ["crypto"],
    "token_cache": ["crypto"],
    "tls": ["ssl", "crypto"],
    "tls_context": ["ssl", "crypto"],
    "x509": ["crypto"],
    "llhttp": ["dl"],
}
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "auto_pickle": False,  # else stubtest meets __reduce_cython__ everywhere
    "embedsignature": False,
    "legacy_implicit_noexcept": False,
}


def require_toolchain() -> None:
    """Stop with one sentence when the compiler or a header is missing, instead of a page of compiler output."""
    compiler = (os.environ.get("CC") or "cc").split()
    if shutil.which(compiler[0]) is None:
        sys.exit(f"gw: no C compiler '{compiler[0]}' found. Install one (Debian: apt-get install gcc libc6-dev) or set CC.")
    require_header(compiler, "Python.h", "the headers of this Python (Debian: apt-get install python3-dev)")
    require_header(compiler, "openssl/ssl.h", "the OpenSSL headers (Debian: apt-get install libssl-dev; Fedora: dnf install openssl-devel)")


def require_header(compiler: list, header: str, package: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(f"#include <{header}>\n")
        flags = [*os.environ.get("CFLAGS", "").split(), "-I", sysconfig.get_path("include")]
        if subprocess.run([*compiler, *flags, "-fsyntax-only", str(source)], capture_output=True, check=False).returncode:
            sys.exit(f"gw: {header} not found. Install {package}.")


def extensions(mode: str) -> list:
    from Cython.Build import cythonize

    compile_args, link_args, directives = MODES[mode]
    only = set(filter(None, os.environ.get("GW_MODULES", "").split(",")))
    compile_args = [*compile_args, "-Wno-unused-function", "-Wno-sign-compare"]
    found = [
        Extension(
            f"gw._fast.{path.stem}",
            [str(path)],
            libraries=LIBRARIES.get(path.stem, []),
            extra_compile_args=[*compile_args, *COMPILE.get(path.stem, [])],
            extra_link_args=link_args,
        )
        for path in sorted(Path("gw/_fast").glob("*.pyx"))
        if not only or path.stem in only
    ]
    return cythonize(
        found,
        compiler_directives={**DIRECTIVES, **directives},
        annotate=mode == "debug",
        emit_linenums=mode in ("debug", "asan"),
        build_dir=None if mode == "trace" else f"build/cython-{mode}",  # line coverage wants the .c beside the .pyx
        quiet=True,
    )


mode = os.environ.get("GW_BUILD", "release")
if mode not in MODES:
    sys.exit(f"gw: GW_BUILD={mode} is not a build mode; expected one of {', '.join(MODES)}.")
building = bool({"build_ext", "build", "bdist_wheel", "install", "develop", "editable_wheel"} & set(sys.argv))
if building:
    require_toolchain()
setup(ext_modules=extensions(mode) if building else [], options={"build_ext": {"parallel": os.cpu_count()}})
