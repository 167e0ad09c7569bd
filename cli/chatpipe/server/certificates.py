"""Trusted certificates on disk: a bundle in PEM form, and a folder of files that are named by hashes.

Most systems have both, with the same certificates. OpenSSL parses a bundle whole, which takes 17 ms for
the 140 certificates of a system. It opens a hashed file when a server shows a certificate that this one
has signed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

_HASH_DIGITS = frozenset("0123456789abcdef")
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


def has_hashed(folder: str) -> bool:
    """True if OpenSSL can find a certificate in the folder. False if the folder cannot be read."""
    return next(_hashed(folder), None) is not None


def is_hashed_copy(folder: str, bundle: str) -> bool:
    """True if the folder holds the certificates of the bundle and no others, so that it can replace it.

    Both have to be complete: folders exist with a few certificates that somebody added by hand, and
    bundles that a company has put in place of the system's. Certificates are compared by their sizes,
    all of them, which costs a millisecond. A folder that is older than the bundle is no copy, nor is one
    whose files hold more than the certificate.
    """
    try:
        if os.stat(folder).st_mtime_ns < os.stat(bundle).st_mtime_ns:
            return False
        files = {(found.st_dev, found.st_ino): found.st_size for found in map(os.stat, _hashed(folder))}
        return bool(files) and sorted(files.values()) == sorted(_file_sizes(bundle))
    except OSError:  # not there, or a link that leads nowhere
        return False


def _hashed(folder: str) -> Iterator[str]:
    """The paths of the hashed files."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry.path for entry in entries if _is_hash(entry.name))
    except OSError:
        return


def _is_hash(name: str) -> bool:
    """True for `3513523f.0`: the hash of a subject, and a number. Revocation lists have an r before it."""
    digits, _, number = name.partition(".")
    return len(digits) == 8 and _HASH_DIGITS.issuperset(digits) and number.isdecimal()


def _file_sizes(bundle: str) -> Iterator[int]:
    """The bytes of each certificate of a bundle in a file of its own, with its last line end."""
    with open(bundle, "rb") as file:
        _, *certificates = file.read().split(_BEGIN)
    for certificate in certificates:
        yield len(_BEGIN) + certificate.find(_END) + len(_END) + 1
