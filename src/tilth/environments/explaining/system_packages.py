"""What a build lacked of the system, from what it printed, and the packages that have it."""

from __future__ import annotations

import re
from typing import NamedTuple


class Lacking(NamedTuple):
    """A header or program that a build did not find."""

    what: str
    debian: str  # package, also of Ubuntu
    homebrew: str  # formula

    def mend(self) -> str:
        """What to do, as a hint."""
        brew = self.homebrew if self.homebrew.startswith("xcode") else f"brew install {self.homebrew}"
        return (
            f"the build lacks `{self.what}`: `apt-get install {self.debian}` on Debian and Ubuntu, "
            f"`{brew}` on macOS, or ask for a version that has a wheel"
        )


_COMPILER = ("build-essential", "xcode-select --install")
# Header, or the beginning of its path -> Debian package, Homebrew formula.
_HEADERS = {
    "Python.h": ("python3-dev", "python"),
    "alsa/": ("libasound2-dev", "portaudio"),
    "boost/": ("libboost-all-dev", "boost"),
    "bzlib.h": ("libbz2-dev", "bzip2"),
    "cairo": ("libcairo2-dev", "cairo"),
    "cblas.h": ("libopenblas-dev", "openblas"),
    "curl/": ("libcurl4-openssl-dev", "curl"),
    "Eigen/": ("libeigen3-dev", "eigen"),
    "expat.h": ("libexpat1-dev", "expat"),
    "ffi.h": ("libffi-dev", "libffi"),
    "fftw3.h": ("libfftw3-dev", "fftw"),
    "freetype": ("libfreetype-dev", "freetype"),
    "ft2build.h": ("libfreetype-dev", "freetype"),
    "gdal": ("libgdal-dev", "gdal"),
    "geos_c.h": ("libgeos-dev", "geos"),
    "glib.h": ("libglib2.0-dev", "glib"),
    "gmp.h": ("libgmp-dev", "gmp"),
    "graphviz/": ("libgraphviz-dev", "graphviz"),
    "gssapi/": ("libkrb5-dev", "krb5"),
    "hdf5.h": ("libhdf5-dev", "hdf5"),
    "jpeglib.h": ("libjpeg-dev", "jpeg-turbo"),
    "lber.h": ("libldap-dev", "openldap"),
    "ldap.h": ("libldap-dev", "openldap"),
    "libmemcached/": ("libmemcached-dev", "libmemcached"),
    "libpq-fe.h": ("libpq-dev", "libpq"),
    "libxml/": ("libxml2-dev", "libxml2"),
    "libxslt/": ("libxslt1-dev", "libxslt"),
    "lzma.h": ("liblzma-dev", "xz"),
    "mpi.h": ("libopenmpi-dev", "open-mpi"),
    "mpfr.h": ("libmpfr-dev", "mpfr"),
    "mysql.h": ("default-libmysqlclient-dev", "mysql-client"),
    "mysql/": ("default-libmysqlclient-dev", "mysql-client"),
    "netcdf.h": ("libnetcdf-dev", "netcdf"),
    "openssl/": ("libssl-dev", "openssl"),
    "png.h": ("libpng-dev", "libpng"),
    "portaudio.h": ("portaudio19-dev", "portaudio"),
    "proj.h": ("libproj-dev", "proj"),
    "readline/": ("libreadline-dev", "readline"),
    "sasl/": ("libsasl2-dev", "cyrus-sasl"),
    "snappy-c.h": ("libsnappy-dev", "snappy"),
    "sndfile.h": ("libsndfile1-dev", "libsndfile"),
    "sodium.h": ("libsodium-dev", "libsodium"),
    "sql.h": ("unixodbc-dev", "unixodbc"),
    "sqlite3.h": ("libsqlite3-dev", "sqlite"),
    "systemd/": ("libsystemd-dev", ""),
    "tiff.h": ("libtiff-dev", "libtiff"),
    "yaml.h": ("libyaml-dev", "libyaml"),
    "zlib.h": ("zlib1g-dev", "zlib"),
    "zmq.h": ("libzmq3-dev", "zeromq"),
    "zstd.h": ("libzstd-dev", "zstd"),
    # Of the C and C++ libraries themselves: there is a compiler, and nothing to compile with.
    "stdio.h": _COMPILER,
    "stdlib.h": _COMPILER,
    "limits.h": _COMPILER,
    "iostream": _COMPILER,
}
_PROGRAMS = {
    "autoreconf": ("autoconf automake libtool", "autoconf automake libtool"),
    "bison": ("bison", "bison"),
    "c++": _COMPILER,
    "cargo": ("cargo", "rust"),
    "cc": _COMPILER,
    "clang": ("clang", "xcode-select --install"),
    "cmake": ("cmake", "cmake"),
    "curl-config": ("libcurl4-openssl-dev", "curl"),
    "flex": ("flex", "flex"),
    "g++": _COMPILER,
    "gcc": _COMPILER,
    "gdal-config": ("libgdal-dev", "gdal"),
    "geos-config": ("libgeos-dev", "geos"),
    "gfortran": ("gfortran", "gcc"),
    "git": ("git", "git"),
    "go": ("golang", "go"),
    "h5cc": ("libhdf5-dev", "hdf5"),
    "krb5-config": ("libkrb5-dev", "krb5"),
    "llvm-config": ("llvm-dev", "llvm"),
    "make": _COMPILER,
    "mariadb_config": ("libmariadb-dev", "mariadb-connector-c"),
    "mpicc": ("libopenmpi-dev", "open-mpi"),
    "mysql_config": ("default-libmysqlclient-dev", "mysql-client"),
    "nc-config": ("libnetcdf-dev", "netcdf"),
    "ninja": ("ninja-build", "ninja"),
    "patchelf": ("patchelf", "patchelf"),
    "pg_config": ("libpq-dev", "libpq"),
    "pkg-config": ("pkg-config", "pkgconf"),
    "protoc": ("protobuf-compiler", "protobuf"),
    "rustc": ("rustc", "rust"),
    "swig": ("swig", "swig"),
    "xml2-config": ("libxml2-dev", "libxml2"),
    "xslt-config": ("libxslt1-dev", "libxslt"),
}
_ALSO = {"x86_64-linux-gnu-gcc": "gcc", "aarch64-linux-gnu-gcc": "gcc", "x86_64-linux-gnu-g++": "g++"}
_NAME = r"(?P<name>[A-Za-z0-9_+./-]+)"
_HEADER = re.compile(
    rf"(?:error|Error):? *['\"<]?{_NAME}['\">]?(?:: No such file or directory|['\"]? file not found| not found)"
)
_PROGRAM = re.compile(
    "|".join(
        pattern.replace("NAME", _NAME.replace("name", f"name{i}"))
        for i, pattern in enumerate(
            (
                r"\bNAME(?:: command)?:? not found\b",
                r"No such file or directory: ['\"]NAME['\"]",
                r"command ['\"]NAME['\"] failed: No such file",
                r"unable to execute ['\"]?NAME['\"]?: No such file",
                r"\bNAME executable (?:is )?(?:not found|missing)",
                r"(?i:could not|cannot|can't|unable to|failed to) (?:find|locate) (?:the )?[`'\"]?NAME\b",
                r"Did not find (?:the )?[`'\"]?NAME\b",
                r"NAME must be installed",
                r"NAME(?: is)? (?:required|needed) to (?:build|compile)",
            )
        )
    )
)
# What is said in words: a name of the tables above.
_SAID = (
    (re.compile(r"(?i)rust(?:c)? (?:compiler|toolchain|is not installed)|find rust compiler"), "cargo"),
    (re.compile(r"(?i)CMake (?:must be installed|is not (?:installed|available))"), "cmake"),
    (re.compile(r"(?i)unknown compiler\(s\): \[\['?(?:gfortran|flang|ifort)"), "gfortran"),
    (re.compile(r"(?i)unknown compiler\(s\): \[\['?(?:cc|gcc|icx?|clang)"), "gcc"),
    (re.compile(r"(?i)unknown compiler\(s\): \[\['?(?:c\+\+|g\+\+|icpx?|clang\+\+)"), "g++"),
    (re.compile(r"(?i)libxml2 and libxslt development packages"), "libxslt/"),
    (re.compile(r"(?i)no (?:blas/lapack|lapack/blas|lapack|blas) (?:resources|libraries)"), "cblas.h"),
    (re.compile(r"(?i)dependency \"?(?:openblas|blas|lapack)\"? not found"), "cblas.h"),
    (re.compile(r"(?i)pg_config executable not found"), "pg_config"),
    (re.compile(r"(?i)can not find valid pkg-config name|pkg-config (?:binary|tool)"), "pkg-config"),
)


def lacking(output: str) -> Lacking | None:
    """What a failed build most likely lacks; None when nothing in its output is known."""
    for match in _HEADER.finditer(output):
        found = _header(match["name"])
        if found:
            return found
    for match in _PROGRAM.finditer(output):
        name = next(each for each in match.groups() if each)
        name = name.lower() if name.lower() in _PROGRAMS else name
        name = _ALSO.get(name, name).rpartition("/")[2]
        if name in _PROGRAMS:
            return Lacking(name, *_PROGRAMS[name])
    for pattern, name in _SAID:
        if pattern.search(output):
            return Lacking(name.rstrip("/"), *(_PROGRAMS.get(name) or _HEADERS[name]))
    return None


def _header(path: str) -> Lacking | None:
    for known, packages in _HEADERS.items():
        exact = path == known or path.endswith(f"/{known}")
        below = not known.endswith(".h") and (path.startswith(known) or f"/{known}" in path)
        if exact or below:
            return Lacking(path, *packages)
    return None
