# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``mangle``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rumpel.nf import middlebox
from rumpel.nf.packet_stage import PacketStage
from rumpel.nf.stage import Side, StageError
from rumpel.options import Argument, Choice, ExistingFile, Option
from rumpel.packets import Packet

_SIDES = {"right": ("left",), "left": ("right",), "both": ("left", "right")}
"""For a direction: the sides that it comes from."""


class Mangle(PacketStage):
    """Change packets by Python code, as boxes on the way do.

    CODE sees each packet as p, with its headers (p.ip, p.tcp and so on, None if there is
    no such header) and their fields as nft(8) calls them: p.tcp.dport, p.ip.ttl. Checksums
    and lengths follow what is set. If its last expression is False, the packet is dropped;
    a packet or a list of packets goes on instead of p. split(), coalesce(),
    rewrite_sequence() and the flags SYN, ACK, ... are there; what is kept from packet to
    packet is kept in the dictionary state.

    --file has a function mangle(p) that returns the same, or batch(packets), which is given
    all that came together and returns what is to go on.

    \b
    Examples:
      rumpel nf mangle 'p.ip and p.ip.ttl > 1' < trace.pcap
      rumpel nf chain 'tcp 10.0.0.2 7 | mangle "p.tcp and p.tcp.strip(30)" | host 10.0.0.2 --echo 7'
    """

    params = (
        Argument("code", required=False),
        Option("--file", type=ExistingFile(), help="Code from a file."),
        Option("--direction", type=Choice(list(_SIDES)), default="both", help="Which way."),
        Option("--keep-checksums", is_flag=True, help="They stay as they are, right or wrong."),
    )

    def begin(self) -> None:
        """Compile the code."""
        if (self.options.code is None) == (self.options.file is None):
            raise StageError("give either CODE or --file")
        self._from = _SIDES[self.options.direction]
        self._scope: dict[str, Any] = {name: getattr(middlebox, name) for name in middlebox.__all__}
        self._scope |= {"Packet": Packet, "state": {}}
        if self.options.code is not None:
            self._where = "<code>"
            self._run(compile_code(self.options.code, self._where))
        else:
            self._where = self.options.file
            try:
                source = Path(self.options.file).read_bytes()
                self._run(compile(source, self._where, "exec"))
            except (OSError, SyntaxError, ValueError) as error:
                raise StageError(str(error)) from None
        self._batch = self._scope.get("batch")
        self._mangle = self._scope.get("mangle")
        if not callable(self._batch) and not callable(self._mangle):
            raise StageError(f"{self._where} has no function mangle(p) or batch(packets)")

    def packets(self, items: list[Packet | bytes], side: Side) -> Sequence[Packet | bytes]:
        """Call the code for each packet, or for all."""
        if side not in self._from:
            return items
        if self.options.keep_checksums:
            for item in items:
                if not isinstance(item, bytes):
                    item.checksums = False
        try:
            if callable(self._batch):
                return _checked(self._batch(items))
            assert self._mangle is not None
            return _each(items, self._mangle)
        except StageError:
            raise
        except Exception as error:
            raise self._failed(error) from None

    def _run(self, code: Any) -> None:
        try:
            exec(code, self._scope)
        except Exception as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> StageError:
        """An error of the user's code, with its line."""
        line, trace = None, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self._where:
                line = trace.tb_lineno
            trace = trace.tb_next
        where = self._where if line is None else f"{self._where}, line {line}"
        return StageError(f"{where}: {type(error).__name__}: {error}")


def compile_code(text: str, where: str) -> Any:
    """Make a function ``mangle(p)`` of statements, the last of which may be its value.

    Raises:
        StageError: if that is not Python.
    """
    try:
        body = ast.parse(text.strip(), where).body
        if not body:
            raise StageError("there is no code")
        if isinstance(body[-1], ast.Expr):
            body[-1] = ast.copy_location(ast.Return(body[-1].value), body[-1])
        module = ast.parse("def mangle(p): pass", where)
        function = module.body[0]
        assert isinstance(function, ast.FunctionDef)
        function.body = body
        return compile(module, where, "exec")
    except (SyntaxError, ValueError) as error:
        raise StageError(f"not Python: {error}") from None


def _each(items: list[Packet | bytes], mangle: Callable[[Packet], Any]) -> Sequence[Packet | bytes]:
    out: list[Packet | bytes] = []
    for item in items:
        if item.__class__ is bytes:
            out.append(item)
            continue
        result = mangle(item)  # type: ignore[arg-type]
        # What strip() returns, and other truths, say nothing.
        if result is None or result is True or result.__class__ is int:
            out.append(item)
        elif result is False:
            continue
        elif isinstance(result, Packet):
            out.append(result)
        else:
            out.extend(_checked(result))
    return out


def _checked(result: Any) -> list[Packet | bytes]:
    if isinstance(result, Iterable) and not isinstance(result, str | bytes):
        packets = list(result)
        if all(isinstance(x, Packet | bytes) for x in packets):
            return packets
    raise StageError(f"the code returns neither packets nor a truth, but {result!r:.60}")
