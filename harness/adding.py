"""Making one stage of a plan: its key, whether the store has it, and if not, what changed since the last run."""

from __future__ import annotations

from harness import remembered
from harness.code_version import changed_in
from harness.plan import Stage, StageKind, stage_title
from harness.store import Store, content_key


class Adder:
    """Makes stages, knowing the store and what the last plan of this name was made from."""

    def __init__(self, store: Store, name: str):
        self.store = store
        last = remembered.recall(store, name)
        self.before = {} if last is None else last.stages
        self._known = b"" if last is None else last.definitions

    def __call__(self, kind: StageKind, label: str, ingredients: dict[str, str]) -> Stage:
        key = content_key(kind, ingredients)
        cached = self.store.has(kind, key)
        reason = "stored" if cached else self._why(kind, label, ingredients)
        return Stage(kind, label, key, ingredients, cached, reason)

    def _why(self, kind: str, label: str, now: dict[str, str]) -> str:
        before = self.before.get(stage_title(kind, label))
        if before is None:
            return "not made before"
        changed = [name for name in (*now, *(n for n in before if n not in now)) if now.get(name) != before.get(name)]
        if not changed:
            return "was made, but is no longer in the store"
        if "code" in changed:
            names = changed_in(now.get("code", ""), self._known)
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            said = f"code ({', '.join(names[:3])}{more})" if names else "code"
            changed[changed.index("code")] = said
        return "changed: " + ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
