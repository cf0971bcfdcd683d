# SPDX-License-Identifier: GPL-2.0-only
"""A file system of an image at a directory of the host: a server of FUSE.

``mount`` is the host's side of it, which makes the mount and ends it. The server runs where the
kernel is, so that a request is one hop away from it: ``server`` takes requests and sends answers,
``names``, ``attributes``, ``directories`` and ``files`` have the operations, ``nodes`` what the
host knows of, ``protocol`` the messages.
"""
