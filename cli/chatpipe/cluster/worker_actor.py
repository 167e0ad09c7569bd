"""The actor around a worker. Its code travels with the run, so that it can say what a machine lacks.

A machine without chatpipe must be able to load it: nothing of chatpipe is imported before open().
"""

from __future__ import annotations

from typing import Any


class WorkerActor:
    """The worker of a node. terms are the bytes of the terms, or the path of the socket that has them."""

    def __init__(self, terms: bytes | str, version: str) -> None:
        self._terms = terms
        self._version = version
        self._worker: Any = None

    async def open(self) -> bytes:
        """Get ready. Returns the bytes of a fault, none if the worker can work."""
        import json
        import platform

        node = platform.node()
        try:
            import chatpipe
            from chatpipe.cluster.open_worker import open_worker
        except ImportError as error:
            fix = f"install chatpipe {self._version} there"
            return json.dumps((78, f"no chatpipe on the node '{node}' ({error})", "", fix)).encode()
        if chatpipe.__version__ != self._version:
            what = f"the node '{node}' has chatpipe {chatpipe.__version__}, and this is {self._version}"
            return json.dumps((78, what, "", "install the same version there")).encode()
        self._worker, fault = await open_worker(self._terms, node)
        return fault

    async def take(self, block: bytes) -> None:
        await self._worker.take(block)

    async def replies(self) -> bytes:
        block: bytes = await self._worker.replies()
        return block
