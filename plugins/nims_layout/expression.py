"""Arithmetic in packet layouts: ``8512 + 8 * beams * samples``, over the fields of a packet's header."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from types import CodeType

Number = int | float
Text = str | int | float
"""As YAML gives it: an expression, or just a number."""

MAX_LENGTH = 300
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.UAdd, ast.USub)


class Expression:
    """A compiled expression: names of fields, numbers, + - * / and brackets; integers stay exact but in divisions."""

    def __init__(self, text: Text, names: set[str]) -> None:
        """Compile `text`, in which only `names` may occur.

        Raises:
          ValueError: it is no such expression, or has an unknown name.
        """
        self.text = str(text).strip()
        if len(self.text) > MAX_LENGTH:
            raise ValueError(f"expected at most {MAX_LENGTH} characters, got {len(self.text)}")
        try:
            tree = ast.parse(self.text, mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise ValueError(f"expected arithmetic over the fields, got {self.text!r}") from error
        for node in ast.walk(tree):
            match node:
                case ast.Name():
                    if node.id not in names:
                        raise ValueError(f"unknown field {node.id!r}; there are {', '.join(sorted(names)) or 'none'}")
                case ast.Constant(value=value) if type(value) in (int, float):
                    pass
                case ast.Expression() | ast.BinOp() | ast.UnaryOp() | ast.Load():
                    pass
                case _ if isinstance(node, _OPERATORS):
                    pass
                case _:
                    raise ValueError(f"expected only names, numbers, + - * / and brackets, got {self.text!r}")
        self._code: CodeType = compile(tree, "<layout>", "eval")

    def value(self, fields: Mapping[str, Number]) -> Number:
        """Return the value for one packet; NaN where it divides by zero or leaves the range of numbers."""
        try:
            value = eval(self._code, {"__builtins__": {}}, fields)  # the tree was checked: names and arithmetic only
            float(value)  # integers have no end, floats do
        except (ZeroDivisionError, OverflowError):
            return math.nan
        return value
