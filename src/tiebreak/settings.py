"""Values that a user sets or a file keeps: frozen, checked, written so that old ones stay as they were."""

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_serializer


class Settings(BaseModel):
    """Frozen values; an unknown key and a number without end are errors.

    What is hashed (a plan, a run) must not change where a later tiebreak knows one more setting. So a setting
    in `added_since` is written only where it says something.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    added_since: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_what_says_nothing(self, handler: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        written = handler(self)
        silent = {
            name
            for name in self.added_since
            if getattr(self, name) == type(self).model_fields[name].get_default(call_default_factory=True)
        }
        return {name: value for name, value in written.items() if name not in silent}
