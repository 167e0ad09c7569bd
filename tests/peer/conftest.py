"""One proxy of LiteLLM for all tests that ask it: it takes 10 s of CPU to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from peer.litellm_proxy import running_proxy


@pytest.fixture(scope="session")
def litellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of the proxy."""
    with running_proxy(tmp_path_factory.mktemp("litellm")) as url:
        yield url
