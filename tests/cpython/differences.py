# SPDX-License-Identifier: GPL-2.0-only
"""What CPython's tests do differently on a library kernel, and why.

The keys are patterns of the tests' names. Everything else has to pass, or to be skipped by
CPython itself. What is listed has to fail, so that the list stays true.
"""

from __future__ import annotations

__all__ = ["FAILING", "FAILING_SINCE", "MODULES", "NOT_RUN", "failing"]

MODULES = {
    "test_socket": 4,
    "test_select": 1,
    "test_poll": 1,
    "test_epoll": 1,
    "test_selectors": 1,
    "test_socketserver": 1,
    "test_httplib": 1,
    "test_httpservers": 1,
    "test_ftplib": 1,
    "test_smtplib": 1,
    "test_poplib": 1,
    "test_imaplib": 1,
    "test_xmlrpc": 1,
    "test_urllib2_localnet": 1,
}
"""The modules, and in how many pieces they are run."""

_FORK = "forks: the child answers in its copy of the kernel, the client waits in the parent's"
_HOST = "waits for a pipe of the host, whose descriptor is not the kernel's"
_PATCH = "patches a module of sys.modules, but it is a copy that is tested"
_PAGES = "AF_ALG wants pages of guest memory for the data, which a caller's buffer has not"

NOT_RUN: dict[str, dict[str, str]] = {
    "test_socketserver": {
        f"*Forking{kind}Server": f"{_FORK}, for 30 s" for kind in ("UDP", "UnixDatagram")
    },
}

FAILING: dict[str, dict[str, str]] = {
    "test_socket": {
        "GeneralModuleTests.testRefCountGetNameInfo": "getnameinfo is written in Python: the "
        "exception's traceback refers to its arguments",
        "GeneralModuleTests.test_csocket_repr": "there is no class in C below kernel.socket.socket",
        "LinuxKernelCryptoAPI.test_aead_aes_gcm": _PAGES,
        "LinuxKernelCryptoAPI.test_aes_cbc": _PAGES,
        "LinuxKernelCryptoAPI.test_hmac_sha1": _PAGES,
        "LinuxKernelCryptoAPI.test_sha256": _PAGES,
    },
    "test_select": {
        "SelectTestCase.test_disallow_instantiation": "the class of select.poll() is Python's",
        "SelectTestCase.test_select": _HOST,
    },
    "test_poll": {"PollTests.test_poll2": _HOST},
    "test_selectors": {
        "DefaultSelectorTestCase.test_modify_unregister": _PATCH,
        "EpollSelectorTestCase.test_modify_unregister": _PATCH,
        "PollSelectorTestCase.test_modify_unregister": _PATCH,
    },
    "test_socketserver": {f"*Forking{kind}Server": _FORK for kind in ("TCP", "UnixStream")},
    "test_imaplib": {"NewIMAP*Tests.test_linetoolong": _PATCH},
}

FAILING_SINCE: dict[tuple[int, int], dict[str, dict[str, str]]] = {
    (7, 2): {"test_socket": {"*UDPLITE*": "Linux has no UDP-Lite any more"}},
}
"""What fails with a version of Linux and all newer ones."""


def failing(module: str, version: str) -> list[str]:
    """The patterns of a module's tests that fail with a version of Linux, such as 6.12."""
    major, minor = version.split(".")[:2]
    patterns = list(FAILING.get(module, {}))
    for since, added in FAILING_SINCE.items():
        if (int(major), int(minor)) >= since:
            patterns += added.get(module, {})
    return patterns
