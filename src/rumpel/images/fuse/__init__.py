# SPDX-License-Identifier: GPL-2.0-only
"""A file system of an image at a directory of the host: a server of FUSE.

``mount`` is the host's side of it, which makes the mount and ends it. The server runs where the
kernel is, so that a request is one hop away from it: ``server`` takes requests and sends answers,
``names``, ``attributes`` and ``files`` have the operations, but for those that are asked most:
these are in C, with what the host knows of (:class:`rumpel._native.FuseServer`). ``protocol`` has
the messages.
"""
