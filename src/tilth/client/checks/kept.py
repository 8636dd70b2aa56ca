"""What a check found of each environment, kept with its date for those who look later, and from elsewhere."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tilth.errors import TilthError
from tilth.records import CheckFinding, EnvironmentCheck
from tilth.store import Put

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tilth.client.checks.findings import Finding
    from tilth.store import Store


def keep_checks(
    store: Store,
    digests: Mapping[str, str],
    vulnerable: Mapping[str, Sequence[Finding]] | None,
    drift: Sequence[Finding] | None = None,
) -> None:
    """Remember what was found. Who may not write there has looked all the same.

    Args:
        digests: Of the environments, by name; the client's is named "".
        vulnerable: Known vulnerabilities by name of the environment; None where they were not looked up.
        drift: How the client differs from what it was, or should be; None where that was not compared.
    """
    checks = []
    for name, digest in digests.items():
        compared, looked_up = not name and drift is not None, name in (vulnerable or {})
        found = [*(vulnerable or {}).get(name, ()), *(drift or () if compared else ())]
        if not digest or not (looked_up or compared):
            continue
        kept = tuple(
            CheckFinding(
                level=each.level,
                check=each.check,
                what=each.what,
                why=each.why,
                mend=each.mend,
                package=each.package,
                version=each.version,
            )
            for each in found
        )
        checks.append(EnvironmentCheck(id=digest, advisories=looked_up, compared=compared, findings=kept))
    if not checks:
        return
    with contextlib.suppress(TilthError):
        store.write([Put(each) for each in checks])
