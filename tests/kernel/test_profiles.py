# SPDX-License-Identifier: GPL-2.0-only
"""The kernel profiles hold what they promise.

``FEATURES`` is the list of what the default profile must offer, by the names
people know, with the configuration symbols that make it so. It is compared with
the profiles, and with the stored configuration of every image that was built.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from rumpel.build import Image, Layout, find_image
from rumpel.build.config import lost, parse, profile_options
from rumpel.build.versions import supported

LAYOUT = Layout()
CONFIGS = LAYOUT.configs
PROFILES = ("default", "tiny", "debug")

FEATURES: dict[str, str] = {
    # sockets and transports
    "IPv4": "INET IP_MULTICAST",
    "IPv6": "IPV6 IPV6_ROUTER_PREF IPV6_SUBTREES",
    "TCP congestion controls": (
        "TCP_CONG_ADVANCED TCP_CONG_BBR TCP_CONG_BIC TCP_CONG_CDG TCP_CONG_CUBIC "
        "TCP_CONG_DCTCP TCP_CONG_HSTCP TCP_CONG_HTCP TCP_CONG_HYBLA TCP_CONG_ILLINOIS "
        "TCP_CONG_LP TCP_CONG_NV TCP_CONG_SCALABLE TCP_CONG_VEGAS TCP_CONG_VENO "
        "TCP_CONG_WESTWOOD TCP_CONG_YEAH"
    ),
    "TCP authentication": "TCP_MD5SIG TCP_AO",
    "MPTCP": "MPTCP MPTCP_IPV6",
    "SCTP": "IP_SCTP",
    "kTLS": "TLS",
    "raw and packet sockets": "INET_RAW_DIAG PACKET PACKET_DIAG",
    "AF_XDP": "XDP_SOCKETS",
    "unix": "UNIX UNIX_DIAG",
    "netlink": "NETLINK_DIAG",
    "sock_diag": "INET_DIAG INET_UDP_DIAG INET_DIAG_DESTROY",
    "vsock": "VSOCKETS VSOCKETS_LOOPBACK VIRTIO_VSOCKETS",
    # routing and tunnels
    "policy routing": (
        "IP_ADVANCED_ROUTER IP_MULTIPLE_TABLES IPV6_MULTIPLE_TABLES IP_ROUTE_MULTIPATH"
    ),
    "VRF": "NET_VRF NET_L3_MASTER_DEV",
    "multicast routing": "IP_MROUTE IP_PIMSM_V2 IPV6_MROUTE IPV6_PIMSM_V2",
    "MPLS": "MPLS MPLS_ROUTING MPLS_IPTUNNEL NET_MPLS_GSO",
    "seg6": "IPV6_SEG6_LWTUNNEL IPV6_SEG6_HMAC IPV6_RPL_LWTUNNEL",
    "vxlan": "VXLAN",
    "geneve": "GENEVE",
    "gre": "NET_IPGRE NET_IPGRE_DEMUX IPV6_GRE",
    "ipip": "NET_IPIP IPV6_TUNNEL NET_FOU_IP_TUNNELS",
    "sit": "IPV6_SIT IPV6_SIT_6RD",
    "gtp": "GTP",
    "l2tp": "L2TP L2TP_V3 L2TP_IP L2TP_ETH",
    "WireGuard": "WIREGUARD",
    "xfrm": (
        "XFRM_USER XFRM_INTERFACE INET_ESP INET_AH INET_IPCOMP INET6_ESP INET6_AH "
        "INET6_IPCOMP NET_KEY"
    ),
    # network devices
    "bridge": "BRIDGE BRIDGE_VLAN_FILTERING BRIDGE_IGMP_SNOOPING",
    "vlan": "VLAN_8021Q",
    "veth": "VETH",
    "bonding and team": "BONDING NET_TEAM NET_TEAM_MODE_ACTIVEBACKUP NET_TEAM_MODE_LOADBALANCE",
    "dummy, ifb, tun": "DUMMY IFB TUN",
    "macvlan, ipvlan": "MACVLAN MACVTAP IPVLAN IPVTAP",
    # netfilter
    "nftables": (
        "NF_TABLES NF_TABLES_INET NF_TABLES_NETDEV NF_TABLES_BRIDGE NFT_CT NFT_NAT NFT_MASQ "
        "NFT_REDIR NFT_LIMIT NFT_LOG NFT_QUEUE NFT_FIB NFT_TPROXY NFT_SYNPROXY "
        "NFT_FLOW_OFFLOAD NFT_COMPAT"
    ),
    "iptables NAT": (
        "NETFILTER_XTABLES IP_NF_IPTABLES IP_NF_FILTER IP_NF_NAT IP_NF_MANGLE IP_NF_RAW "
        "IP_NF_TARGET_MASQUERADE IP6_NF_IPTABLES IP6_NF_NAT NETFILTER_XT_NAT "
        "NETFILTER_XT_TARGET_TCPMSS"
    ),
    "conntrack": (
        "NF_CONNTRACK NF_CONNTRACK_EVENTS NF_CONNTRACK_ZONES NF_CT_NETLINK NF_CONNTRACK_FTP "
        "NF_CONNTRACK_SIP NF_CONNTRACK_TFTP NF_CONNTRACK_H323 NF_CONNTRACK_PPTP"
    ),
    "ingress and egress hooks": "NETFILTER_INGRESS NETFILTER_EGRESS",
    "ipset": (
        "IP_SET IP_SET_HASH_IP IP_SET_HASH_NET IP_SET_BITMAP_PORT IP_SET_LIST_SET NETFILTER_XT_SET"
    ),
    "ebtables": "BRIDGE_NF_EBTABLES BRIDGE_EBT_T_FILTER BRIDGE_EBT_T_NAT",
    "drop monitor": "NET_DROP_MONITOR",
    # traffic control
    "tc qdiscs": (
        "NET_SCHED NET_SCH_NETEM NET_SCH_TBF NET_SCH_HTB NET_SCH_FQ NET_SCH_FQ_CODEL "
        "NET_SCH_CAKE NET_SCH_INGRESS NET_SCH_HFSC NET_SCH_PRIO NET_SCH_SFQ NET_SCH_RED "
        "NET_SCH_DRR NET_SCH_ETS NET_SCH_TAPRIO"
    ),
    "tc filters": (
        "NET_CLS_U32 NET_CLS_FLOWER NET_CLS_BPF NET_CLS_MATCHALL NET_CLS_BASIC NET_CLS_FW"
    ),
    "tc actions": (
        "NET_CLS_ACT NET_ACT_MIRRED NET_ACT_POLICE NET_ACT_PEDIT NET_ACT_NAT NET_ACT_CT NET_ACT_BPF"
    ),
    # namespaces and limits
    "namespaces": "NAMESPACES NET_NS UTS_NS IPC_NS PID_NS USER_NS",
    "cgroup v2": (
        "CGROUPS MEMCG BLK_CGROUP CGROUP_SCHED CFS_BANDWIDTH CGROUP_PIDS CGROUP_BPF "
        "CGROUP_RDMA CGROUP_MISC"
    ),
    "pressure stall information": "PSI PSI_DEFAULT_DISABLED",
    # file systems
    "ext2, ext3, ext4": (
        "EXT2_FS EXT2_FS_XATTR EXT2_FS_POSIX_ACL EXT4_FS EXT4_FS_POSIX_ACL EXT4_FS_SECURITY"
    ),
    "XFS": "XFS_FS XFS_QUOTA XFS_POSIX_ACL XFS_RT XFS_SUPPORT_V4",
    "btrfs": "BTRFS_FS BTRFS_FS_POSIX_ACL",
    "f2fs": "F2FS_FS F2FS_FS_XATTR F2FS_FS_POSIX_ACL F2FS_FS_COMPRESSION F2FS_FS_ZSTD",
    "vfat": "VFAT_FS MSDOS_FS FAT_DEFAULT_UTF8 NLS_CODEPAGE_437 NLS_ISO8859_1 NLS_UTF8",
    "exfat": "EXFAT_FS",
    "ntfs3": "NTFS3_FS NTFS3_LZX_XPRESS NTFS3_FS_POSIX_ACL",
    "iso9660": "ISO9660_FS JOLIET ZISOFS",
    "udf": "UDF_FS",
    "squashfs": (
        "SQUASHFS SQUASHFS_XATTR SQUASHFS_ZLIB SQUASHFS_LZ4 SQUASHFS_LZO SQUASHFS_XZ SQUASHFS_ZSTD"
    ),
    "erofs": (
        "EROFS_FS EROFS_FS_XATTR EROFS_FS_ZIP EROFS_FS_ZIP_LZMA EROFS_FS_ZIP_DEFLATE "
        "EROFS_FS_ZIP_ZSTD"
    ),
    "cramfs, minix, hfsplus, ufs": "CRAMFS CRAMFS_BLOCKDEV MINIX_FS HFSPLUS_FS UFS_FS",
    "tmpfs": "TMPFS TMPFS_XATTR TMPFS_POSIX_ACL TMPFS_INODE64",
    "overlayfs": "OVERLAY_FS",
    "9p": "NET_9P NET_9P_VIRTIO 9P_FS 9P_FS_POSIX_ACL",
    "virtiofs": "VIRTIO_FS",
    "FUSE": "FUSE_FS CUSE",
    "quotas": "QUOTA QFMT_V1 QFMT_V2",
    "file encryption and verity": "FS_ENCRYPTION FS_VERITY",
    "procfs, sysfs, debugfs": "PROC_FS PROC_SYSCTL SYSFS DEBUG_FS IKCONFIG_PROC CONFIGFS_FS",
    "tracefs": "FTRACE BLK_DEV_IO_TRACE HIST_TRIGGERS SYNTH_EVENTS",
    # block
    "device mapper": (
        "BLK_DEV_DM DM_SNAPSHOT DM_CRYPT DM_VERITY DM_THIN_PROVISIONING DM_FLAKEY "
        "DM_INTEGRITY DM_CACHE DM_RAID DM_ERA DM_WRITECACHE DM_ZERO DM_DELAY DM_DUST "
        "DM_LOG_WRITES DM_CLONE DM_MULTIPATH"
    ),
    "loop, nbd, null_blk, zram": "BLK_DEV_LOOP BLK_DEV_NBD BLK_DEV_NULL_BLK ZRAM",
    "md": "BLK_DEV_MD MD_LINEAR MD_RAID0 MD_RAID1 MD_RAID10 MD_RAID456",
    "partition tables": (
        "PARTITION_ADVANCED MSDOS_PARTITION EFI_PARTITION LDM_PARTITION MAC_PARTITION "
        "BSD_DISKLABEL SUN_PARTITION SGI_PARTITION AMIGA_PARTITION ATARI_PARTITION "
        "AIX_PARTITION ACORN_PARTITION"
    ),
    # system calls
    "epoll, eventfd, timerfd, signalfd": "EPOLL EVENTFD TIMERFD SIGNALFD",
    "inotify, fanotify": "INOTIFY_USER FANOTIFY FANOTIFY_ACCESS_PERMISSIONS",
    "io_uring": "IO_URING",
    "aio": "AIO",
    "futex": "FUTEX",
    "POSIX mqueues": "POSIX_MQUEUE",
    "SysV IPC": "SYSVIPC",
    "userfaultfd": "USERFAULTFD",
    "checkpoint, kcmp": "CHECKPOINT_RESTORE KCMP",
    "seccomp": "SECCOMP SECCOMP_FILTER",
    "landlock": "SECURITY SECURITY_LANDLOCK",
    "AF_ALG": (
        "CRYPTO_USER_API_HASH CRYPTO_USER_API_SKCIPHER CRYPTO_USER_API_AEAD CRYPTO_USER_API_RNG"
    ),
    "keyrings": "KEYS PERSISTENT_KEYRINGS BIG_KEYS ENCRYPTED_KEYS KEY_DH_OPERATIONS",
    "BPF": "BPF_SYSCALL CGROUP_BPF LWTUNNEL_BPF NETFILTER_BPF_LINK IPV6_SEG6_BPF",
    # devices and behaviour
    "virtio": (
        "VIRTIO_MMIO VIRTIO_MMIO_CMDLINE_DEVICES VIRTIO_BLK VIRTIO_NET VIRTIO_CONSOLE "
        "HW_RANDOM_VIRTIO"
    ),
    "terminals": "TTY UNIX98_PTYS",
    "device nodes": "DEVTMPFS",
    "clock": "HIGH_RES_TIMERS NO_HZ_IDLE HZ_1000",
    "a broken kernel stops and says why": "BUG PANIC_ON_OOPS PRINTK KALLSYMS DEBUG_BUGVERBOSE",
}

TINY: dict[str, str] = {
    "sockets": "NET INET IPV6 UNIX PACKET",
    "waiting": "EPOLL EVENTFD TIMERFD SIGNALFD FUTEX",
    "sysctl": "PROC_FS PROC_SYSCTL",
    "virtio-net": "VIRTIO_MMIO VIRTIO_MMIO_CMDLINE_DEVICES VIRTIO_NET",
    "clock": "HIGH_RES_TIMERS NO_HZ_IDLE HZ_1000",
    "a broken kernel stops and says why": "BUG PANIC_ON_OOPS PRINTK",
}

DEBUG: dict[str, str] = {
    "KUnit": "KUNIT KUNIT_DEBUGFS",
    "lockdep": "PROVE_LOCKING LOCK_STAT",
    "slab debugging": "SLUB_DEBUG SLUB_DEBUG_ON",
    "list debugging": "DEBUG_LIST DEBUG_PLIST BUG_ON_DATA_CORRUPTION",
    "fault injection": (
        "FAULT_INJECTION FAILSLAB FAIL_PAGE_ALLOC FAIL_MAKE_REQUEST FAULT_INJECTION_DEBUG_FS"
    ),
    "frame pointers": "FRAME_POINTER",
    "stack end": "SCHED_STACK_END_CHECK",
}

PROMISES = {
    "default": FEATURES,
    "debug": FEATURES | DEBUG,
    "tiny": TINY,
}


def files(profile: str) -> list[Path]:
    """A profile's fragments and the profile itself."""
    own = CONFIGS / f"{profile}.config"
    names = re.findall(r"^# include (\S+)$", own.read_text(), re.M)
    return [*(CONFIGS / "fragments" / name for name in names), own]


def elsewhere(profile: str, version: str) -> set[str]:
    """The options in paragraphs headed "# 6.12 only" for a version other than ours."""
    text = "\n\n".join(file.read_text() for file in files(profile))
    paragraphs = re.findall(r"^# (\S+) only\n((?:.+\n)+)", text, re.M)
    return {name for only, options in paragraphs if only != version for name in parse(options)}


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_asks_for_every_feature(profile: str) -> None:
    asked = profile_options(LAYOUT, profile)
    for feature, symbols in PROMISES[profile].items():
        assert [name for name in symbols.split() if asked.get(name) != "y"] == [], feature


@pytest.mark.parametrize("profile", PROFILES)
def test_option_is_set_once(profile: str) -> None:
    count = Counter(name for file in files(profile) for name in parse(file.read_text()))
    assert [name for name in count if count[name] > 1] == []


def test_debug_holds_all_of_default() -> None:
    assert profile_options(LAYOUT, "default").items() <= profile_options(LAYOUT, "debug").items()


def test_every_fragment_is_used() -> None:
    assert set((CONFIGS / "fragments").iterdir()) <= set(files("debug"))


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.config")), ids=lambda path: path.name)
def test_file_is_well_formed(path: Path) -> None:
    first, *rest = path.read_text().splitlines()
    assert first == "# SPDX-License-Identifier: GPL-2.0-only"
    good = re.compile(r'(#.*)?|CONFIG_\w+=(y|-?\d+|"[^"]*")')
    assert [line for line in rest if not good.fullmatch(line)] == []


def images() -> list[Image]:
    """The images that are built from the port and the profiles as they are now."""
    found = (find_image(version, profile) for version in supported(LAYOUT) for profile in PROFILES)
    return [image for image in found if image]


@pytest.mark.parametrize("image", images(), ids=lambda image: f"{image.version}-{image.profile}")
def test_image_has_what_was_asked(image: Image) -> None:
    got = parse((image.path.parent / "config").read_text())
    missing = set(lost(profile_options(LAYOUT, image.profile), got))
    assert missing <= elsewhere(image.profile, image.version)
    for feature, symbols in PROMISES[image.profile].items():
        assert [name for name in symbols.split() if got.get(name) != "y"] == [], feature
