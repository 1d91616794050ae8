"""What benchmarks of Python functions ask, in the same words."""

from __future__ import annotations

from typing import Final

FUNCTION: Final = """\
Write the Python function `{entry_point}` so that it does what its docstring says.
Answer with one fenced block that holds the complete program: imports, helper functions and the function itself.

```python
{prompt}
```
"""
"""From a signature with a docstring."""
TEXT: Final = """\
{text}

Write it as the Python function `{entry_point}`.
Answer with one fenced block that holds the complete program: imports, helper functions and the function itself.
"""
"""From a text."""
TESTS: Final = """\

Your program should pass {these}:

```python
{tests}
```
"""
"""What follows where tests are shown."""
