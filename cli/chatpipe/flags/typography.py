"""Characters that web pages and word processors put in place of those that a shell reads."""

from __future__ import annotations

# Hyphens, dashes, the minus sign and its wide forms; quotes of several languages.
TYPOGRAPHIC_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d")
TYPOGRAPHIC_QUOTES = frozenset("\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb")
