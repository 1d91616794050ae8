"""An import-linter contract for the rules of the house that name what a package *may* import.

A list of what is forbidden forgets the next module; a list of what is allowed does not.
"""

from __future__ import annotations

from typing import cast

import grimp
from importlinter import Contract, ContractCheck, fields, output


class AllowlistContract(Contract):
    """Modules of each package import, inside the project, only that package and the packages of `may_import`.

    Options: `packages` (module names), `may_import` (module names with all below them; may be left out).
    Imports of third-party libraries are not looked at.
    """

    type_name = "allowlist"

    packages = fields.ListField(subfield=fields.StringField())
    may_import = fields.ListField(subfield=fields.StringField(), required=False, default=[])

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:  # noqa: FBT001 - the interface
        """Collect every import that is not allowed."""
        packages, allowed = cast("list[str]", self.packages), cast("list[str]", self.may_import)
        broken = [
            f"{importer} imports {imported}"
            for package in packages
            for importer in sorted({package, *graph.find_descendants(package)})
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if _is_inner(graph, imported) and not _is_below(imported, [package, *allowed])
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each import that is not allowed."""
        for line in check.metadata["broken"]:
            output.print_error(line, bold=False)


def _is_inner(graph: grimp.ImportGraph, module: str) -> bool:
    """True for the project's modules; the root package is a bare name space."""
    return "." in module and not graph.is_module_squashed(module)


def _is_below(module: str, packages: list[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
