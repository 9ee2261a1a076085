"""What the settings are for, in the words of the option objects themselves."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache


@cache
def purposes(kind: type) -> dict[str, str]:
    """Read the text that follows each attribute in the source of an option object.

    Python keeps no docstring of an attribute, so this parses the source; it is meant for errors and documentation.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    found: dict[str, str] = {}
    name = None
    for node in tree.body if isinstance(tree, ast.ClassDef) else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found[name] = inspect.cleandoc(str(node.value.value)).replace("\n", " ").replace("``", "")
            name = None
        else:
            name = None
    return found
