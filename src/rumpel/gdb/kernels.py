# SPDX-License-Identifier: GPL-2.0-only
"""The kernels of a debugged process, and their tasks, as gdb sees them.

The runtime's list of address ranges (runtime/fault.c) leads to the kernels. A kernel's
image names a file, and beside it lie its symbols (vmlinux) and the layout of its
structures (types.o).

Source: include/linux/sched.h of the kernel; "Extending GDB", GDB manual.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import gdb

from rumpel.symbols import Symbols, addresses, of_image

PAGE = 4096
STATES = {0: "R", 1: "S", 2: "D", 4: "T", 8: "t", 0x40: "P", 0x402: "I"}
"""Of task_struct.__state, as ps names them."""


class NotThereError(Exception):
    """What a command needs is missing; the text says what to do."""


@dataclass
class Kernel:
    """A kernel.

    Attributes:
        number: counted as they are found.
        handle: its struct rumpel_kernel.
        image: the file it was loaded from.
    """

    number: int
    handle: gdb.Value
    image: Path

    @property
    def base(self) -> int:
        """What is added to the addresses in its symbol table."""
        return int(self.handle["arena"]["image"])

    @cached_property
    def symbols(self) -> Symbols:
        """Its functions."""
        return of_image(str(self.image), self.base)

    @cached_property
    def _objects(self) -> dict[str, int]:
        try:
            return addresses(self.image.with_name("vmlinux"), {"init_task", "rumpel_current"})
        except OSError as e:
            raise NotThereError(f"no symbols of {self.image}: {e.strerror}") from e

    @cached_property
    def _task_type(self) -> gdb.Type:
        types = self.image.with_name("types.o")
        for objfile in gdb.objfiles():
            if objfile.filename and Path(objfile.filename) == types:
                break
        else:
            if not types.exists():
                raise NotThereError(
                    f"{types} is missing, an image of an older rumpel; build it again"
                )
            quietly(f"add-symbol-file {types} 0")
            objfile = next(x for x in gdb.objfiles() if x.filename and Path(x.filename) == types)
        symbol = objfile.lookup_global_symbol("init_task")
        if symbol is None or symbol.type is None:
            raise NotThereError(f"{types} does not describe init_task")
        return symbol.type

    def tasks(self) -> Iterator[Task]:
        """All tasks, processes in the order of their beginning, threads behind them."""
        pointer = self._task_type.pointer()
        first = gdb.Value(self._objects["init_task"] + self.base).cast(pointer)
        process = first
        while True:
            yield Task(self, process)
            head = process["signal"]["thread_head"]
            end, node = head.address, head["next"]
            while end is not None and int(node) != int(end):
                thread = _container(node, pointer, "thread_node")
                if int(thread) != int(process):
                    yield Task(self, thread)
                node = node["next"]
            process = _container(process["tasks"]["next"], pointer, "tasks")
            if int(process) == int(first):
                return

    @property
    def current(self) -> int:
        """Address of the task that runs, or ran last."""
        kind = gdb.lookup_type("unsigned long").pointer()
        return int(gdb.Value(self._objects["rumpel_current"] + self.base).cast(kind).dereference())

    @property
    def frame_pointers(self) -> bool:
        """Was it compiled with them?"""
        config = self.image.with_name("config")
        return config.exists() and "CONFIG_FRAME_POINTER=y" in config.read_text()

    def log(self) -> str:
        """What it printed, as the runtime keeps it."""
        log = self.handle["log"]
        end, size = int(log["end"]), 1 << 20
        memory = gdb.selected_inferior().read_memory(int(log["ring"]), min(end, size)).tobytes()
        at = end % size if end > size else 0
        text = memory[at:] + memory[:at]
        return text.decode(errors="replace")


@dataclass
class Task:
    """A task of a kernel; ``value`` is its struct task_struct *."""

    kernel: Kernel
    value: gdb.Value

    @property
    def pid(self) -> int:
        """As in the initial namespace."""
        return int(self.value["pid"])

    @property
    def comm(self) -> str:
        """Its name."""
        return self.value["comm"].string(errors="replace")

    @property
    def is_current(self) -> bool:
        """Does the kernel run it, or has it last?"""
        return int(self.value) == self.kernel.current

    @property
    def state(self) -> str:
        """A letter, as ps prints it."""
        state = int(self.value["__state"])
        return STATES.get(state) or STATES.get(state & 0x7F, "?")

    @property
    def caller(self) -> int:
        """Address of the struct rumpel_caller of the host code whose task it is, or 0."""
        return int(self.value["thread"]["caller"])

    def backtrace(self) -> Iterator[tuple[int, str]]:
        """Addresses and names on its stack, the innermost first.

        Without frame pointers every word that points into a function is taken: more
        than the truth, never less.
        """
        low = int(self.value["stack"])
        high = low + 4 * PAGE * (2 if "PROVE_LOCKING=y" in self._config else 1)
        sp = int(self.value["thread"]["context"]["sp"])
        if self.is_current:
            sp = _thread_within(low, high) or sp
        if not low <= sp < high:
            return
        memory = gdb.selected_inferior().read_memory(sp, high - sp).tobytes()
        words = memoryview(memory[: len(memory) & ~7]).cast("Q")
        at = (words[0] - sp) // 8 if self.kernel.frame_pointers and not self.is_current else 0
        while 0 <= at < len(words) - 1:
            address = words[at + 1] if self.kernel.frame_pointers else words[at]
            name = self.kernel.symbols.name(address)
            if name is not None:
                yield address, name
            after = (words[at] - sp) // 8 if self.kernel.frame_pointers else at + 1
            if after <= at:
                return
            at = after

    @property
    def _config(self) -> str:
        config = self.kernel.image.with_name("config")
        return config.read_text() if config.exists() else ""


def kernels() -> list[Kernel]:
    """All kernels of the process.

    Raises:
        NotThereError: if the process has no librumpel with debug information.
    """
    try:
        item = gdb.parse_and_eval("'fault.c'::ranges")
    except gdb.error as e:
        raise NotThereError(f"this process has not loaded rumpel ({e})") from e
    mapped = None
    found = []
    while int(item):
        if int(item["kernel"]):
            mapped = mapped or gdb.execute("info proc mappings", to_string=True)
            image = _mapped_file(mapped, int(item["text_start"]))
            if image is not None:
                found.append(Kernel(0, item["kernel"].dereference(), image))
        item = item["next"]
    found.reverse()  # the runtime adds at the head
    for number, kernel in enumerate(found, 1):
        kernel.number = number
    return found


def quietly(command: str) -> None:
    """Run a command of gdb, with no question asked and nothing printed."""
    before = "on" if gdb.parameter("confirm") else "off"
    gdb.execute("set confirm off", to_string=True)
    try:
        gdb.execute(command, to_string=True)
    finally:
        gdb.execute(f"set confirm {before}", to_string=True)


def _mapped_file(mappings: str, address: int) -> Path | None:
    for line in mappings.splitlines():
        found = re.match(r"\s*0x([0-9a-f]+)\s+0x([0-9a-f]+)\s.*?(/\S.*)$", line)
        if found and int(found[1], 16) <= address < int(found[2], 16):
            return Path(found[3])
    return None


def _container(node: gdb.Value, pointer: gdb.Type, member: str) -> gdb.Value:
    """container_of(): the structure whose list head a node is."""
    for field in pointer.target().fields():
        if field.name == member and field.bitpos is not None:
            return gdb.Value(int(node) - field.bitpos // 8).cast(pointer)
    raise NotThereError(f"this kernel's tasks have no {member}")


def _thread_within(low: int, high: int) -> int:
    """The stack pointer of a host thread that runs on this stack, or 0."""
    selected = gdb.selected_thread()
    try:
        for thread in gdb.selected_inferior().threads():
            thread.switch()
            sp = int(gdb.parse_and_eval("$rsp"))
            if low <= sp < high:
                return sp
    finally:
        if selected is not None:
            selected.switch()
    return 0
