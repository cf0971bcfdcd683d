# SPDX-License-Identifier: GPL-2.0-only
"""Test modules about files, with the kernel's ``os``, ``io``, ... in place of the host's."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import pkgutil
import sys
import unittest
from typing import Any

import rumpel
from rumpel.swapped import Names, private_copy

SUPPORT = ("import_helper", "script_helper", "socket_helper", "threading_helper", "warnings_helper")
HELPERS = ("test_genericpath",)
"""Test modules that others import."""


def prepare(k: rumpel.Kernel, name: str) -> Any:
    """Load a test module for a kernel that has what the tests want.

    Args:
        k: just booted.
        name: such as ``test_os``.
    """
    _populate(k, name)
    support = importlib.import_module("test.support")
    for helper in SUPPORT:
        importlib.import_module(f"test.support.{helper}")

    opening = {"open": k.open}
    instead: dict[str, Any] = {
        "_io": k.io,
        "builtins": Names("builtins", **{**vars(builtins), **opening}),
        "fcntl": k.fcntl,
        "genericpath": k.os.path.genericpath,
        "glob": k.glob,
        "grp": k.grp,
        "io": k.io,
        "os": k.os,
        "os.path": k.os.path,
        "pathlib": k.pathlib,
        "posix": k.os,
        "posixpath": k.os.path,
        "pwd": k.pwd,
        "select": k.select,
        "shutil": k.shutil,
        "socket": k.socket,
        "tarfile": k.tarfile,
        "tempfile": k.tempfile,
        "zipfile": k.zipfile,
    }
    own = private_copy("test.support.os_helper", instead, globals=opening)
    instead["test.support.os_helper"] = own
    instead["test.support"] = Names("test.support", **{**vars(support), "os_helper": own})
    importing = vars(sys.modules["test.support.import_helper"])

    def import_module(wanted: str, *args: Any, **keywords: Any) -> Any:
        return instead.get(wanted) or importing["import_module"](wanted, *args, **keywords)

    import_helper = Names("import_helper", **{**importing, "import_module": import_module})
    instead["test.support.import_helper"] = import_helper
    instead["test.support"].import_helper = import_helper
    importlib.import_module("test.mapping_tests")

    def resolve_name(wanted: str) -> Any:
        return instead.get(wanted) or pkgutil.resolve_name(wanted)

    # mock.patch("os.getcwd") is about the os that the test has.
    own_pkgutil = Names("pkgutil", **{**vars(pkgutil), "resolve_name": resolve_name})
    mock = private_copy("unittest.mock", {"pkgutil": own_pkgutil})
    instead["unittest.mock"] = mock
    instead["unittest"] = Names("unittest", **{**vars(unittest), "mock": mock})
    instead["test"] = Names(
        "test", **{**vars(sys.modules["test"]), "support": instead["test.support"]}
    )
    for other in HELPERS:
        if other != name:
            copy = private_copy(f"test.{other}", instead, globals=opening)
            instead[f"test.{other}"] = copy
            setattr(instead["test"], other, copy)
    module = private_copy(f"test.{name}", instead, globals=opening)
    # Some tests look their module up by name.
    sys.modules[module.__name__] = module
    return module


def _populate(k: rumpel.Kernel, name: str) -> None:
    """Make the files that tests look for."""
    k.os.mkdir("/tmp/work")
    k.os.chdir("/tmp/work")
    k.os.makedirs("/etc", exist_ok=True)
    with k.open("/etc/passwd", "w") as file:
        file.write("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/sh\n")
    with k.open("/etc/group", "w") as file:
        file.write("root:x:0:\nnogroup:x:65534:\n")
    # Some read their own file.
    spec = importlib.util.find_spec(f"test.{name}")
    here = str(spec and spec.origin)
    k.Path(here).parent.mkdir(parents=True)
    k.copy_in(here, here)
