"""Modules by column, whatever the column is called.

`torch.nn.ModuleDict` refuses names with a dot and names such as ``type`` or ``values``, all of which are good names
for a column of a table. An ordinary name is kept as it is, so that weights read ``encoders.image.stem.weight``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn


def module_name(column: str) -> str:
    """The attribute that holds a column's module: the column itself, escaped where PyTorch would refuse it."""
    name = column.replace("%", "%25").replace(".", "%2E")
    return f"{name}%" if not name or hasattr(_PLAIN, name) else name


class ColumnModules(nn.Module):
    """A registered mapping from column to module, in the order it was given.

    Args:
        modules: a module for each column.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._columns = tuple(modules)
        for column, module in modules.items():
            self.add_module(module_name(column), module)

    def __getitem__(self, column: str) -> nn.Module:
        return self._modules[module_name(column)]  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def items(self) -> Iterator[tuple[str, nn.Module]]:
        """Pairs of column and module."""
        return ((column, self[column]) for column in self._columns)


_PLAIN = ColumnModules({})
