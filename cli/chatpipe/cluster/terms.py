"""The terms of a run: all that a worker has to know to send its requests.

Workers of a cluster that this run starts read them from a socket, with the keys. For a cluster that is there
they go through Ray, and have no secret in them: each worker looks for the keys where the options say.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence

from chatpipe.errors import BadConfiguration
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import ServerOptions
from chatpipe.server import redact
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.headers import Headers, parse_header
from chatpipe.server.keys import header_lines
from chatpipe.server.server import Server, open_servers
from chatpipe.system import secrets

_THEIR_OWN = "on an existing cluster each worker reads the keys itself"
_FILE = "put it into a --header-file that each of its machines has"


class WorkerTerms(NamedTuple):
    """The terms. servers have no keys if the worker has to find them, and lack the headers named in hidden.

    secrets are the ones to hide. jobs is the number of requests in flight at most. verbose is true if all
    headers of replies are of use. key counts the keys of the run so far.
    """

    servers: tuple[Server, ...]
    jobs: int
    verbose: bool
    finds_keys: bool
    hidden: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    key: int = 0


def write_terms(terms: WorkerTerms) -> bytes:
    """The bytes of the terms."""
    return pickle.dumps(terms)


def read_terms(data: bytes) -> WorkerTerms:
    """The terms in bytes that a run has written."""
    terms: WorkerTerms = pickle.loads(data)  # noqa: S301  (from the run that started this worker)
    return terms


def private_terms(servers: Sequence[Server], jobs: int, *, verbose: bool, key: int = 0) -> WorkerTerms:
    """The terms with the keys, for workers on this machine."""
    ready = tuple(
        each._replace(
            endpoint=_bare(each.endpoint)._replace(keys=()),
            options=_bare_options(each),
            key=None,
            around=None,
            ready=None,
        )
        for each in servers
    )
    return WorkerTerms(ready, jobs, verbose, False, secrets=tuple(secrets.all_known()), key=key)


def public_terms(servers: Sequence[Server], jobs: int, *, verbose: bool) -> WorkerTerms:
    """The terms without a secret. Raises BadConfiguration for one that a worker has no way to."""
    hidden: dict[str, None] = {}
    ready = []
    for server in servers:
        _refuse_unreachable_keys(server.endpoint, server.options.proxy)
        names = [name for name, value in server.endpoint.headers if redact.header(name, value) != value]
        if names and server.options.header_file is None:
            raise BadConfiguration(f"the header '{names[0]}' is secret: {_THEIR_OWN}", fix=_FILE)
        hidden.update(dict.fromkeys(names))
        plain = tuple(each for each in server.endpoint.headers if each[0] not in names)
        ready.append(Server(_bare(server.endpoint)._replace(headers=plain), (), None, _bare_options(server)))
    return WorkerTerms(tuple(ready), jobs, verbose, True, tuple(hidden))


def _bare(endpoint: Endpoint) -> Endpoint:
    """An endpoint with what sending needs. Its profile has served its purpose, and may hold a secret."""
    profile = endpoint.profile._replace(servers=(), keys=(), headers=(), token_files=(), patches=())
    return endpoint._replace(profile=profile)


def _bare_options(server: Server) -> ServerOptions:
    return server.options._replace(headers=(), base_urls=(), keys=())


def _refuse_unreachable_keys(endpoint: Endpoint, proxy: str | None) -> None:
    """Raise BadConfiguration for secrets that are on this machine only."""
    for source in endpoint.keys:
        if source.way.names in ("descriptor", "keyring") and not source.is_optional:
            raise BadConfiguration(
                f"is on this machine only: {_THEIR_OWN}",
                place=source.place,
                fix="use --key-file or --key-env",
            )
    if redact.complete_url(endpoint.base_url) != endpoint.base_url or "@" in endpoint.base_url:
        raise BadConfiguration(f"the base URL holds a key: {_THEIR_OWN}", fix=_FILE)
    if proxy is not None and "@" in proxy:
        raise BadConfiguration(
            f"the proxy has a password: {_THEIR_OWN}",
            place="--proxy",
            fix="set HTTPS_PROXY on each of its machines",
        )


def open_own_servers(terms: WorkerTerms, environ: dict[str, str]) -> tuple[Server, ...]:
    """The servers of a worker, with their keys. Raises what open_servers() raises."""
    for each in terms.secrets:
        secrets.add(each)
    if not terms.finds_keys:
        return terms.servers
    options = terms.servers[0].options
    added = _hidden_headers(terms.hidden, options.header_file)
    endpoints = [each.endpoint._replace(headers=(*each.endpoint.headers, *added)) for each in terms.servers]
    return open_servers(endpoints, options, environ)


def _hidden_headers(names: Sequence[str], header_file: str | None) -> Headers:
    if not names:
        return ()
    found = [parse_header(line, "--header-file") for line in header_lines(header_file)]
    redact.hide_headers(found)
    added = tuple((name, value) for name, value in found if name in names)
    missing = set(names).difference(name for name, _ in added)
    if missing:
        raise BadConfiguration(f"'{header_file}' has no header '{min(missing)}'", place="--header-file")
    return added
