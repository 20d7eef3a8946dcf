"""From the routes of a config to a frozen route tree: matches, their total order, routes that can never win, templates.

Not here: the lookup itself (gw/_fast/radix), what a route does once it has won (gw.runtime). Start with table.py.
"""

from gw.router.match import RouteMatch
from gw.router.table import Row, Table, compile_routes, order, shadowed
from gw.router.template import Part, parse_template

__all__ = ["Part", "RouteMatch", "Row", "Table", "compile_routes", "order", "parse_template", "shadowed"]
