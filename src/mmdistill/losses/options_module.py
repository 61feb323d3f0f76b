"""A module with typed options, from a recipe or as keywords: what losses and logit transforms are."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ValidationError
from torch import nn

from mmdistill.catalog import Options
from mmdistill.errors import InputError, nearest


class OptionsModule(nn.Module):
    """A module whose options are fields of a pydantic model and attributes of the module.

    Args:
        options: typed options; the defaults when left out.
        values: the options as keywords instead.

    Raises:
        InputError: when a keyword is unknown or a value is out of its range.
    """

    options_type: ClassVar[type[Options]]

    def __init__(self, options: Options | None = None, **values: Any) -> None:
        super().__init__()
        if options is not None and values:
            raise InputError("Options were given both as an object and as keywords", where=type(self).__name__)
        self.options: Any = options if options is not None else self._from_keywords(values)
        for name in self.options_type.model_fields:
            setattr(self, name, getattr(self.options, name))

    @classmethod
    def _from_keywords(cls, values: dict[str, Any]) -> Options:
        try:
            return cls.options_type.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            unknown = first["type"] == "extra_forbidden"
            raise InputError(
                f"There is no option {key!r}" if unknown else f"{first['msg']}, not {first['input']!r}",
                where=f"{cls.__name__}(...)" if unknown else f"{cls.__name__}({key}=...)",
                fix=nearest(key, list(cls.options_type.model_fields)) if unknown else "",
            ) from error

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.options_type.model_fields)
