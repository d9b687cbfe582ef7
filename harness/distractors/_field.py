"""Adding to a field of the template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import DataError, did_you_mean


def appended(kind: str, fields: Mapping[str, Any], field: str, addition: str) -> Mapping[str, Any]:
    """The fields with `addition` behind one of them. Raises DataError where there is no such field."""
    if field not in fields:
        raise DataError(
            f'{kind}: there is no field "{field}"{did_you_mean(field, sorted(fields))}; '
            "`field` names the one that it is appended to"
        )
    return {**fields, field: f"{fields[field]}{addition}"}
