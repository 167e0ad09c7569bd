"""Token prices by model, from the user's `--prices FILE`. No prices are built in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from chatpipe.errors import BadConfiguration, MissingInput, reason
from chatpipe.inputs.names import nearest
from chatpipe.inputs.place import Source
from chatpipe.inputs.stdin import STDIN_NAME, is_stdin
from chatpipe.inputs.text_decoder import source_text
from chatpipe.inputs.toml import NotTOML, read_document
from chatpipe.named_tuple import NamedTuple
from chatpipe.response.usage import Usage
from chatpipe.system.slow_file import read_start

USD = "USD"
_MILLION = 1_000_000
_MAX_BYTES = 10_000_000
_NAMES = ("input", "cached_input", "output")
_OF_JOBS = "batch_"
_KEYS = frozenset(beginning + name for beginning in ("", _OF_JOBS) for name in _NAMES)
_CURRENCY = "currency"

# Makes the error for a fault at the keys that lead to it: what it is, the keys, and what to do.
_Fault = Callable[[str, tuple[str, ...], str], BadConfiguration]


class ModelPrice(NamedTuple):
    """Prices of one model, per million tokens, in the currency of the file.

    of_jobs has the prices of the Batch API, None if the file has none.
    """

    input: float
    cached_input: float
    output: float
    currency: str = USD
    of_jobs: ModelPrice | None = None

    @property
    def in_jobs(self) -> ModelPrice:
        """The price in a job of the Batch API: the usual one, which is higher, if the file has none."""
        return self.of_jobs or self

    def cost(self, usage: Usage) -> float:
        fresh = usage.prompt - usage.cached
        parts = fresh * self.input + usage.cached * self.cached_input + usage.generated * self.output
        return parts / _MILLION


def load_prices(path: str, note: Callable[[str], None]) -> dict[str, ModelPrice]:
    """Read prices by model from TOML: `["gpt-4o-mini"]` with `input`, `output`, optional `cached_input`.

    The same names after `batch_` are the prices of the Batch API. A text `currency` before the first model
    names the currency, USD by default. It is only shown.
    note gets a line if the file keeps us waiting. Raises MissingInput, BadInput, BadConfiguration.
    """
    try:
        data = read_start(path, _MAX_BYTES, f"waiting for '{path}': --prices", note)
        path = STDIN_NAME if is_stdin(path) else path
        if len(data) > _MAX_BYTES:
            what = f"'{path}' has more than {_MAX_BYTES // 1_000_000} MB"
            raise BadConfiguration(what, place="--prices", fix="name a file of prices")
        document = read_document(source_text(Source(path, data)))
    except NotTOML as error:
        raise BadConfiguration(error.what, place=f"{path}:{error.line}", fix=error.fix) from error
    except (OSError, ValueError) as error:
        raise MissingInput(f"cannot read '{path}': {reason(error)}", place="--prices") from error

    def fault(what: str, keys: tuple[str, ...], fix: str) -> BadConfiguration:
        return BadConfiguration(what, place=f"{path}:{document.line(keys)}", fix=fix)

    tables, currency = document.tables, USD
    if not isinstance(tables.get(_CURRENCY, {}), dict):
        currency = tables.pop(_CURRENCY)
        if not isinstance(currency, str):
            raise fault("'currency' is not a text", (_CURRENCY,), 'write its name, as in currency = "EUR"')
    if not tables:
        fix = 'write ["MODEL"] with input = and output =, per million tokens'
        raise BadConfiguration(f"'{path}' has no model", place="--prices", fix=fix)
    return {model: _price(model, table, currency, fault) for model, table in tables.items()}


def currency_of(prices: Mapping[str, ModelPrice]) -> str:
    """The currency of a table of prices."""
    return next((price.currency for price in prices.values()), USD)


def _price(model: str, table: object, currency: str, fault: _Fault) -> ModelPrice:
    if not isinstance(table, dict):
        fix = f'write ["{model}"] with input = and output =, per million tokens'
        raise fault(f"'{model}' is not a table", (model,), fix)
    for key in table:
        if key == _CURRENCY:
            raise fault(f"'currency' is in the table of '{model}'", (model, key), "put it before all tables")
        if key not in _KEYS and (near := nearest(key, _KEYS)):
            raise fault(f"'{key}' is not a price", (model, key), f"did you mean '{near}'?")
    usual = _read(model, table, "", fault)._replace(currency=currency)
    has_others = any(_OF_JOBS + name in table for name in _NAMES)
    return usual._replace(of_jobs=_read(model, table, _OF_JOBS, fault)) if has_others else usual


def _read(model: str, table: Mapping[str, object], beginning: str, fault: _Fault) -> ModelPrice:
    """The prices whose names begin like this. Raises BadConfiguration."""
    found: list[float] = []
    for name in _NAMES:
        key = beginning + name
        value = table.get(key, table.get(f"{beginning}input") if name == "cached_input" else None)
        if value is None:
            fix = f'write ["{model}"] with {beginning}input = and {beginning}output =, per million tokens'
            raise fault(f"'{model}' has no price '{key}'", (model,), fix)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            fix = "write a price per million tokens, such as 0.15"
            raise fault(f"'{key}' of '{model}' is not a number from 0 up", (model, key), fix)
        found.append(float(value))
    return ModelPrice(found[0], found[1], found[2])


def price_of(prices: Mapping[str, ModelPrice], model: object, *, in_job: bool = False) -> ModelPrice:
    """The price of a request for a model. in_job: a job of the Batch API answers it.

    Raises BadConfiguration for an unknown model, which is never free.
    """
    if isinstance(model, str) and model in prices:
        return prices[model].in_jobs if in_job else prices[model]
    raise BadConfiguration(f"no price for model '{model}'", place="--prices", fix="add it to the file")


def cost_of(
    prices: Mapping[str, ModelPrice], usage: Usage, model: object, *, in_job: bool = False
) -> float | None:
    """The cost of an answer to such a request. None for an unknown model, unless nothing was used."""
    if not any(usage):
        return 0.0
    if not isinstance(model, str) or model not in prices:
        return None
    return price_of(prices, model, in_job=in_job).cost(usage)


def highest_cost(
    prices: Mapping[str, ModelPrice], usage: Usage, model: object, *, in_job: bool = False
) -> float:
    """The highest cost of an answer whose request is not known, but the model that the answer names.

    That name may be more exact than the one of the price: `m-2026-01-01`. If no price fits, all of them do.
    """
    names = [name for name in prices if isinstance(model, str) and model.startswith(name)]
    possible = [max(names, key=len)] if names else prices
    costs = (price_of(prices, name, in_job=in_job).cost(usage) for name in possible)
    return max(costs, default=0.0)
