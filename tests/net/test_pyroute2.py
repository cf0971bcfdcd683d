# SPDX-License-Identifier: GPL-2.0-only
"""pyroute2's own objects on a library kernel, beside its objects of the host."""

from __future__ import annotations

import asyncio
import errno
import socket as host
import threading
from typing import Any

import pyroute2
import pytest
from pyroute2.nftables.main import NFTables

from rumpel import Kernel
from tests.net.tools import Boot

pytestmark = pytest.mark.kernel


def names(ipr: Any) -> list[str]:
    return [link.get("ifname") for link in ipr.link("dump")]


class TestIPRoute:
    """The class that most people know pyroute2 by."""

    def test_it_is_the_real_class(self, kernel: Kernel) -> None:
        with kernel.iproute() as ipr:
            assert isinstance(ipr, pyroute2.IPRoute)
            assert names(ipr)[0] == "lo"
            ipr.link("add", ifname="br0", kind="bridge")
            (index,) = ipr.link_lookup(ifname="br0")
            ipr.addr("add", index=index, address="10.0.0.1", prefixlen=24)
            ipr.link("set", index=index, state="up")
            ipr.route("add", dst="10.9.0.0/16", gateway="10.0.0.7")
            assert ipr.get_routes(dst="10.9.0.0/16")[0].get("gateway") == "10.0.0.7"
            assert [a.get("address") for a in ipr.get_addr(label="br0")] == ["10.0.0.1"]
        assert "br0" in dict(map(reversed, kernel.socket.if_nameindex()))  # type: ignore[arg-type]

    def test_errors_are_its_own(self, kernel: Kernel) -> None:
        with kernel.iproute() as ipr, pytest.raises(pyroute2.NetlinkError) as caught:
            ipr.link("set", index=999, state="up")
        assert caught.value.code == errno.ENODEV

    def test_the_host_is_still_the_host(self, kernel: Kernel) -> None:
        """Both at the same time, in turns, in one process."""
        with kernel.iproute() as ours, pyroute2.IPRoute() as theirs:
            before = names(theirs)
            ours.link("add", ifname="only-here", kind="dummy")
            assert "only-here" in names(ours)
            assert names(theirs) == before
            assert ours.link_lookup(ifname="only-here")
            assert not theirs.link_lookup(ifname="only-here")
        assert pyroute2.IPRoute is not kernel.pyroute2.IPRoute

    def test_kernels_do_not_see_each_other(self, boot: Boot) -> None:
        kernels = [boot() for _ in range(3)]
        routes = [k.iproute() for k in kernels]
        for number, ipr in enumerate(routes):
            ipr.link("add", ifname=f"d{number}", kind="dummy")
        for number, ipr in enumerate(routes):
            assert [n for n in names(ipr) if n.startswith("d")] == [f"d{number}"]
            ipr.close()

    def test_many_messages(self, kernel: Kernel) -> None:
        """More than fit in one answer: nothing is lost, nothing is there twice."""
        with kernel.iproute() as ipr:
            for number in range(150):
                ipr.link("add", ifname=f"d{number}", kind="dummy")
            found = [n for n in names(ipr) if n.startswith("d")]
        assert sorted(found) == sorted(f"d{n}" for n in range(150))

    def test_events(self, kernel: Kernel) -> None:
        """A thread waits in the kernel for what another does."""
        got: list[str] = []
        ready = threading.Event()

        def watch() -> None:
            with kernel.iproute() as ipr:
                ipr.bind()
                ready.set()
                while "d3" not in got:
                    got.extend(m.get("ifname") for m in ipr.get() if m["event"] == "RTM_NEWLINK")

        thread = threading.Thread(target=watch)
        thread.start()
        assert ready.wait(10)
        with kernel.iproute() as ipr:
            for number in range(4):
                ipr.link("add", ifname=f"d{number}", kind="dummy")
        thread.join(10)
        assert not thread.is_alive()
        assert [n for n in got if n.startswith("d")] == ["d0", "d1", "d2", "d3"]

    def test_closing_ends_the_wait_of_another_thread(self, kernel: Kernel) -> None:
        results: list[Any] = []
        waiting = threading.Event()
        made: list[Any] = []

        def watch() -> None:
            made.append(kernel.iproute())
            made[0].bind()
            waiting.set()
            results.append(list(made[0].get()))

        thread = threading.Thread(target=watch)
        thread.start()
        assert waiting.wait(10)
        thread.join(0.2)
        assert thread.is_alive()
        made[0].close()
        thread.join(10)
        assert not thread.is_alive()
        assert results == [[]]

    def test_threads_share_an_object(self, kernel: Kernel) -> None:
        failures: list[BaseException] = []
        with kernel.iproute() as ipr:

            def work(number: int) -> None:
                try:
                    for turn in range(20):
                        name = f"d{number}-{turn}"
                        ipr.link("add", ifname=name, kind="dummy")
                        assert name in names(ipr)
                        ipr.link("del", index=ipr.link_lookup(ifname=name)[0])
                except BaseException as error:
                    failures.append(error)

            threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert failures == []
            assert not [n for n in names(ipr) if n.startswith("d")]

    def test_it_can_be_closed_after_the_kernel(self, boot: Boot) -> None:
        kernel = boot()
        ipr = kernel.iproute()
        kernel.halt()
        ipr.close()

    def test_closed(self, kernel: Kernel) -> None:
        ipr = kernel.iproute()
        ipr.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            ipr.link("dump")

    def test_in_a_running_event_loop(self, kernel: Kernel) -> None:
        """The synchronous class needs no loop, so it does not mind one."""

        async def main() -> list[str]:
            with kernel.iproute() as ipr:
                return names(ipr)

        assert asyncio.run(main())[0] == "lo"


class TestAsync:
    """The asynchronous classes, on asyncio of the host."""

    def test_requests_and_events(self, kernel: Kernel) -> None:
        async def main() -> list[str]:
            seen: list[str] = []
            async with kernel.pyroute2.AsyncIPRoute() as watcher:
                await watcher.bind()

                async def watch() -> None:
                    while "d9" not in seen:
                        async for message in watcher.get():
                            if message["event"] == "RTM_NEWLINK":
                                seen.append(message.get("ifname"))

                task = asyncio.create_task(watch())
                async with kernel.pyroute2.AsyncIPRoute() as ipr:
                    for number in range(10):
                        await ipr.link("add", ifname=f"d{number}", kind="dummy")
                        await asyncio.sleep(0)
                    # Requests on the socket that is waited on do not take its events away.
                    async for _ in await watcher.link("dump"):
                        pass
                await asyncio.wait_for(task, 20)
            return seen

        seen = asyncio.run(main())
        assert [n for n in seen if n.startswith("d")] == [f"d{n}" for n in range(10)]

    def test_cancelling_a_wait(self, kernel: Kernel) -> None:
        async def main() -> None:
            async with kernel.pyroute2.AsyncIPRoute() as ipr:
                await ipr.bind()

                async def watch() -> None:
                    async for _ in ipr.get():
                        pass

                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(watch(), 0.05)

        asyncio.run(main())


class TestOthers:
    """The other protocols of netlink."""

    def test_generic(self, kernel: Kernel) -> None:
        with kernel.pyroute2.GenericNetlinkSocket() as generic:
            generic.bind("nlctrl", pyroute2.netlink.ctrlmsg)
            assert generic.prid == 16
        with kernel.pyroute2.MPTCP() as mptcp:
            assert mptcp.limits("show")[0].get("subflows") == 2
        with kernel.iproute() as ipr, kernel.pyroute2.WireGuard() as wg:
            ipr.link("add", ifname="wg0", kind="wireguard")
            wg.set("wg0", listen_port=5555)
            assert wg.info("wg0")[0].get("listen_port") == 5555

    def test_ethtool(self, kernel: Kernel) -> None:
        with kernel.iproute() as ipr, kernel.pyroute2.NlEthtool() as ethtool:
            ipr.link("add", ifname="v0", kind="veth", peer="v1")
            assert ethtool.get_linkinfo("v0")
        with kernel.pyroute2.Ethtool() as settings:
            features = settings.get_features("v0")
            assert features.features["tx-vlan-hw-insert"].enable in (True, False)
            with pytest.raises(Exception, match="No such device"):
                settings.get_features("nonsense")

    def test_sock_diag(self, kernel: Kernel) -> None:
        with (
            kernel.socket.create_server(("127.0.0.1", 1234)),
            kernel.pyroute2.DiagSocket() as diag,
        ):
            diag.bind()
            found = diag.get_sock_stats(family=host.AF_INET)
        assert [s["idiag_sport"] for s in found] == [1234]

    def test_ipset(self, kernel: Kernel) -> None:
        with kernel.pyroute2.IPSet() as ipset:
            ipset.create("seen", stype="hash:ip")
            ipset.add("seen", "10.1.2.3")
            assert ipset.test("seen", "10.1.2.3")
            assert not ipset.test("seen", "10.1.2.4")

    def test_nftables(self, kernel: Kernel) -> None:
        with kernel.pyroute2.on_kernel(NFTables)(nfgen_family=1) as nft:
            nft.table("add", name="mine")
            assert [t.get("name") for t in nft.get_tables()] == ["mine"]

    def test_conntrack(self, kernel: Kernel) -> None:
        with kernel.pyroute2.Conntrack() as conntrack:
            assert conntrack.count() == 0

    def test_ipvs(self, kernel: Kernel) -> None:
        with kernel.pyroute2.IPVS() as ipvs:
            service = pyroute2.IPVSService(addr="10.0.0.1", port=80, protocol=6)
            ipvs.service("add", service=service)
            assert len(ipvs.service("dump")) == 1

    def test_a_protocol_that_the_kernel_has_not(self, kernel: Kernel) -> None:
        """Only drivers of hardware have devlink."""
        with pytest.raises(pyroute2.NetlinkError) as caught:
            kernel.pyroute2.DL()
        assert caught.value.code == errno.ENOENT

    def test_ndb(self, kernel: Kernel) -> None:
        """The database sees what is there, changes it, and follows what others do."""
        with kernel.ndb() as ndb:
            assert "lo" in [i.ifname for i in ndb.interfaces.dump()]
            with ndb.interfaces.create(ifname="br0", kind="bridge") as bridge:
                bridge.set("state", "up")
                bridge.add_ip("10.0.0.1/24")
            assert str(kernel.net.link("br0").addresses[0]) == "10.0.0.1/24"
            kernel.net.add_link("d0", kind="dummy")
            assert ndb.interfaces.wait(ifname="d0", timeout=10)["ifname"] == "d0"

    def test_ndb_that_saw_nothing(self, kernel: Kernel) -> None:
        """It ends, though its thread waits for events in the kernel."""
        with kernel.ndb() as ndb:
            pass
        assert not ndb._dbm_thread.is_alive()

    def test_what_is_not_netlink(self, kernel: Kernel) -> None:
        assert kernel.pyroute2.NetlinkError is pyroute2.NetlinkError
        with pytest.raises(AttributeError, match="does not speak netlink"):
            _ = kernel.pyroute2.NSPopen
        with pytest.raises(AttributeError, match="nonsense"):
            _ = kernel.pyroute2.nonsense
