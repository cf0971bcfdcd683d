# SPDX-License-Identifier: GPL-2.0-only
"""What is public: names, the stub of the binding, docstrings, the tree of errors."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import rumpel
from rumpel import _native, errors

SOURCE = Path(rumpel.__file__).parent
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(SOURCE)], "rumpel.")
    if not module.name.startswith(("rumpel.build", "rumpel.cli"))
    # Loaded by gdb, and by programs of the host.
    and module.name not in ("rumpel.gdb.commands", "rumpel.gdb.kernels", "rumpel.net._preload")
)


def test_all_names_exist() -> None:
    for name in rumpel.__all__:
        assert getattr(rumpel, name) is not None
    assert rumpel.__all__ == sorted(rumpel.__all__)


def test_there_is_no_other_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'boots'"):
        rumpel.boots  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", ["build", "images", "md", "nf", "packets", "run"])
def test_usages_are_imported_by_their_own_names(name: str) -> None:
    """It is said, and true."""
    code = f"import rumpel; rumpel.{name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.endswith(f"has no attribute '{name}'; import rumpel.{name} first\n")
    subprocess.run([sys.executable, "-c", f"import rumpel.{name}; rumpel.{name}"], check=True)


@pytest.mark.parametrize("name", ["", ".build", ".devices", ".images", ".net", ".run", ".sandbox"])
def test_all_names_are_listed(name: str) -> None:
    """For completion, though most are imported when they are used."""
    code = (
        f"import rumpel{name} as package; print(*sorted({{*package.__all__}} - {{*dir(package)}}))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "\n"


def test_its_packages_come_with_it() -> None:
    """As the documentation writes them, behind `import rumpel`."""
    used = ["aio.run", "crash.report", "net.TcpInfo", "sandbox.boot"]
    code = f"import rumpel; rumpel.{'; rumpel.'.join(used)}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_errors_are_public_and_stand_in_the_tree() -> None:
    own = {
        n for n, c in vars(errors).items() if inspect.isclass(c) and c.__module__ == errors.__name__
    }
    assert own == set(errors.__all__) <= set(rumpel.__all__)
    assert errors.__doc__ is not None
    for name in own:
        assert issubclass(getattr(errors, name), errors.RumpelError)
        assert f"{name} " in errors.__doc__ + " " or f"{name}\n" in errors.__doc__


def test_importing_rumpel_is_cheap() -> None:
    """Building kernels needs neither the binding nor what stands above it."""
    code = "import sys, rumpel; print([m for m in sys.modules if m.startswith('rumpel.')])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "['rumpel.forks', 'rumpel.errors']"


def stub() -> ast.Module:
    return ast.parse((SOURCE / "_native.pyi").read_text())


def public(names: list[str]) -> set[str]:
    return {n for n in names if not n.startswith("_")}


def test_the_stub_has_what_the_binding_has() -> None:
    wanted: set[str] = set()
    for node in stub().body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            wanted.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            wanted.add(node.target.id)
    hidden = {"Slot"}
    assert public(dir(_native)) - hidden == public(list(wanted))


def test_the_stub_has_the_methods_that_the_classes_have() -> None:
    for node in stub().body:
        if isinstance(node, ast.ClassDef):
            wanted = {m.name for m in node.body if isinstance(m, ast.FunctionDef)}
            for m in node.body:
                if isinstance(m, ast.AnnAssign) and isinstance(m.target, ast.Name):
                    wanted.add(m.target.id)
            assert public(dir(getattr(_native, node.name))) == public(list(wanted)), node.name


def test_the_stub_documents_everything() -> None:
    for node in ast.walk(stub()):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("__"):
            assert ast.get_docstring(node), node.name


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    """The examples in docstrings that need no kernel."""
    module = importlib.import_module(name)
    if isinstance(module, ModuleType) and name != "rumpel._native":
        failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
        assert not failed
