"""Which versions fit together: PubGrub over Python's packages, without I/O; a file a concept of the paper.

A caller feeds it, in any process:

    resolver = Resolver(wanted, target)
    while isinstance(answer := resolver.step(), Need):
        tables, metadata = ...            # at least something of answer.tables and answer.metadata, whatever came
        resolver.learn(tables, metadata)
    answer                                # a Solution; step() raises NoSolution with its report

What is learned may come in any order and in parts; the solution does not depend on the order. Metadata that is
broken, a project that does not exist: learned too, as `Metadata.broken` and `Table.missing`; they become reasons.
Everything here is a plain value (`to_plain`, `from_plain`), so that a resolver can run in a worker process.

A locker resolves once a target, with the pins of the targets before as `Wanted.preferences`: what fits stays the same.
Its resolvers share one `Knowledge`, so that nothing is asked, parsed or sorted twice.
`confirm` and `verify` check in linear time what somebody else found.

model.py, plain.py, read.py     values; as plain tuples; out of project pages and METADATA
knowledge.py, said.py           what was learned; what a version says of itself
ranges.py, term.py              a project's versions in order; sets of them, as the bits of an integer
incompatibility.py, partial_solution.py, solver.py    the paper
requirement.py, python.py       PEP 508, and what Python makes of it: extras, markers, overrides, URLs
order.py, project.py            a project's versions, as everybody has them; as one target sees them
judge.py, choice.py             which of them can be used, and which is tried first
priority.py, prefetch.py        which package is decided next; what will probably be asked for
resolution.py, outcome.py, resolver.py                one search; the solution that it comes to; the door of the room
report.py, wording.py, suggest.py                     why not, in sentences; what to do about it
lacking.py                      whether only files are missing
verify.py                       whether somebody else's choice of versions is the one that we would have made
"""

from p2pcdn.resolve.judge import THIS_PLATFORM, expanded_tags, moment_of
from p2pcdn.resolve.knowledge import Knowledge
from p2pcdn.resolve.model import (
    ALL_PROJECTS,
    BadRequirement,
    Edge,
    Keys,
    LacksFiles,
    Metadata,
    Need,
    NoSolution,
    Pin,
    Prefer,
    Prereleases,
    Release,
    Solution,
    Source,
    Table,
    Target,
    Wanted,
)
from p2pcdn.resolve.order import Lazily, Order, columns_of, order_of_columns, versions_of
from p2pcdn.resolve.plain import from_plain, to_plain
from p2pcdn.resolve.read import Told, read_metadata, table_and_places_of, table_of
from p2pcdn.resolve.resolver import Resolver
from p2pcdn.resolve.said import metadata_of, octets_of
from p2pcdn.resolve.suggest import PATCHES_MAX
from p2pcdn.resolve.verify import Doubt, confirm, verify

__all__ = [
    "ALL_PROJECTS",
    "PATCHES_MAX",
    "THIS_PLATFORM",
    "BadRequirement",
    "Doubt",
    "Edge",
    "Keys",
    "Knowledge",
    "LacksFiles",
    "Lazily",
    "Metadata",
    "Need",
    "NoSolution",
    "Order",
    "Pin",
    "Prefer",
    "Prereleases",
    "Release",
    "Resolver",
    "Solution",
    "Source",
    "Table",
    "Target",
    "Told",
    "Wanted",
    "columns_of",
    "confirm",
    "expanded_tags",
    "from_plain",
    "metadata_of",
    "moment_of",
    "octets_of",
    "order_of_columns",
    "read_metadata",
    "table_and_places_of",
    "table_of",
    "to_plain",
    "verify",
    "versions_of",
]
