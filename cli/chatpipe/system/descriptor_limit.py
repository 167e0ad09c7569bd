"""The limit of open descriptors of this process, raised for the connections of a run."""

from __future__ import annotations

import os

# Besides the connections of a run: the standard ones, input, journal, recorded files, those of asyncio.
_OTHER_DESCRIPTORS = 64
# Those that a run may open later: modules, names of hosts, files of rows.
_SPARE_DESCRIPTORS = 8


def raise_descriptor_limit(connections: int) -> int:
    """Raise the limit of open descriptors for this many connections, as far as the system permits.

    Returns the number of connections that it has room for, at most as many as wanted and at least 1.
    """
    import resource  # a single request does without

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    except (OSError, ValueError):
        limit = soft
    if limit >= wanted:
        return connections
    return max(1, min(connections, limit - _open_descriptors() - _SPARE_DESCRIPTORS))


def _open_descriptors() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return _OTHER_DESCRIPTORS
