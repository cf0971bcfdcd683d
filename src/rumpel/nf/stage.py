# SPDX-License-Identifier: GPL-2.0-only
"""What a stage is, and which there are."""

from __future__ import annotations

from types import MappingProxyType, SimpleNamespace

from rumpel.errors import RumpelError
from rumpel.options import Argument, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
    from typing import Any, ClassVar, Literal

    from rumpel.devices import Nic
    from rumpel.kernel import Kernel
    from rumpel.nf.ends import Ends
    from rumpel.nf.namespaces import Namespace
    from rumpel.packets import PacketFormat

    Side = Literal["left", "right"]
else:
    Side = str

__all__ = ["LEFT", "RIGHT", "Side", "Stage", "StageError", "find", "is_stage", "names"]

LEFT: Side = "left"
RIGHT: Side = "right"
_SIGPIPE = 13


class StageError(RumpelError):
    """A stage that cannot be what it was asked to be."""

    @classmethod
    def of(cls, error: OSError) -> StageError:
        """Why a file cannot be opened, in the words of a shell."""
        return cls(f"{error.filename}: {error.strerror}")


class Stage:
    """A network function: a kernel with a port on the left, one on the right, or both.

    Packets come in on the left as standard input has them, and leave on the right, on
    standard output; answers go the other way. In the kernel the ports are the interfaces
    ``left`` and ``right``, both down at first.

    The docstring is the command's help, its first line the line in the list of stages.

    Attributes:
        ports: which ones it has. A stage with one is an end of a chain, and has the other
            one if it stands at the other end.
        params: its options and arguments.
        options: their values.
        answers: it answers on its sides for everybody on the other one, as routers do; else
            who is behind it is asked.
        deaf: it only sends, and hears nothing of what comes back.
        one_way: the ports through which packets only come, or only go: nobody is to be asked
            for an address there.
        offloads: the kernels next to this one may leave segments of TCP whole, and checksums
            to it. Not where packets are to be seen as they are on a wire.
        unfusable: why it cannot be in a process with others, if it cannot.
        needs_answers: what it runs makes no sense any more once nothing can come back.
        blocks: a :meth:`run` that is no coroutine function does what it does in the thread that
            calls it. Not if it only returns a coroutine, or None.
        is_gone: for a :meth:`run` that is no coroutine, which nobody can cancel: is there
            nobody behind the ports any more?
        linux: which kernel it gets: ``version`` or ``image``, as :func:`rumpel.boot` has them.
        devices: the ports that are to be devices of their own, where stages share a kernel: of
            these there are :attr:`interfaces`, for :meth:`rumpel.Nic.capture`, say; and who
            sends through them waits for the slowest one behind.
        interfaces: the devices that the stage has, by name, when it is configured.
        namespace: the network namespace in which it is, where stages share a kernel. All of these
            methods are called in there; a thread that the stage starts itself goes there by
            ``with self.namespace:``.

    Example:
        >>> class Hub(Stage):
        ...     '''Carry all packets on.'''
        ...     def configure(self, k):
        ...         self.bridge(k)
    """

    ports: Sequence[Side] = (LEFT, RIGHT)
    params: ClassVar[Sequence[Option | Argument]] = ()
    answers: bool = False
    deaf: bool = False
    one_way: frozenset[Side] = frozenset()
    needs_answers: bool = False
    blocks: bool = True
    linux: Mapping[str, Any] = MappingProxyType({})
    offloads: bool = True
    unfusable: str = ""
    devices: Collection[Side] = ()
    interfaces: Mapping[str, Nic]
    namespace: Namespace | None = None

    def __init__(self, **options: Any) -> None:
        self.options = SimpleNamespace(**options)
        self.is_gone: Callable[[], bool] = lambda: False

    @property
    def port(self) -> Side:
        """The port of a stage that has only one."""
        return self.ports[0]

    def nics(self) -> dict[str, Nic]:
        """Interfaces that this stage brings along.

        To be overridden by stages that reach something else. Their names are those of the
        interfaces in the kernel. A :class:`rumpel.PipeNic` that is only read counts as on
        the left: the stage waits for its end.
        """
        return {}

    def configure(self, k: Kernel) -> None:
        """Set up a kernel that has just been booted. To be overridden.

        Raises:
            StageError: if an option makes no sense.
        """
        raise NotImplementedError(f"{type(self).__name__} has no configure()")

    def run(self, k: Kernel) -> int | Coroutine[Any, Any, int | None] | None:
        """Do what there is to do; when it returns, nothing more will be sent.

        To be overridden by stages that talk; it may be a coroutine function. None: there is
        nothing, the stage ends when its input does. In a fused chain what all stages do is done
        at once, and the first one that returns a number ends it. One that blocks has a thread
        there, and cannot be beside others on a virtual clock.

        Returns:
            The exit code.
        """
        return None

    def run_alone(self, k: Kernel) -> int | None:
        """Do the same without a coroutine, where nobody else in the process does anything.

        To be overridden, if at all, by stages whose :meth:`run` is a coroutine function and that
        are to start fast: to import asyncio takes longer than to boot.
        """
        raise NotImplementedError(f"{type(self).__name__} has no run_alone()")

    def left_alone(self) -> int:
        """Called when nobody is behind the ports any more before :meth:`run` has returned.

        Such a coroutine is cancelled.

        Returns:
            The exit code.
        """
        return 128 + _SIGPIPE

    def serve(self, k: Kernel) -> list[Coroutine[Any, Any, None]]:
        """What it does for others, until it is cancelled at the end of the chain.

        To be overridden by stages that serve. Where a server listens, it should do so from
        :meth:`configure` on.
        """
        return []

    def end(self, k: Kernel) -> None:
        """Called before the kernel is halted."""

    def process(
        self,
        ends: Ends,
        name: str,
        *,
        linux: Mapping[str, Any] | None = None,
        write: PacketFormat = "text",
        ready: Callable[[], None] = lambda: None,
        kernel: Kernel | None = None,
    ) -> int:
        """Be a process between descriptors, until it ends: see :func:`rumpel.nf.runner.run`."""
        from rumpel.nf.runner import run

        return run(self, ends, name, linux=linux, write=write, ready=ready, kernel=kernel)

    def address(self, k: Kernel, port: Side, text: str) -> None:
        """Give a port an address, and let everybody be behind it.

        Raises:
            StageError: if it is no address.
        """
        from rumpel.nf.routing import address

        try:
            address(k, port, text, port in self.one_way)
        except ValueError as error:
            raise StageError(str(error)) from None

    def nft(self, k: Kernel, ruleset: str) -> None:
        """Load a ruleset of nftables.

        Raises:
            StageError: if nft does not take it, in its own words.
        """
        try:
            k.net.nft(ruleset)
        except (ValueError, OSError) as error:
            raise StageError(f"nft does not take the rules: {error}") from None

    def bridge(self, k: Kernel) -> None:
        """Join the ports at the level of Ethernet, so that nobody notices the stage."""
        from rumpel.nf.wire import bridge

        bridge(k, self.ports)

    def route(self, k: Kernel) -> None:
        """Join the ports at the level of IP: what comes in on one goes out on the other."""
        from rumpel.nf.routing import route

        route(k, self.one_way)


_STAGES = {
    "bridge": ("rumpel.nf.stages.bridge", "Bridge"),
    "filter": ("rumpel.nf.stages.filter", "Filter"),
    "host": ("rumpel.nf.stages.host", "Host"),
    "mangle": ("rumpel.nf.stages.mangle", "Mangle"),
    "mux": ("rumpel.nf.stages.mux", "Mux"),
    "nat": ("rumpel.nf.stages.nat", "Nat"),
    "offload": ("rumpel.nf.stages.offload", "Offload"),
    "packet": ("rumpel.nf.stages.packet", "Packet"),
    "pcap": ("rumpel.nf.stages.pcap", "Pcap"),
    "ping": ("rumpel.nf.stages.ping", "Ping"),
    "route": ("rumpel.nf.stages.route", "Route"),
    "shape": ("rumpel.nf.stages.shape", "Shape"),
    "stats": ("rumpel.nf.stages.stats", "Stats"),
    "tap": ("rumpel.nf.stages.tap", "Tap"),
    "tcp": ("rumpel.nf.stages.tcp", "Tcp"),
    "tee": ("rumpel.nf.stages.tee", "Tee"),
    "tunnel": ("rumpel.nf.stages.tunnel", "Tunnel"),
    "udp": ("rumpel.nf.stages.udp", "Udp"),
    "user": ("rumpel.nf.stages.user", "User"),
    "vlan": ("rumpel.nf.stages.vlan", "Vlan"),
}
"""The stages of this package: where their classes are."""


def _others() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group="rumpel.nf")}


def names() -> list[str]:
    """The names of all stages, also of other packages."""
    return sorted({*_STAGES, *_others()})


def is_stage(name: str) -> bool:
    """Is there a stage of that name?"""
    return name in _STAGES or name in _others()


def find(name: str) -> type[Stage]:
    """Import a stage.

    Raises:
        StageError: if there is none of that name; it suggests those that are meant.
    """
    if name in _STAGES:
        module, attribute = _STAGES[name]
        found = getattr(__import__(module, fromlist=[attribute]), attribute)
    else:
        point = _others().get(name)
        if point is None:
            raise StageError(f"there is no stage {name!r}{suggestion(name)}")
        try:
            found = point.load()
        except (ImportError, AttributeError) as error:
            raise StageError(f"the stage {name!r} cannot be loaded: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Stage)):
        raise StageError(f"the stage {name!r} is no class derived from rumpel.nf.Stage")
    if not all(isinstance(each, (Option, Argument)) for each in found.params):
        raise StageError(
            f"the params of the stage {name!r} must be of rumpel.nf.Option and rumpel.nf.Argument"
        )
    return found


def suggestion(name: str) -> str:
    """Which stage may have been meant."""
    import difflib

    near = difflib.get_close_matches(name, names(), 3)
    return f": do you mean {' or '.join(near)}?" if near else f" (but {', '.join(names())})"
